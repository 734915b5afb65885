"""`minipach.triggers.due_times`: when a watcher or a receiver asks for a pass, whatever the machine's clock does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import time_machine

from minipach.model.clock import tick_name
from minipach.project.project import Project
from minipach.scheduling.add_ticks import add_due_ticks
from minipach.scheduling.events import Event, Message
from minipach.spec.cron_line import parse_moment
from minipach.triggers.due_times import DueTimes
from minipach.triggers.passes import answer_requests
from tests.fixtures.passes import Kept, wait_until_quiet
from tests.fixtures.projects import PATIENCE, Study
from tests.fixtures.receivers import serving

DAY = 86400
FIRST = parse_moment("2020-01-01")
WRITE = "transform: {cmd: [sh, -c, 'cp $tick /pfs/out/']}\n"
SPEC = "input: {cron: {name: tick, spec: %s, start: %s}}\n" + WRITE
POLICY = SPEC % ("'@daily'", "2020-01-01") + "minipach: {schedule: {%s}}\n"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A project with a pipeline that has a daily clock from the start of 2020."""
    study = Study.create(tmp_path / "study")
    study.pipeline("report", SPEC % ("'@daily'", "2020-01-01"))
    return study


def ticks(study: Study) -> list[str]:
    return [n for n in study.git("report_tick", "ls-tree", "--name-only", "HEAD").split() if not n.startswith(".")]


def asked(study: Study, times: DueTimes, now: float, *, again: bool = False) -> tuple[bool, int]:
    """Let it be a time: return whether a pass is asked for, and how many ticks that pass adds."""
    with time_machine.travel(now, tick=False):
        if again:
            times.read(again=True)
        due = times.is_due()
        added = add_due_ticks(Project(study.root)).ticks if due else 0
        times.read()
        return due, added


def test_clock_jumps_make_no_doubles_and_lose_nothing(study: Study) -> None:
    times = DueTimes(Project(study.root))
    assert asked(study, times, FIRST + 10, again=True) == (True, 1)
    assert asked(study, times, FIRST + 10) == (False, 0)
    assert asked(study, times, FIRST + DAY) == (True, 1)
    assert asked(study, times, FIRST + 3 * DAY) == (True, 2), "put forward"
    assert asked(study, times, FIRST + DAY + 5) == (False, 0), "put back"
    assert asked(study, times, FIRST + DAY + 5, again=True) == (False, 0)
    assert asked(study, times, FIRST + 2 * DAY, again=True)[1] == 0, "it is there already"
    assert asked(study, times, FIRST + 4 * DAY, again=True) == (True, 1), "and it continues"
    assert ticks(study) == [tick_name(FIRST + number * DAY) for number in range(5)]


def test_a_machine_that_slept_for_three_days_catches_up_by_policy(study: Study) -> None:
    times = DueTimes(Project(study.root))
    asked(study, times, FIRST, again=True)
    with time_machine.travel(FIRST + 100, tick=False):
        assert times.seconds() == 30, "it looks at the time, since a machine that sleeps counts no seconds"
    assert asked(study, times, FIRST + 3 * DAY + 50) == (True, 3)
    study.pipeline("report", POLICY % "expired_limit: 24h")
    assert asked(study, times, FIRST + 6 * DAY + 50, again=True) == (True, 1), "younger than the limit"


@pytest.mark.parametrize(
    ("night", "expected"),
    [
        ("2026-03-29", ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-25", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ],
)
def test_both_nights_of_daylight_saving(tmp_path: Path, night: str, expected: list[str]) -> None:
    """02:30 in Berlin is no time in the first night, and comes twice in the second one."""
    study = Study.create(tmp_path / "study")
    begin = parse_moment(night) - DAY
    line = "'CRON_TZ=Europe/Berlin 30 2 * * *'"
    study.pipeline("report", SPEC % (line, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin))))
    times = DueTimes(Project(study.root))
    passes = 0
    for now in range(begin, begin + 3 * DAY, 6 * 3600):
        passes += asked(study, times, now, again=now == begin)[0]
    assert ticks(study) == expected
    assert passes <= 4  # one for each tick, and one that makes the repo


class KilledAtTick(Kept):
    """A reporter of a process that is killed as soon as a tick is committed."""

    def report(self, event: Event) -> None:
        """Kill this process when a tick was added."""
        if isinstance(event, Message) and "added to report_tick" in event.text:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_kill_between_the_commit_of_a_tick_and_its_schedule(study: Study) -> None:
    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    study.pipeline("report", POLICY % "end: 2020-01-02")
    state.heard.write_text("clock a tick is due\n")
    child = os.fork()
    if not child:
        try:
            answer_requests(study.root, KilledAtTick())
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(ticks(study)) == 2 and not state.database.exists()
    assert state.taken.exists()  # the watcher and the receiver start another pass for it
    assert answer_requests(study.root, Kept()) is not None
    assert len(study.outputs("report")) == 2
    jobs = study.minipach("jobs", "report", "--json").json["jobs"]
    assert [(job["cause"], job["counts"]["ran"]) for job in jobs] == [("clock", 2)]


@pytest.mark.slow
def test_a_clock_runs_with_the_receiver_alone(study: Study, tmp_path: Path) -> None:
    study.pipeline("report", SPEC % ("'@every 1s', overwrite: true", "2020-01-01"))

    def there() -> list[str]:
        return [name for name in os.listdir(study.root / "report") if name.startswith("2")]

    with serving(study, tmp_path / "log", "--every", "0"):
        deadline = time.monotonic() + PATIENCE
        seen: set[str] = set()
        while len(seen) < 2:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            seen |= set(there())
            time.sleep(0.1)
    wait_until_quiet(study)
    job = study.minipach("jobs", "report", "-n", "1", "--json").json["jobs"][0]
    assert job["cause"] == "clock"
