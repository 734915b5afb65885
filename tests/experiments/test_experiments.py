"""`minipach exp`: points are datums, none is computed twice, and nothing that is checked out changes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from minipach.project.lock import register
from minipach.project.project import find_project
from tests.fixtures.consoles import ask, console_of
from tests.fixtures.projects import MINIPACH, SHOWN, Study

pytestmark = pytest.mark.slow

SPEC = """\
input: {pfs: {repo: images, glob: "/*"}}
transform:
  cmd: [sh, code/run.sh, "{{ params.level }}", "{{ params.deep.x }}"]
minipach: {params: {level: 1, deep: {x: 0}}, out: "{name}/", metrics: [metrics.json, "*.csv", m.yml]}
"""
RUN = """\
[ "$1" != 9 ] || exit 3
printf '{"loss": {"mean": %s}, "name": "n"}' "$1" >"$PFS/out/metrics.json"
printf 'step,acc\\n1,0.1\\n2,0.%s\\n' "$1" >"$PFS/out/log.csv"
printf 'x: %s\\n' "$2" >"$PFS/out/m.yml"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A pipeline that has run, with level 1."""
    study = Study.create(tmp_path_factory.mktemp("exp") / "study")
    study.put("images/a", "a\n", save=False)
    study.put("images/b", "b\n")
    study.pipeline("edges", SPEC, run=RUN)
    study.schedule()
    done = study.minipach("exp", "run", "-S", "edges.level=1,2,3", "--json")
    assert done.code == 0, done.err
    assert done.json == {"schema": 1, "name": "exp-1", "points": 3, "ran": 4, "known": 2, "failed": 0}
    return study


def shown(study: Study, name: str = "exp-1") -> list[dict[str, Any]]:
    """The points of an experiment."""
    done = study.minipach("exp", "show", name, "--json")
    assert done.code == 0, done.err
    return list(done.json["points"])


def heads(study: Study) -> list[str]:
    """What a person sees of the project: branches and working trees."""
    return [study.git(r, *a) for r in (".", "edges") for a in (("rev-parse", "HEAD"), ("status", "--porcelain"))]


def test_metrics_are_beside_parameters(study: Study) -> None:
    rows = shown(study)
    assert [row["params"] for row in rows] == [{"level": "1"}, {"level": "2"}, {"level": "3"}]
    assert [(row["done"], row["datums"]) for row in rows] == [(2, 2)] * 3
    assert rows[1]["metrics"] == {"acc": 0.2, "step": 2.0, "loss.mean": 2.0, "name": "n", "x": 0.0}
    table = study.minipach("exp", "show", "exp-1", "--markdown").out.splitlines()
    assert table[0].startswith("| point | level | done |") and table[1].startswith("| ---: |") and len(table) == 5


def test_the_console_shows_a_sweep(study: Study) -> None:
    console = console_of(study)
    page = ask(console, "experiments.json").json()
    assert page["experiments"][0]["points"] == 3 and (page["name"], page["x"]) == ("exp-1", "level")
    assert [row["metrics"]["loss.mean"] for row in page["points"]] == [1.0, 2.0, 3.0]
    html = ask(console, "experiments?name=exp-1&x=level&y=loss.mean").text
    assert html.count("<circle") == 3 and "point 2: level=2, loss.mean=2.0" in html
    assert "exp apply" in html and ask(console, "experiments?x=nothing&y=name").status_code == 200
    assert ask(console, "experiments?name=none").status_code == 404


def test_points_are_added_and_none_runs_twice(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    before = heads(other)
    done = other.minipach("exp", "run", "-S", "edges.level=2,4", "-S", "edges.deep.x=0,5", "--name", "exp-1", "--json")
    assert (done.json["points"], done.json["ran"], done.json["known"]) == (7, 6, 2)
    assert heads(other) == before
    assert other.minipach("exp", "run", "-S", "edges.level=2", "--json").json["ran"] == 0
    listed = other.minipach("exp", "list", "--json").json["experiments"]
    assert [(row["name"], row["points"]) for row in listed] == [("exp-1", 7), ("exp-2", 1)]


def test_an_applied_point_is_published_without_a_run(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    assert other.minipach("exp", "apply", "exp-1:3").code == 0
    assert (other.root / "params.yml").read_text() == "edges:\n  level: 3\n"
    other.ok("git", "add", "params.yml")
    other.ok("git", "commit", "-qm", "level 3")
    assert other.schedule()["edges"]["counts"]["reused"] == 2
    (other.root / "params.yml").write_text("# why\nedges: {level: 3}\n")
    wrong = other.minipach("exp", "apply", "exp-1:2")
    assert wrong.code == 2 and wrong.reports("exp.cannot-write", "params.yml", "edges.level: 2")


def test_results_of_an_experiment_are_kept_until_it_is_removed(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    collect = ("results", "gc", "--keep-days", "0", "--json")
    assert other.minipach(*collect).json["pipelines"][0]["unneeded"] == []
    assert other.minipach("exp", "remove", "exp-1").code == 0
    assert len(other.minipach(*collect).json["pipelines"][0]["unneeded"]) == 4
    assert other.minipach("exp", "show", "exp-1").code == 2


def test_an_experiment_is_not_removed_while_its_pipeline_runs(study: Study) -> None:
    lock = find_project(study.root).local.lock
    with register(lock, (), wait=True, notify=print) as claims:
        claims.take_when_free("edges")
        done = study.minipach("exp", "remove", "exp-1")
    assert (done.code, done.out) == (2, "") and done.reports("exp.in-use", "exp-1", "edges")
    assert study.minipach("exp", "show", "exp-1").code == 0


def test_two_points_are_compared(study: Study) -> None:
    changes = study.minipach("exp", "diff", "exp-1:1", "exp-1:2", "--json").json["changes"]
    assert {"kind": "params", "name": "level", "old": "1", "new": "2"} in changes
    assert {"kind": "metrics", "name": "loss.mean", "old": 1.0, "new": 2.0} in changes


def test_a_failed_datum_has_no_metrics(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    done = other.minipach("exp", "run", "-S", "edges.level=9", "--name", "bad")
    assert done.code == 1 and "2 failed" in done.out and "failed: a" in done.err
    (row,) = shown(other, "bad")
    assert (row["done"], row["datums"], row["metrics"]) == (0, 2, {})
    assert other.minipach("status").out.count("current")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "-S", "edges.other=1,2"], "no template names params.other"),
        (["run", "-S", "edges.levle=1"], 'no template names params.levle. Fix: use "level"'),
        (["run", "-S", "edges.level=[1]{x}"], "a value that cannot be read"),
        (["run", "-S", "nowhere.x=1"], "no such pipeline"),
        (["run", "-S", "edges.level=1", "--name", "../x"], "not a name of an experiment"),
        (["show", "--", "-x"], "no such experiment"),
        (["apply", "exp-1:9"], "use exp-1:1 to exp-1:3"),
        (["diff", "exp-1:1", "exp-1:../../x"], "no point"),
    ],
)
def test_mistakes_are_one_line(study: Study, words: list[str], said: str) -> None:
    done = study.minipach("exp", *words)
    assert (done.code, done.out) == (2, "") and said in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("text", ["{", "7", '{"schema": 1, "points": [{"params": {"a": 7}, "datums": []}]}', "[]"])
def test_a_record_of_somebody_else_is_none(study: Study, tmp_path: Path, text: str) -> None:
    other = study.duplicate(tmp_path / "study")
    file = tmp_path / "x.json"
    file.write_text(text)
    blob = other.git("edges", "hash-object", "-w", str(file))
    tree = other.ok(
        "sh", "-c", f"printf '100644 blob {blob}\\texperiment.json\\n' | git mktree", cwd=other.root / "edges"
    )
    commit = other.git("edges", "commit-tree", "-m", "x", tree.strip())
    other.git("edges", "update-ref", "refs/minipach/experiments/evil", commit)
    assert [row["name"] for row in other.minipach("exp", "list", "--json").json["experiments"]] == ["exp-1"]


CHAIN = """\
input: {{pfs: {{repo: {repo}, glob: "{glob}"}}}}
transform: {{cmd: [sh, code/run.sh, "{{{{ params.level }}}}"]}}
minipach: {{params: {{level: 1}}, metrics: [m.json]}}
"""


def test_points_of_several_pipelines_share_what_is_upstream(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "chain")
    study.put("images/a", "a\n", save=False)
    study.put("images/b", "b\n")
    study.pipeline("edges", CHAIN.format(repo="images", glob="/*"), run='echo "$1" >"$PFS/out/$(basename $images)"')
    copy = 'input: {pfs: {repo: edges, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\n'
    study.pipeline("copy", copy, run='[ "$(cat $edges)" != 9 ] || exit 3; cp "$edges" "$PFS/out/"')
    sums = 'printf \'{"loss": %s}\' "$(( $1 * 10 + $(cat $copy/* | head -1) ))" >"$PFS/out/m.json"'
    study.pipeline("fit", CHAIN.format(repo="copy", glob="/"), run=sums)
    study.schedule()
    before = [heads(study), study.git("fit", "rev-parse", "HEAD"), study.git("copy", "rev-parse", "HEAD")]
    words = ("exp", "run", "-S", "edges.level=1,2", "-S", "fit.level=1,2,3", "--json")
    done = study.minipach(*words)
    assert done.code == 0, done.err
    assert done.json == {"schema": 1, "name": "exp-1", "points": 6, "ran": 2 + 2 + 5, "known": 2 + 2 + 1, "failed": 0}
    rows = shown(study)
    assert [(r["params"], r["metrics"]["loss"]) for r in rows] == [
        ({"edges:level": e, "level": f}, float(f) * 10 + float(e)) for e in "12" for f in "123"
    ]
    again = study.minipach(*words, "--name", "exp-1")
    assert again.json["ran"] == 0
    after = [heads(study), study.git("fit", "rev-parse", "HEAD"), study.git("copy", "rev-parse", "HEAD")]
    assert after == before, "no branch and no working tree changes"
    failing = study.minipach("exp", "run", "-S", "edges.level=9,2", "-S", "fit.level=1")
    assert failing.code == 1
    assert [r["params"] for r in shown(study, "exp-2")] == [{"edges:level": "2", "level": "1"}]
    alone = study.minipach("exp", "run", "-S", "edges.level=9", "-S", "fit.level=1")
    assert (alone.code, alone.out) == (2, "")
    assert alone.reports("exp.upstream-failed", "copy", "fit", "(a: the command exited with 3)")
    chart = study.minipach("exp", "show", "exp-1", "--plot").out.splitlines()
    assert chart[0] == "loss"
    assert chart[6].endswith("######################################## 32")
    assert study.minipach("exp", "apply", "exp-1:5").code == 0
    assert "edges" in (study.root / "params.yml").read_text()
    study.ok("git", "add", "params.yml")
    study.ok("git", "commit", "-qm", "the best point")
    counts = {name: row["counts"] for name, row in study.schedule().items()}
    assert sum(row["ran"] for row in counts.values()) == 0, "all was computed by the experiment"
    assert study.read("fit/m.json") == b'{"loss": 22}'
    assert study.git("edges", "for-each-ref", "refs/minipach/points/exp-1")
    assert study.minipach("exp", "remove", "exp-1").code == 0
    assert not study.git("edges", "for-each-ref", "refs/minipach/points/exp-1")


def test_pipelines_without_a_last_one_are_an_error(study: Study) -> None:
    study.pipeline("other", SPEC, run=RUN)
    study.save(".")
    done = study.minipach("exp", "run", "-S", "edges.level=1", "-S", "other.level=2")
    assert (done.code, done.out) == (2, "")
    assert done.reports("exp.not-connected", "-S", "edges, other")


GO = SHOWN / "go-points"


class Sweep:
    """`exp run` in a process of its own."""

    def __init__(self, study: Study, *words: str) -> None:
        command = [*MINIPACH, "exp", "run", "--name", "live", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=study.root, **pipes)  # type: ignore[call-overload]
        self.said = ""

    def until(self, words: str) -> Sweep:
        """Wait until a line says this."""
        for line in self.process.stderr:
            self.said += line
            if words in line:
                return self
        raise AssertionError(self.said)

    def end(self) -> tuple[int, str]:
        """Wait for the end. Returns the exit code and what was said."""
        out, err = self.process.communicate(timeout=120)
        self.said += err
        return self.process.returncode, out


@pytest.fixture
def slow_study(study: Study, tmp_path: Path) -> Study:
    """The same pipeline, which waits for a file."""
    other = study.duplicate(tmp_path / "study")
    script = other.root / "edges/code/run.sh"
    script.write_text(f'until [ "$1" = 9 ] || [ -e {GO} ]; do sleep 0.1; done\n' + script.read_text())
    other.save("edges")
    return other


def test_points_of_a_second_process_join_a_run(slow_study: Study) -> None:
    first = Sweep(slow_study, "-S", "edges.level=21,22", "-j", "1").until("4 to run")
    second = Sweep(slow_study, "-S", "edges.level=22,23,9")
    bad = Sweep(slow_study, "-S", "edges.nothing=1,2")
    first.until("3 points joined, 4 more to run")
    GO.touch()
    code, out = first.end()
    assert code == 0 and "live: 4 computed, 0 had a result\n" in out, first.said
    code, out = second.end()
    assert code == 1 and "live: 2 computed in the run of another process, 0 had a result, 2 failed\n" in out, (
        second.said
    )
    assert "failed: a: the command exited with 3" in second.said
    assert bad.end()[0] == 2 and "exp.nothing" not in bad.said and "names params.nothing" in bad.said
    rows = {row["params"]["level"]: row["done"] for row in shown(slow_study, "live")}
    assert rows == {"21": 2, "22": 2, "23": 2, "9": 0}
    assert not list((slow_study.root / ".git/minipach/joining/live").iterdir())


@pytest.mark.soak
def test_points_outlive_a_run_that_is_killed(slow_study: Study) -> None:
    first = Sweep(slow_study, "-S", "edges.level=21", "-j", "1").until("2 to run")
    second = Sweep(slow_study, "-S", "edges.level=23")
    first.until("1 point joined")
    first.process.kill()
    GO.touch()
    code, out = second.end()
    assert code == 0 and "live: 2 computed, 0 had a result\n" in out, second.said
    first.process.communicate()
