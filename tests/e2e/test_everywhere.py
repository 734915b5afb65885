"""One project, one spec: by the local executor, by three RQ workers, and by Slurm it comes out the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fixtures.projects import Study
from tests.fixtures.redis_servers import Redis, Workers
from tests.fixtures.slurm_cluster import cluster

SPEC = """
input: {pfs: {repo: %s, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]}
datum_set_spec: {number: 1}
"""
RUN = 'n=$(basename "$%s"); wc -c <"$%s" >"$PFS/out/$n"; echo "more of $n" >>"$PFS/out/$n"\n'


def records(study: Study) -> list[str]:
    """All messages of the branch of edges; dates, authors and hashes of commits aren't part of them."""
    return sorted(study.git("edges", "log", "-z", "--format=%B").split("\0"))


@pytest.mark.slow
def test_the_same_trees_and_records_come_out(tmp_path: Path) -> None:
    local = Study.create(tmp_path / "local")
    for number in range(6):
        local.put(f"images/{number}", f"content {number}\n", save=False)
    local.save("images")
    local.pipeline("edges", SPEC % "images", run=RUN % ("images", "images"))
    local.pipeline("copies", SPEC % "edges", run=RUN % ("edges", "edges"))
    local.schedule()  # a dataset gets its id when it is made: so that is done before the project is copied
    for number in range(3):
        local.put(f"images/new {number}", f"new {number}\n", save=False)
    local.save("images")
    others = [Study(Path(shutil.copytree(local.root, tmp_path / n, symlinks=True))) for n in ("rq", "slurm")]

    assert local.schedule("-j", "2")["copies"]["counts"]["ran"] == 3
    with Redis() as server, Workers(others[0], server) as workers:
        for _ in range(3):
            workers.start("-j", "1")
        workers.schedule()
        workers.minipach("wait", "--timeout", "300")
    with cluster():
        others[1].ok("git", "config", "minipach.executor", "slurm")
        others[1].schedule()
        done = others[1].minipach("wait", "--timeout", "300")
        assert done.code == 0, done.err

    for study in others:
        assert study.git("edges", "rev-parse", "HEAD^{tree}") == local.git("edges", "rev-parse", "HEAD^{tree}")
        assert records(study) == records(local)
        # downstream, the commit of edges is named, whose hash holds its dates; the rest is the same
        assert study.outputs("copies") == local.outputs("copies")
