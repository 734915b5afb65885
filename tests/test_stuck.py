"""Jobs that were handed over to an engine that is away, or set no more: who waits is told, and nothing runs twice."""

from __future__ import annotations

from pathlib import Path

from minipach.executors.setrefs import SETS
from minipach.git import Repo
from tests.projects import Study
from tests.redises import Redis, Workers
from tests.remains import unpublished


def test_where_the_engine_is_away_or_another_is_set(tmp_path: Path) -> None:
    study = unpublished(tmp_path / "study", images=1)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        assert "no worker serves this project" in workers.minipach("wait", "--timeout", "0.5", code=1)
        server.kill()
        for command, code in ((("jobs",), 0), (("status",), 0), (("wait", "--timeout", "0.5"), 1)):
            said = workers.minipach(*command, code=code)
            assert said.count("what was handed over waits: Redis at unix://") == 1, command
        server.start()

        # the same project without what says that it is rq's, as after `minipach down`
        assert (
            "edges: waits for the executor that it was handed over to; now local is set" in study.minipach("jobs").err
        )
        waited = study.minipach("wait")
        assert waited.code == 2, "it would wait for ever"
        assert "nothing is there to go on with it; minipach up, or minipach schedule" in waited.err

        # what is cancelled, or done otherwise, is nothing that a worker begins later
        assert sets(study)
        assert "ended: job" in study.minipach("cancel").out
        assert sets(study) == []
        workers.schedule()
        assert sets(study)
        study.schedule()
        assert sets(study) == []
        assert study.minipach("wait").code == 0


def sets(study: Study) -> list[str]:
    """The sets that a worker may begin."""
    return list(Repo(study.root / "edges").refs(SETS))
