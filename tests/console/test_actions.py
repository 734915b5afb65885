"""Actions outlive the console: it is killed at random while they are sent and run, and nothing is lost."""

from __future__ import annotations

import random
import time
from pathlib import Path

import httpx
import pytest

from tests.fixtures.consoles import shown
from tests.fixtures.projects import PATIENCE, Study

DATUMS = 12
SLOW = 'sleep 0.3; cat "$images"/* "$images" 2>/dev/null >"$PFS/out/copy"; true\n'


@pytest.mark.slow
def test_a_console_that_is_killed_loses_nothing(study: Study, tmp_path: Path) -> None:
    chance = random.Random(20)
    for number in range(DATUMS):
        study.put(f"images/{number}", f"{number}\n", save=False)
    study.save("images")
    text = (
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/slow.sh]}\nminipach: {out: "{name}/"}\n'
    )
    study.pipeline("edges", text, slow=SLOW)
    for number in range(4):
        with shown(study, tmp_path / f"log{number}", "--actions") as console:
            for action in ("schedule", "pause", "resume", "schedule") if number else ("schedule",):
                with httpx.Client(timeout=PATIENCE) as client:
                    answer = client.post(f"{console.link}act", data={"action": action})
                assert answer.status_code == 303, answer.text
                time.sleep(chance.uniform(0, 0.3))
            console.process.kill()  # at any moment of a schedule
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    [row] = study.minipach("status", "--json").json["pipelines"]
    assert (row["state"], row["counts"]["current"]) == ("current", DATUMS)
    assert study.git(".", "status", "--porcelain") == "" and study.git("edges", "fsck", "--no-dangling") == ""
    with shown(study, tmp_path / "last") as console:
        page = httpx.get(f"{console.link}index.json", timeout=PATIENCE).json()
    assert page["pipelines"][0]["counts"]["current"] == DATUMS
