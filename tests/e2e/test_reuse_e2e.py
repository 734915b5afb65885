"""What runs, what is reused and what is said of it, in real projects: the claims that a user can check."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tests.fixtures import reruns
from tests.fixtures.projects import Done, Study, run
from tests.fixtures.reruns import clone, datum_records, rerun, reused, said
from tests.fixtures.stories import CONTENT, counts, duplicate, spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "subjects.py"
without_minipach = reruns.without_minipach


def save_plainly(study: Study, repo: str, files: dict[str, str], *, backend: str = "") -> None:
    """Commit many files at once, with a backend of one's choice."""
    for path, text in files.items():
        study.put(f"{repo}/{path}", text, save=False)
    study.git(repo, "annex", "add", "--quiet", *([f"--backend={backend}"] if backend else []), ".")
    study.git(repo, "commit", "--quiet", "-m", "files")


# examples/subjects


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Done]:
    """The example as a person runs it, and what it printed."""
    if importlib.util.find_spec("nibabel") is None:
        pytest.skip("nibabel is not installed: this example needs it; pip install '.[demo]'")
    root = tmp_path_factory.mktemp("subjects") / "study"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run(sys.executable, str(EXAMPLE), str(root), cwd=root.parent, env={"PATH": path})
    assert done.code == 0, f"{done.out}\n{done.err}"
    return Study(root), done


@pytest.mark.slow
def test_the_plan_of_the_subjects_says_three_beforehand(subjects: tuple[Study, Done]) -> None:
    _, done = subjects
    plan = "volumes: 3 run, 1 reuse\n"
    rows = [line.split(maxsplit=3) for line in done.out[done.out.index(plan) :].splitlines()]
    ours = [row[1:] for row in rows if row[:1] == ["volumes"] and len(row) == 4 and row[2].startswith("sub-")]
    assert ours == [
        ["run", "sub-01", "new content"],
        ["run", "sub-02", "new content"],
        ["run", "sub-03", "new content"],
        ["reuse", "sub-05", "same content as sub-02"],
    ]
    assert done.out.index(plan) < done.out.index("volumes: 3 computed, 1 reused\n") < done.out.index("nothing to do\n")


@pytest.mark.slow
def test_four_subjects_have_results_and_the_one_without_a_t2_has_none(subjects: tuple[Study, Done]) -> None:
    study, _ = subjects
    have = ("sub-01", "sub-02", "sub-03", "sub-05")
    assert sorted(study.outputs("volumes")) == [f"{name}/volumes.tsv" for name in have]
    lines = study.read("volumes/sub-01/volumes.tsv").decode().splitlines()
    assert lines[1] == "t1\t33x41x25\t2x2x2\t270.6\t8401.07\t2526.66\t-610\t30393"
    assert len({study.read(f"volumes/{name}/volumes.tsv") for name in have}) == 3


@pytest.mark.slow
def test_the_copy_is_the_same_tree_under_its_own_name(subjects: tuple[Study, Done]) -> None:
    study, _ = subjects
    tree = study.git("volumes", "rev-parse", "HEAD:sub-02", "HEAD:sub-05").split()
    assert tree[0] == tree[1]
    assert reused(study, "volumes") == {"sub-05": "sub-02"}
    _, record = datum_records(study, "volumes")["sub-05"]
    assert record["inputs"] == ["inputs/t1/sub-05/sub-05_T1w.nii", "inputs/t2/sub-05/sub-05_T2w.nii.gz"]


# Nine datums, three of them copies under other names

