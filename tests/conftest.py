"""What all tests share: a git identity of their own, quiet datalad, and skips that fail in CI.

How to write a fast test
========================
`make test` takes less than 5 minutes on 2 idle cores. Three tests run at a time, since each also waits for other
processes and for the disk. `pytest --durations=20` names the slowest tests of a run.

What things cost, in seconds of CPU time: a function call 0.001, a git process 0.003, `git annex init` 0.06, saving a
file with `Study.put` 0.07, a warm `minipach plan` 0.1, a `minipach schedule` that runs datums 0.8 (most of it fixed:
one datum more adds 0.05), and 0.8 more where it makes a new pipeline a dataset; `datalad create` 0.8.

1. Test a module by its functions, with repositories from `fixtures/repos.py` or `fixtures/plain_projects.py`.
   Use a `Study` for what several modules do together.
2. Compute a project once, in a fixture of module scope, and look at it in many tests. A test that changes it works on
   a copy: `done.duplicate(tmp_path / "study")`.
3. Run minipach with `Study.minipach` or `projects.run`. These commands start warm (`fixtures/warm_minipach.py`).
   Use `subprocess` where the process itself is tested: its signals, its terminal, its place among the processes.
   `MINIPACH_TESTS_COLD=1` makes every command start cold.
4. Save once: `put(..., save=False)` for all files but the last.
5. Mark a test `slow` if it takes more than 3 s of CPU time, or needs podman or a Slurm of its own, unless nothing else
   tests what it promises. Of a test with parameters that runs `schedule`, one set of parameters is quick.
6. Wait for a condition (`leftovers.until`), never for a time. Assert no duration: other processes may be running.
7. Import helpers from `tests/fixtures`. No test imports from another test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from minipach.git.child_environment import child_environment
from tests.fixtures.projects import SHOWN, Study
from tests.fixtures.warm_minipach import AT_START

_IDENTITY = {
    "GIT_AUTHOR_NAME": "A Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org",
    "GIT_COMMITTER_NAME": "A Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.org",
    "DATALAD_LOG_LEVEL": "error",
    "DATALAD_UI_PROGRESSBAR": "none",
    "USER": os.environ.get("USER", "root"),  # charliecloud refuses to start without it
}

# A shell without job control has what it starts in the background ignore SIGINT and SIGQUIT; nohup adds SIGHUP.
# Tests send these signals, and look at what a command ignores.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

# CI tries the same examples each time, so that it says something about the change; people's machines try new ones.
# A busy machine may be slow: no test fails by that.
_CALM = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("calm", parent=_CALM)
hypothesis.settings.load_profile("calm")
hypothesis.settings.register_profile("ci", parent=_CALM, derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own, so that no personal configuration or cache takes part."""
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("home")
    os.environ.update(_IDENTITY)
    os.environ["HOME"] = str(home)
    os.environ["XDG_CACHE_HOME"] = str(home / ".cache")
    for name in [n for n in os.environ if n.startswith("MINIPACH_")]:
        del os.environ[name]
    os.environ.pop("PYTHONUNBUFFERED", None)  # it would hide what is printed too late
    os.environ["MINIPACH_HOST_PATHS"] = str(SHOWN)
    os.environ["MINIPACH_JOBS"] = "1"  # the tests run side by side already; where it matters, a test says -j
    os.environ.update(child_environment())
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _start_unchanged() -> Iterator[None]:
    """A test leaves the environment as it was; else all commands after it would start cold."""
    before = _at_start()
    yield
    assert _at_start() == before, "the test has changed what a Python reads as it starts"


def _at_start() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(AT_START)}


@pytest.fixture(autouse=True)
def _nothing_shown() -> Iterator[None]:
    """A test that fails leaves no file that makes the next one's commands wait."""
    yield
    for path in SHOWN.iterdir():
        if path.is_file():
            path.unlink()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI every real part is there: a skipped test is a failed one."""
    return _without_skips(item.nodeid, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole module that lacks a part."""
    return _without_skips(collector.nodeid, (yield))


def _without_skips(name: str, report: Any) -> Any:
    if os.environ.get("CI") and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{name} was skipped, but CI must have all parts: {report.longrepr}"
    return report


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """An empty project with one dataset `images`."""
    return Study.create(tmp_path / "study")
