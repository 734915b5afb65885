"""Failures that repeat, interrupts and limits on the executors whose sets outlive a schedule: real RQ, real Slurm."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.leftovers import until
from tests.fixtures.projects import Study
from tests.fixtures.redis_servers import Redis, Workers
from tests.fixtures.slurm_cluster import Cluster, on_slurm, shared_cluster

pytestmark = pytest.mark.slow

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\n'
BAD = 'echo "trouble with ${images##*/}"\nexit 3\n'


@dataclass
class Engine:
    """An executor with one process that runs sets. begin: starts it · interrupt: ends what runs, as a person would."""

    name: str
    study: Study
    minipach: Callable[..., str]
    begin: Callable[[], object]
    interrupt: Callable[[], object]
    settle: Callable[[], object] = field(default=lambda: None)

    def attempts(self) -> list[dict[str, Any]]:
        """What became of the datums of the last job, all passes together."""
        story = self.study.minipach("job", "edges", "--json").json
        return list(story["attempts"])


@pytest.fixture(params=["rq", "slurm"])
def engine(request: pytest.FixtureRequest, study: Study, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that commands can leave marks outside of /pfs
    if request.param == "rq":
        with Redis() as server, Workers(study, server) as workers:
            started: list[Any] = []

            def interrupt() -> None:
                assert workers.end(started.pop(), signal.SIGINT) == 130

            yield Engine("rq", study, workers.minipach, lambda: started.append(workers.start("-j", "1")), interrupt)
        return
    with shared_cluster() as slurm:
        on_slurm(study, throttle="1")

        def minipach(*arguments: str, code: int = 0) -> str:
            done = study.minipach(*arguments)
            assert done.code == code, done.err
            return done.out + done.err

        yield Engine("slurm", study, minipach, lambda: None, lambda: _scancel(slurm), lambda: _gone(slurm))


def _scancel(slurm: Cluster) -> None:
    tasks = [task.split()[0] for task in slurm.tasks() if "RUNNING minipach:edges" in task]
    slurm.ask("scancel", *tasks)
    until("they have ended", lambda: not any(line.split()[0] in tasks for line in slurm.tasks()))


def _gone(slurm: Cluster) -> None:
    until("nothing is left in Slurm", lambda: not slurm.tasks())


def test_the_job_stops_where_the_first_datums_all_fail(engine: Engine) -> None:
    study = engine.study
    for number in range(12):
        study.put(f"images/f{number:02}", f"{number}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC + "datum_set_spec: {number: 1}\ndatum_tries: 1\n", run=BAD)
    study.ok("git", "config", "minipach.give-up-after", "3")
    engine.begin()
    said = engine.minipach("schedule", "--wait", code=1)
    failed = len(engine.attempts())
    assert 3 <= failed < 12, said
    assert said.count("the command exited with 3") == 1, said
    assert f"the first {failed} all failed in the same way, so the job stopped with {12 - failed} not run" in said
    engine.settle()
    said = engine.minipach("schedule", "--wait", "--keep-going", code=1)
    assert "not run" not in said
    assert {row["datum"] for row in engine.attempts()} == {f"f{number:02}" for number in range(12)}


def held_at_b(engine: Engine, folder: Path) -> tuple[Path, Path]:
    """A set of three datums, the first of which has ended; what each run adds a line to, and what holds the second."""
    study, ran, hold = engine.study, folder / "ran", folder / "hold"
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    hold.touch()
    script = f"""
name=${{images##*/}}
echo $name >>{ran}
case $name in b) while [ -e {hold} ]; do sleep 0.1; done ;; esac
cp "$images" "$PFS/out/"
"""
    study.pipeline("edges", SPEC + "datum_set_spec: {number: 3}\n", run=script)
    engine.begin()
    engine.minipach("schedule")
    until("b runs", lambda: ran.is_file() and ran.read_text().split() == ["a", "b"])
    return ran, hold


def test_a_cancel_keeps_the_finished_datums_of_a_set(engine: Engine, tmp_path: Path) -> None:
    ran, hold = held_at_b(engine, tmp_path)
    engine.minipach("cancel")
    refs = ("for-each-ref", "refs/minipach/results")
    until("what a gave is kept", lambda: engine.study.git("edges", *refs))
    engine.settle()
    hold.unlink()
    engine.minipach("schedule", "--wait")
    assert sorted(ran.read_text().split()) == ["a", "b", "b", "c"], "a finished, and did not run again"
    assert sorted(engine.study.outputs("edges")) == ["a", "b", "c"]


def test_an_interrupt_keeps_the_finished_datums_of_a_set(engine: Engine, tmp_path: Path) -> None:
    ran, hold = held_at_b(engine, tmp_path)
    study = engine.study
    engine.interrupt()
    hold.unlink()
    engine.begin()
    engine.minipach("wait", "--timeout", "300")
    assert sorted(ran.read_text().split()) == ["a", "b", "b", "c"], "a finished, and did not run again"
    assert {n: study.read(f"edges/{n}") for n in "abc"} == {"a": b"a", "b": b"b", "c": b"c"}
    assert {row["datum"]: row["kind"] for row in engine.attempts()} == dict.fromkeys("abc", "ok")
    engine.settle()
    assert study.minipach("schedule").out == "nothing to do\n"


def test_limits_of_the_spec_hold(engine: Engine) -> None:
    study = engine.study
    study.put("images/a", "small", save=False)
    study.put("images/b", "x" * 300_000)
    spec = (
        SPEC
        + "datum_set_spec: {number: 2}\ndatum_tries: 1\nminipach: {limits: {file_size: 100K}, publish: available}\n"
    )
    study.pipeline("edges", spec, run='cp "$images" "$PFS/out/"\n')
    engine.begin()
    engine.minipach("schedule", "--wait", code=1)
    rows = {row["datum"]: row for row in engine.attempts()}
    assert {name: row["kind"] for name, row in rows.items()} == {"a": "ok", "b": "failed"}
    assert rows["a"]["disk"] is not None
    assert study.read("edges/a") == b"small"
    assert not (study.root / "edges" / "b").exists()
