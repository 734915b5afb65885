"""`datum_batching`: one start of a program for the datums of a set, and one record for each of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.fixtures.leftovers import Background, hold, leftovers
from tests.fixtures.projects import SHOWN, Study, run
from tests.fixtures.stories import counts, records

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "batching" / "predict"
SPEC = """\
input: {{pfs: {{repo: images, glob: "/*"}}}}
transform: {{cmd: [sh, code/copy.sh], datum_batching: true}}
datum_set_spec: {{number: {number}}}
{more}
"""
LOOP = 'echo start; while minipach-next; do . "$PFS/.env"; %s; done\n'
COPY = 'cp "$images" "$PFS/out/"'
NAMES = ["a.txt", "b.txt", "c.txt", "d.txt"]


def batched(study: Study, body: str = COPY, *, number: int = 4, more: str = "") -> Study:
    """Four small files, and a pipeline that does this for each of them."""
    for name in NAMES:
        study.put(f"images/{name}", f"content of {name}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC.format(number=number, more=more), copy=LOOP % body)
    return study


@pytest.mark.slow
def test_each_datum_of_a_batch_has_a_record_that_reruns_alone(study: Study, tmp_path: Path) -> None:
    batched(study)
    assert counts(study.schedule()["edges"]) == {"ran": 4}
    assert sorted(study.outputs("edges")) == NAMES
    (log,) = (line for line in study.minipach("logs", "edges").out.splitlines() if line.endswith("start"))
    assert log
    found = records(study, "edges")
    assert all(record["outputs"] for _, record in found.values())
    assert all(len(record["minipach"]["datums"]) == 1 for _, record in found.values())
    assert study.minipach("schedule").out == "nothing to do\n"
    clone = tmp_path / "clone"
    study.ok("datalad", "clone", str(study.root / "edges"), str(clone))
    head = run("git", "rev-parse", "HEAD", cwd=clone).out
    done = run("datalad", "rerun", cwd=clone)
    assert done.code == 0, done.err
    assert run("git", "rev-parse", "HEAD", cwd=clone).out == head, "a rerun had something to save"


def test_the_one_that_fails_is_tried_again_alone(study: Study) -> None:
    batched(study, f"case $images in */b.txt) echo no luck; exit 3;; esac; {COPY}", more="datum_tries: 2")
    assert counts(study.schedule(code=1)["edges"]) == {"ran": 3, "failed": 1}
    assert "no luck" in study.minipach("logs", "edges", "b.txt").out
    assert "no luck" not in study.minipach("logs", "edges", "c.txt").out


@pytest.mark.slow
def test_after_a_kill_in_the_middle_of_a_loop_all_is_there(study: Study) -> None:
    batched(study, f"{COPY}; case $images in */c.txt) while [ -e {SHOWN}/hold ]; do sleep 0.05; done;; esac")
    gate = hold(study)
    running = Background(study, "schedule", "-j", "1").waiting()
    os.kill(running.of("launch")[0].pid, signal.SIGKILL)
    gate.unlink()
    running.end()
    study.schedule()
    assert sorted(study.outputs("edges")) == NAMES
    assert leftovers(study) == []


@pytest.mark.slow
def test_the_example_loads_its_model_once_for_each_slot(study: Study) -> None:
    for number in range(20):
        study.put(f"images/{number}.png", f"picture {number}\n", save=False)
    study.save("images")
    spec = (
        (EXAMPLE / "spec.yml")
        .read_text()
        .replace("datum_batching", "env: {LOADING: 1, PREDICTING: 0}\n  datum_batching")
    )
    study.pipeline("predict", spec)
    (study.root / "predict/code").mkdir(exist_ok=True)
    (study.root / "predict/code/predict.py").write_text((EXAMPLE / "code/predict.py").read_text())
    assert counts(study.schedule("-j", "1")["predict"]) == {"ran": 20}
    assert len(study.outputs("predict")) == 20