COUNT = 'wc -c <"$scans" >"$PFS/out/${MINIPACH_DATUM##*/}"\n'
NINE = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "uno": 1, "zwei": 2, "tre": 3}
COPIES = {"nine/uno.txt": "nine/one.txt", "nine/zwei.txt": "nine/two.txt", "nine/tre.txt": "nine/three.txt"}


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """`count` over nine files of six contents. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("nine") / "study", "scans")
    save_plainly(study, "scans", {f"nine/{name}.txt": "x" * number for name, number in NINE.items()})
    study.pipeline("count", spec("scans", "/nine/*", "count", CONTENT), count=COUNT)
    plan = said(study, "count")
    assert {name: plan[name] for name in ("nine/one.txt", "nine/uno.txt")} == {
        "nine/one.txt": ("run", "new content"),
        "nine/uno.txt": ("reuse", "same content as nine/one.txt"),
    }
    assert counts(study.schedule("-j", "2")["count"]) == {"ran": 6, "reused": 3}
    return study


def test_nine_datums_of_six_contents_run_six_times(nine: Study) -> None:
    assert sorted(nine.outputs("count")) == sorted(f"{name}.txt" for name in NINE)
    assert all(int(nine.read(f"count/{name}.txt")) == number for name, number in NINE.items())
    assert said(nine, "count") == {f"nine/{name}.txt": ("current", "") for name in NINE}


def test_the_history_says_which_is_a_copy_of_which(nine: Study) -> None:
    assert reused(nine, "count") == COPIES
    for copy, original in COPIES.items():
        (ours,) = datum_records(nine, "count")[copy][1]["minipach"]["datums"]
        source = datum_records(nine, "count")[copy][1]["minipach"]["reused_from"]
        assert (ours["name"], ours["id"]) == (copy, source["id"])
        assert original in {d["name"] for d in datum_records(nine, "count")[original][1]["minipach"]["datums"]}


@pytest.mark.slow
def test_a_copys_record_computes_it_for_real_in_a_clone(
    nine: Study, tmp_path: Path, without_minipach: dict[str, str]
) -> None:
    alone = clone(nine, "count", tmp_path / "alone", without_minipach)
    done = rerun(alone, ".", datum_records(nine, "count")["nine/uno.txt"][0], without_minipach)
    assert "get(ok): inputs/scans/nine/uno.txt" in done
    assert "one.txt" not in done, "it took the original's input"


# What counts as the same content

REPORT = 'echo "<h1>$MINIPACH_DATUM</h1>" >"$PFS/out/report.html"\n'
MOVED = 'cat "$scans" >"$PFS/out/${MINIPACH_DATUM%%/*}.txt"\n'


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One content under two extensions, backends, depths; two that write their names; one where the path counts."""
    study = Study.create(tmp_path_factory.mktemp("same") / "study", "scans")
    save_plainly(study, "scans", {"keys-a.raw": "bytes\n", "keys-b.dat": "bytes\n"})
    save_plainly(study, "scans", {"xenon/yard-f.txt": "depth\n", "park-q/zeta.txt": "depth\n"})
    save_plainly(study, "scans", {f"people/sub-{n}/scan.txt": "same\n" for n in (1, 2)})
    save_plainly(study, "scans", {"keys-c.dat": "bytes\n"}, backend="SHA256E")
    study.git("scans", "mv", "keys-a.raw", "keys-a.dat")
    study.save("scans")
    study.pipeline("keys", spec("scans", "/*.dat", "copy", CONTENT), copy='cp "$scans" "$PFS/out/"\n')
    moved = spec("scans", "/(xenon/yard|park)-{f,q/zeta}.txt", "moved", 'minipach: {out: "{1}/", identity: content}\n')
    study.pipeline("moved", moved, moved=MOVED)
    by_path = spec("scans", "/keys-[ab].dat", "copy", "minipach: {identity: path}\n")
    named = spec("scans", "/people/*", "report", 'minipach: {out: "{scans.name}/", identity: content}\n')
    study.pipeline("named", named, report=REPORT)
    study.pipeline("bypath", by_path, copy='cp "$scans" "$PFS/out/"\n')
    study.schedule("-j", "2")
    return study


@pytest.mark.soak
def test_equal_content_under_two_extensions_is_one_content(same: Study) -> None:
    keys = [same.git("scans", "annex", "lookupkey", f"keys-{x}.dat") for x in "ab"]
    assert [key.rpartition(".")[2] for key in keys] == ["raw", "dat"]
    assert len({key.rpartition(".")[0] for key in keys}) == 1
    assert reused(same, "keys") == {"keys-b.dat": "keys-a.dat"}


