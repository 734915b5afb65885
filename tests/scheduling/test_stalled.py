"""Jobs that were handed over to an engine that is away, or set no more: who waits is told, and nothing runs twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from minipach.executors.resources import ResourceClass
from minipach.git.repo import Repo
from minipach.model.repo_layout import SET_REFS
from tests.fixtures.leftovers import hold, unpublished, until
from tests.fixtures.projects import Study
from tests.fixtures.redis_servers import Redis, Workers


@pytest.mark.slow
def test_where_the_engine_is_away_or_another_is_set(tmp_path: Path) -> None:
    study = unpublished(tmp_path / "study", images=1)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        assert "no worker serves this project" in workers.minipach("wait", "--timeout", "0.5", code=3)
        server.kill()
        for command, code in ((("jobs",), 0), (("status",), 0), (("wait", "--timeout", "0.5"), 3)):
            said = workers.minipach(*command, code=code)
            assert said.count("submitted work waits: Redis at unix://") == 1, command
        server.start()

        # the same project without what says that it is rq's, as after `minipach down`
        assert "edges: is waiting for another executor, but now local is set" in study.minipach("jobs").err
        waited = study.minipach("wait")
        assert waited.code == 2, "it would wait for ever"
        assert waited.reports("work.forsaken", "edges, montage", "minipach up")

        # what is cancelled, or done otherwise, is nothing that a worker begins later
        assert sets(study)
        cancelled = study.minipach("cancel")
        assert "ended: job" in cancelled.out
        assert "other than local still runs of it is not ended by this" in cancelled.err
        assert sets(study) == []
        workers.schedule()
        assert sets(study)
        here = study.minipach("schedule")
        assert "edges: was submitted to another executor; its queued sets are withdrawn and run here" in here.err, (
            here.err
        )
        assert (here.code, sets(study)) == (0, [])
        assert study.minipach("wait").code == 0


@pytest.mark.soak
def test_a_burst_stays_for_the_set_of_a_worker_that_is_gone(tmp_path: Path) -> None:
    study = unpublished(tmp_path / "study", images=1)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        held = hold(study)
        first = workers.start("-j", "1")
        until("it runs", lambda: list(workers.jobs().values()) == ["started"])
        workers.end(first, signal.SIGKILL)
        held.unlink()
        queue = workers.board.names.queue(ResourceClass())
        until("it wants a worker", lambda: workers.board.to_do(queue) == 1)
        assert workers.start("-j", "1", "--burst").wait(300) == 0, workers.said
        workers.minipach("wait", "--timeout", "0")
    assert study.outputs("montage")


@pytest.mark.soak
def test_a_project_that_was_moved_goes_on_where_it_is(tmp_path: Path) -> None:
    study = unpublished(tmp_path / "study", images=2)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        moved = Study(study.root.rename(tmp_path / "moved"))
        there = Workers(moved, server)
        assert there.start("-j", "1", "--burst").wait(300) == 0, there.said
        there.minipach("wait", "--timeout", "0")
        assert sorted(moved.outputs("edges")) == ["0.txt", "1.txt"]
        assert "No such file" not in (moved.root / ".git/minipach/rq/publish.log").read_text()
    assert not study.root.exists()


def sets(study: Study) -> list[str]:
    """The sets that a worker may begin."""
    return list(Repo(study.root / "edges").refs(SET_REFS))
