"""`retry: {memory: 2x}`: after a try that was out of memory, the next one gets more, as far as a machine has it."""

from __future__ import annotations

import shlex

import pytest

from minipach.executors.resources import own_memory
from minipach.model.run_record import parse
from tests.fixtures.leftovers import Background, until
from tests.fixtures.projects import SHOWN, Study
from tests.fixtures.stories import counts

pytestmark = pytest.mark.slow

SPEC = """\
input: {{pfs: {{repo: images, glob: "/*"}}}}
transform: {{cmd: [sh, code/run.sh]}}
datum_set_spec: {{number: {number}}}
resource_limits: {{memory: 80Mi}}
minipach: {{retry: {{memory: 2x}}}}
datum_tries: {tries}
"""
# so many MiB as the file says
RUN = 'python3 -c "import sys, time; b = b\'x\' * (int(sys.argv[1]) << 20); time.sleep(0.5)" "$(cat $images)"\n'
RUN += 'cp "$images" "$PFS/out/"\n'


def hungry(study: Study, sizes: dict[str, int], *, number: int = 1, tries: int = 3) -> Study:
    """A datum for each size."""
    for name, size in sizes.items():
        study.put(f"images/{name}", f"{size}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC.format(number=number, tries=tries), run=RUN)
    return study


def limits(study: Study) -> dict[str, int]:
    """The limit of memory in the record of each datum, in MiB."""
    found = {}
    for commit in study.git("edges", "log", "--format=%H", "--grep=DATALAD RUNCMD").split():
        record = parse(study.git("edges", "log", "-1", "--format=%B", commit) + "\n")[1]
        (size,) = [word for word in shlex.split(record["cmd"]) if word.startswith("memory=")]
        found[record["minipach"]["datums"][0]["name"]] = int(size.removeprefix("memory=")) >> 20
    return found


@pytest.mark.slow
def test_the_one_of_a_set_that_was_out_of_memory_gets_more(study: Study) -> None:
    hungry(study, {"large": 100, "small": 1}, number=2)
    assert counts(study.schedule("-j", "1")["edges"]) == {"ran": 2}
    assert limits(study) == {"large": 160, "small": 80}
    assert "after it was out of memory, this try gets 167.8 MB" in study.minipach("logs", "edges", "large").out
    assert study.minipach("schedule").out == "nothing to do\n"  # the datum is the same one


@pytest.mark.slow
def test_memory_is_raised_with_each_try_up_to_the_last(study: Study) -> None:
    hungry(study, {"huge": 250, "much": 400})
    assert counts(study.schedule("-j", "1", code=1)["edges"]) == {"ran": 1, "failed": 1}
    assert "which is the limit" in study.minipach("logs", "edges", "much").out
    (study.root / "edges/spec.yml").write_text(SPEC.format(number=1, tries=4))
    study.save("edges")
    study.schedule("-j", "1")
    assert limits(study) == {"huge": 320, "much": 640}


def test_no_try_gets_more_than_the_machine_has(study: Study) -> None:
    study.put("images/a", "a\n")
    spec = SPEC.format(number=1, tries=2).replace("80Mi", str(own_memory() * 3 // 4))
    study.pipeline("edges", spec, run="echo once; kill -9 $$\n")  # as the kernel does it
    assert counts(study.schedule("-j", "1", code=1)["edges"]) == {"failed": 1}
    said = study.minipach("logs", "edges", "a").out
    assert "out of memory, this try gets" not in said


@pytest.mark.slow
def test_a_schedule_after_a_killed_one_begins_with_the_raised_memory(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that the command can leave marks
    study.put("images/a", "a\n")
    run = f"""[ -e {SHOWN}/first ] || {{ touch {SHOWN}/first; kill -9 $$; }}
[ -e {SHOWN}/second ] || {{ touch {SHOWN}/second; sleep 600; }}
cp "$images" "$PFS/out/"
"""
    study.pipeline("edges", SPEC.format(number=1, tries=3), run=run)
    killed = Background(study, "schedule")
    until("the second try", (SHOWN / "second").exists)
    killed.process.kill()
    killed.process.wait()
    assert counts(study.schedule()["edges"]) == {"ran": 1}
    assert limits(study) == {"a": 160}
    assert "after it was out of memory, this try gets 167.8 MB" in study.minipach("logs", "edges", "a").out
    assert study.minipach("schedule").out == "nothing to do\n"