@pytest.mark.slow
def test_two_hash_algorithms_cannot_be_equated(same: Study) -> None:
    backends = [same.git("scans", "annex", "lookupkey", f"keys-{x}.dat").partition("-")[0] for x in "bc"]
    assert backends == ["MD5E", "SHA256E"]
    assert "reused_from" not in datum_records(same, "keys")["keys-c.dat"][1]["minipach"]
    assert same.read("keys/keys-c.dat") == same.read("keys/keys-a.dat")


@pytest.mark.soak
def test_a_copy_at_another_depth_is_relocated(same: Study) -> None:
    assert sorted(same.outputs("moved")) == ["park/park-q.txt", "xenon/yard/xenon.txt"]
    (copy,) = reused(same, "moved")
    assert copy in ("xenon/yard-f.txt", "park-q/zeta.txt")
    assert same.read("moved/park/park-q.txt") == same.read("moved/xenon/yard/xenon.txt") == b"depth\n"
    links = [os.readlink(same.root / "moved" / path) for path in ("park/park-q.txt", "xenon/yard/xenon.txt")]
    assert links[1] == "../" + links[0]
    fsck = same.ok("git", "annex", "fsck", cwd=same.root / "moved")
    assert fsck.count("ok") >= 2 and "failed" not in fsck
    assert same.git("moved", "status", "--porcelain") == ""


@pytest.mark.slow
def test_the_path_counts_if_the_spec_says_so(same: Study) -> None:
    assert sorted(same.outputs("bypath")) == ["keys-a.dat", "keys-b.dat"]
    assert reused(same, "bypath") == {}
    ids = {d["name"]: d["id"] for d in same.minipach("datums", "bypath", "--json").json["datums"]}
    assert len(set(ids.values())) == 2


@pytest.mark.slow
def test_a_command_that_writes_its_name_writes_the_neutral_one(same: Study, tmp_path: Path) -> None:
    assert datum_records(same, "named").keys() == {"people/sub-1", "people/sub-2"}
    assert reused(same, "named") == {"people/sub-2": "people/sub-1"}
    assert same.read("named/sub-2/report.html") == b"<h1>datum1/datum2</h1>\n"
    study = duplicate(same, tmp_path / "study")
    save_plainly(study, "scans", {"people/sub-3/scan.txt": "same\n"})
    assert said(study, "named")["people/sub-3"] == ("reuse", "same content as people/sub-1")


# Three pipelines, one after the other

UPPER = 'tr a-z A-Z <"$images" >"$PFS/out/$MINIPACH_DATUM"\n'
LENGTH = 'wc -c <"$first" >"$PFS/out/$MINIPACH_DATUM"\n'
TOTAL = 'cat "$PFS"/second/* >"$PFS/out/total"\n'
WORDS = {"a.txt": "alpha\n", "b.txt": "be\n", "c.txt": "chi\n"}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """first: each file in capitals · second: the length of each · third: all lengths. Computed; only to look at."""
    study = Study.create(tmp_path_factory.mktemp("chain") / "study")
    save_plainly(study, "images", WORDS)
    study.pipeline("first", spec("images", "/*", "upper"), upper=UPPER)
    study.pipeline("second", spec("first", "/*", "length"), length=LENGTH)
    study.pipeline("third", spec("second", "/", "total"), total=TOTAL)
    reports = study.schedule("-j", "2")
    assert [counts(reports[name]) for name in ("first", "second", "third")] == [{"ran": 3}, {"ran": 3}, {"ran": 1}]
    return study


@pytest.fixture
def mine(chain: Study, tmp_path: Path) -> Study:
    """The chain, computed, in a copy of one's own."""
    return duplicate(chain, tmp_path / "study")


def ran(study: Study, *arguments: str) -> dict[str, int]:
    """What a schedule ran: pipeline to number of datums."""
    return {name: p["counts"]["ran"] for name, p in study.schedule("-j", "2", *arguments).items()}


def heads(study: Study, *repos: str) -> list[str]:
    return [study.git(repo, "rev-parse", "HEAD") for repo in repos]


