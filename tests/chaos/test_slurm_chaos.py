"""Chaos on Slurm, with a fixed seed: in the end every datum is published once, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.edits import NEUTRAL, NEUTRAL_SCRIPT, Edits
from tests.fixtures.leftovers import leftovers, processes, until
from tests.fixtures.projects import PATIENCE, Study
from tests.fixtures.slurm_cluster import Cluster, cluster, on_slurm, submissions

DATUMS = 48
BLOWS = {"scancel": 4, "task": 6, "step": 1, "slurmd": 2, "slurmctld": 2, "node": 1}
# every datum says that it was begun, and takes a moment
SCRIPT = 'echo x >>"$MARKS/$(basename "$images")"; sleep 0.5; cp "$images" "$PFS/out/"\n'
SPEC = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh], env: {MARKS: "@"}}
datum_set_spec: {number: 4}
"""


def strike(kind: str, slurm: Cluster, study: Study, chance: random.Random) -> bool:
    """One blow; whether there was anything to hit."""
    queue = [line.split() for line in slurm.tasks()]
    if kind == "scancel" and queue:
        slurm.ask("scancel", chance.choice(queue)[0])
    elif kind == "task":
        # the batch process of a task, and the child of it that does the work, look the same
        found = [p.pid for p in processes("x", study.root) if "minipach.executors.slurm.task" in p.args]
        if not found:
            return False
        os.kill(chance.choice(sorted(found)), signal.SIGKILL)
    elif kind == "step":
        for q in queue:
            if q[1:] == ["RUNNING", "minipach:next"]:
                slurm.ask("scancel", q[0])
    elif kind == "slurmctld":  # not by SIGKILL: it forgets what it did in the last seconds, and drains the node
        slurm.stop(kind)
        slurm.start(kind)
    elif kind == "slurmd":
        slurm.stop(kind, signal.SIGKILL)
        slurm.start(kind)
    else:
        slurm.stop("slurmd", signal.SIGKILL)
        until("the node is down", lambda: "down" in slurm.ask("sinfo", "-h", "-o", "%T"))
        slurm.start("slurmd")
    return True


@pytest.mark.soak
@pytest.mark.timeout(5400)  # 16 blows on a busy machine
def test_whatever_is_killed_every_datum_is_published_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that commands can leave marks
    marks = tmp_path / "marks"
    marks.mkdir()
    study = Study.create(tmp_path / "study")
    chance = random.Random(20261122)
    edits = Edits(study, chance)
    edits.add(DATUMS)
    study.pipeline("edges", SPEC.replace("@", str(marks)), run=SCRIPT)
    montage = 'input: {pfs: {repo: edges, glob: "/"}}\ntransform: {cmd: [sh, code/gather.sh]}\n'
    study.pipeline("neutral", NEUTRAL, run=NEUTRAL_SCRIPT)
    study.pipeline("montage", montage, gather='cat "$PFS"/edges/* >"$PFS/out/all"\n')
    on_slurm(study)
    blows: Counter[str] = Counter()
    with cluster(more="SlurmdTimeout=5") as slurm:
        assert study.minipach("schedule").code == 0
        kinds = [kind for kind, count in BLOWS.items() for _ in range(count)]
        chance.shuffle(kinds)
        for kind in kinds:
            time.sleep(chance.uniform(0, 1))
            blows[kind] += strike(kind, slurm, study, chance)
            edited = chance.random() < 0.5 and edits.make() != "unsaved"
            if edited or not any("minipach:" in line for line in slurm.tasks()):
                study.minipach("schedule")  # of the edit; or the step that would have gone on was itself ended
        edits.take_back()
        study.minipach("schedule")
        deadline = time.monotonic() + PATIENCE
        whole = "".join(content for _, content in sorted(edits.files.items()))
        gathered = study.root / "montage/all"
        while not gathered.exists() or gathered.read_text() != whole or edits.problems("neutral"):
            assert time.monotonic() < deadline, (slurm.node, slurm.ask("squeue", "-r", "-h", "-o", "%i %T %r"))
            study.minipach("wait", "--timeout", "10")
            if not any("minipach:" in line for line in slurm.tasks()):
                study.minipach("schedule")
        until("nothing is left in Slurm", lambda: not slurm.tasks())
        assert study.minipach("schedule", "--wait").out == "nothing to do\n"
    runs = [len(path.read_text().split()) for path in sorted(marks.iterdir())]
    wasted = sum(runs) - len(runs)
    print(f"{len(runs)} datums, blows {dict(blows)}, edits {dict(edits.done)}: {sum(runs)} runs, {wasted} wasted")
    assert edits.problems("edges", "neutral") == []
    assert edits.done.total() >= 4 and blows.total() >= 10
    assert submissions(study) == []
    assert leftovers(study) == []