@pytest.mark.slow
def test_an_edit_that_changes_no_output_runs_the_first_pipeline_alone(mine: Study) -> None:
    before = heads(mine, "second", "third")
    mine.put("first/code/upper.sh", UPPER.replace("tr a-z A-Z", "tr '[a-z]' '[A-Z]'"))
    assert set(said(mine, "first").values()) == {("run", "code/upper.sh changed")}
    assert ran(mine) == {"first": 3, "second": 0, "third": 0}
    assert before == heads(mine, "second", "third")
    assert mine.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_there_and_back_again_runs_nothing(mine: Study) -> None:
    outputs = [mine.outputs(name) for name in ("first", "second", "third")]
    mine.put("images/a.txt", "another\n", save=False)
    mine.put("first/code/upper.sh", UPPER.replace("A-Z", "B-ZA"), save=False)
    mine.save("first")
    mine.save("images")
    assert ran(mine) == {"first": 3, "second": 3, "third": 1}
    mine.put("images/a.txt", WORDS["a.txt"], save=False)
    mine.put("first/code/upper.sh", UPPER, save=False)
    mine.save("first")
    mine.save("images")
    assert set(said(mine, "first").values()) == {("reuse", "computed before")}
    assert ran(mine) == {"first": 0, "second": 0, "third": 0}
    assert outputs == [mine.outputs(name) for name in ("first", "second", "third")]


def change_all(study: Study) -> None:
    save_plainly(study, "images", {name: "new " + text for name, text in WORDS.items()})


@pytest.mark.slow
def test_targets_are_some_datums_of_a_pipeline(mine: Study) -> None:
    change_all(mine)
    assert set(said(mine, "first", "first:[ab]*")) == {"a.txt", "b.txt"}
    before = heads(mine, "first")
    assert ran(mine, "first:a.txt", "--no-downstream") == {"first": 1}
    assert before == heads(mine, "first"), "published, though two datums are missing"
    assert said(mine, "first")["a.txt"] == ("reuse", "computed before")
    assert ran(mine, "first:[bc]*", "--no-downstream") == {"first": 2}
    assert mine.read("first/c.txt") == b"NEW CHI\n"
    unknown = mine.minipach("schedule", "first:d.txt")
    assert unknown.code == 2, "all is current, but no datum has this name"
    assert unknown.reports("datum.unknown", "first", "'d.txt'")


@pytest.mark.soak
def test_upstream_and_downstream_are_asked_for(mine: Study) -> None:
    change_all(mine)
    assert ran(mine, "third", "second", "--no-downstream") == {"second": 0, "third": 0}
    assert ran(mine, "first", "--no-downstream") == {"first": 3}
    assert set(mine.plan("third", "--upstream")) == {"first", "second", "third"}
    assert ran(mine, "third", "--upstream") == {"first": 0, "second": 3, "third": 1}
    save_plainly(mine, "images", WORDS)
    assert set(ran(mine, "second")) == {"second", "third"}


@pytest.mark.slow
def test_forced_runs_are_recorded_as_such(mine: Study) -> None:
    assert said(mine, "first", "first:a.txt", "--force") == {"a.txt": ("run", "forced")}
    assert ran(mine, "first:a.txt", "--force") == {"first": 1, "second": 0, "third": 0}
    found = datum_records(mine, "first")
    assert found["a.txt"][1]["minipach"]["forced"] is True
    assert "forced" not in found["b.txt"][1]["minipach"]
    assert mine.minipach("schedule").out == "nothing to do\n"


@pytest.mark.soak
def test_why_tells_the_whole_story_of_a_datum(mine: Study) -> None:
    before = mine.minipach("plan", "first", "--why", "a.txt").out
    assert "  last run here: ok, " in before
    mine.put("images/a.txt", "another\n")
    story = mine.minipach("plan", "first", "--why", "a.txt", "--json").json
    assert (story["action"], story["reason"]) == ("run", "inputs images:/a.txt changed")
    assert story["files"][0]["path"] == "/a.txt"
    assert story["published"]["id"] != story["id"]
    assert story["results"] == []
    commit = datum_records(mine, "first")["a.txt"][0]
    assert story["record"].startswith(commit)
    text = mine.minipach("plan", "first", "--why", "a.txt").out
    assert text.startswith("first: a.txt\n  run: inputs images:/a.txt changed\n")
    assert "last run here" not in text, "that one was of other content"
    unknown = mine.minipach("plan", "first", "--why", "a.tx")
    assert unknown.code == 2 and unknown.reports("datum.unknown", "first", "'a.tx'", '"a.txt"')


@pytest.mark.slow
def test_a_plan_ends_with_what_it_will_cost_once_something_has_run(mine: Study) -> None:
    assert "expected" not in mine.minipach("plan", "--json").json, "nothing to run costs nothing"
    change_all(mine)
    last = mine.minipach("plan", "-j", "2").out.splitlines()[-1]
    assert last.startswith("expected: 3 datums, about ")
    assert " at -j 2, " in last and last.endswith(" of CPU time (from 3 earlier runs)")
    expected = mine.minipach("plan", "-j", "2", "--json").json["expected"]
    assert (expected["datums"], expected["slots"], expected["from_runs"]) == (3, 2, 3)
    assert expected["wall_seconds"] > 0


# Failures

PICKY = 'grep -q bad "$images" && exit 7\ncp "$images" "$PFS/out/"\n'


@pytest.mark.soak
def test_good_datums_of_a_failed_job_never_run_again(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    texts = {"a.txt": "bad\n", "b.txt": "good\n", "c.txt": "fine\n", "d.txt": "nice\n"}
    save_plainly(study, "images", texts)
    study.pipeline("picky", spec("images", "/*", "picky", "datum_tries: 1\n" + CONTENT), picky=PICKY)
    stopped = study.schedule("-j", "1", "--fail-fast", code=1)["picky"]
    assert counts(stopped) == {"failed": 1}, "something was started after the failure"
    kept = study.schedule("-j", "1", "--keep-going", code=1)["picky"]
    assert counts(kept) == {"ran": 3, "failed": 1}
    assert counts(study.schedule("-j", "1", code=1)["picky"]) == {}, "it failed in two jobs with this content"
    again = study.schedule("-j", "1", "--retry-failed", code=1)["picky"]
    assert counts(again) == {"failed": 1}
    assert study.outputs("picky") == {}
    study.put("images/a.txt", "mended\n", save=False)
    study.put("images/e.txt", "good\n")
    assert said(study, "picky")["e.txt"] == ("reuse", "same content as b.txt")
    assert counts(study.schedule()["picky"]) == {"ran": 1, "reused": 4}
    assert reused(study, "picky") == {"e.txt": "b.txt"}


# What makes everything run again


@pytest.mark.soak
def test_every_job_and_salt(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    save_plainly(study, "images", {"a.txt": "alpha\n", "b.txt": "beta\n"})
    copy = 'cp "$images" "$PFS/out/"\n'
    study.pipeline("each", spec("images", "/*.txt", "copy", "reprocess_spec: every_job\n"), copy=copy)
    study.pipeline("salted", spec("images", "/*.txt", "copy", "salt: one\n"), copy=copy)
    assert ran(study) == {"each": 2, "salted": 2}
    study.put("images/note.md", "no datum\n")
    assert ran(study) == {"each": 2, "salted": 0}
    study.put("salted/spec.yml", spec("images", "/*.txt", "copy", "salt: two\n"))
    assert set(said(study, "salted").values()) == {("run", "salt changed")}
    assert ran(study) == {"each": 0, "salted": 2}
    study.put("salted/spec.yml", spec("images", "/*.txt", "copy", "salt: one\n"))
    assert set(said(study, "salted").values()) == {("reuse", "computed before")}
    assert ran(study) == {"each": 0, "salted": 0}


# The input algebra, as the code sees it

SEEN = """
cd "$PFS"
find . -type f | grep -v -e '^./out/' -e '^./[.]minipach/' | LC_ALL=C sort | sed 's,^./,,' >"$PFS/out/seen"
"""
LEFT = '{pfs: {repo: left, glob: "/(s*)-*", join_on: $1, group_by: $1%s}}'
RIGHT = '{pfs: {repo: right, glob: "/(s*)-*", join_on: $1, group_by: $1}}'
INPUTS = {
    "union": ('union: [{pfs: {repo: left, glob: "/s1*"}}, {pfs: {repo: right, glob: "/s4*"}}]', "name"),
    "join": (f"join: [{LEFT % ''}, {RIGHT}]", "key"),
    "outer": (f"join: [{LEFT % ', outer_join: true'}, {RIGHT}]", "key"),
    "group": (f"group: [{LEFT % ''}, {RIGHT}]", "key"),
    "nested": (
        f"cross: [{{join: [{LEFT % ''}, {RIGHT}]}}, {{union: [{{pfs: {{repo: left, name: other, glob: /s3*}}}}, "
        "{pfs: {repo: right, name: other, glob: /s4*}}]}]",
        "name",
    ),
}


def pair(subject: str) -> list[str]:
    return [f"left/{subject}-a.txt", f"right/{subject}-b.txt"]


SEES = {
    "union": {"s1-a.txt": ["left/s1-a.txt"], "s4-b.txt": ["right/s4-b.txt"]},
    "join": {"s1": pair("s1"), "s2": pair("s2")},
    "outer": {"s1": pair("s1"), "s2": pair("s2"), "s3": ["left/s3-a.txt"]},
    "group": {"s1": pair("s1"), "s2": pair("s2"), "s3": ["left/s3-a.txt"], "s4": ["right/s4-b.txt"]},
    "nested": {
        f"{subject}~{other}": [*pair(subject), f"other/{other}"]
        for subject in ("s1", "s2")
        for other in ("s3-a.txt", "s4-b.txt")
    },
}


@pytest.fixture(scope="module")
def algebra(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("algebra") / "study", "left", "right")
    save_plainly(study, "left", {f"s{n}-a.txt": f"left {n}\n" for n in (1, 2, 3)})
    save_plainly(study, "right", {f"s{n}-b.txt": f"right {n}\n" for n in (1, 2, 4)})
    for name, (what, place) in INPUTS.items():
        text = f'input: {{{what}}}\ntransform: {{cmd: [sh, code/seen.sh]}}\nminipach: {{out: "{{{place}}}/"}}\n'
        study.pipeline(name, text, seen=SEEN)
    study.schedule("-j", "2")
    return study


@pytest.mark.slow
@pytest.mark.parametrize("kind", INPUTS)
def test_the_code_sees_what_its_datum_is_made_of(kind: str, algebra: Study) -> None:
    seen = {path.removesuffix("/seen"): algebra.read(f"{kind}/{path}") for path in algebra.outputs(kind)}
    found = {name: sorted(text.decode().splitlines()) for name, text in seen.items()}
    wanted = {name: sorted(files) for name, files in SEES[kind].items()}
    assert {n: sorted(f) for n, f in found.items()} == wanted
    assert datum_records(algebra, kind).keys() == found.keys()


# Three hundred


def name_of(number: int) -> str:
    return f"w{number:03d}.txt"


def content_of(number: int) -> int:
    """Of 300 files each third one is a copy of the one before it."""
    return number - 1 if number % 3 == 2 else number


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("many") / "study", "scans")
    save_plainly(study, "scans", {name_of(n): f"content {content_of(n)}\n" for n in range(300)})
    study.pipeline("sums", spec("scans", "/*", "sum", CONTENT), sum='cksum <"$scans" >"$PFS/out/$MINIPACH_DATUM"\n')
    assert counts(study.plan()["sums"]) == {"run": 200, "reuse": 100}
    assert counts(study.schedule("-j", "2")["sums"]) == {"ran": 200, "reused": 100}
    return study


@pytest.mark.soak
def test_three_hundred_datums_of_which_a_hundred_are_copies(many: Study) -> None:
    copies = {name_of(n): name_of(n - 1) for n in range(300) if n % 3 == 2}
    assert len(copies) == 100
    assert reused(many, "sums") == copies
    outputs = many.outputs("sums")
    assert len(outputs) == 300
    assert len(set(outputs.values())) == 200
    assert all(outputs[copy] == outputs[original] for copy, original in copies.items())
    assert many.minipach("schedule").out == "nothing to do\n"


@pytest.mark.soak
def test_a_copy_among_three_hundred_reruns_in_a_clone(
    many: Study, tmp_path: Path, without_minipach: dict[str, str]
) -> None:
    alone = clone(many, "sums", tmp_path / "alone", without_minipach)
    for name in (name_of(2), name_of(299)):
        done = rerun(alone, ".", datum_records(many, "sums")[name][0], without_minipach)
        assert f"get(ok): inputs/scans/{name}" in done
