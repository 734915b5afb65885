"""docs/design/formats.md lists what the code has: refs, files, options, exit codes, variables, states, Redis keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minipach.executors.rq.names import Names
from minipach.model import launch_protocol, repo_layout, states
from minipach.model.job_entries import Attempt, DatumResult
from minipach.model.local_state import LocalState
from minipach.planning.plan import ACTIONS
from minipach.scheduling.events import DatumFailed, Event, Message, PipelineEnded, PipelineStarted, Progress
from minipach.scheduling.schedule_report import PipelineReport

PAGE = (Path(__file__).parents[2] / "docs" / "design" / "formats.md").read_text()
CODES = {name: value for name, value in vars(launch_protocol).items() if isinstance(value, int) and name.isupper()}
SIZES = {**launch_protocol.COMMON_SIZES, **launch_protocol.DATUM_SIZES, **launch_protocol.ERROR_SIZES}
STATES = {word for name, words in vars(states).items() if name.isupper() and name[0] != "_" for word in words}


def texts(module: object) -> list[str]:
    """Return the constants of a module that are text."""
    return [value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)]


@pytest.mark.parametrize("name", [*texts(repo_layout), *texts(launch_protocol)])
def test_names_of_repositories_and_of_the_launcher(name: str) -> None:
    known = {"tmp.*": ".minipach/tmp."}.get(name, name)
    assert re.search(rf"[`/]{re.escape(known)}", PAGE) or f" {known} " in PAGE or f"`{known}" in PAGE, name


@pytest.mark.parametrize("name", [name for name, found in vars(LocalState).items() if isinstance(found, property)])
def test_paths_of_local_state(name: str) -> None:
    path = getattr(LocalState(Path("x")), name).relative_to("x")
    assert re.search(rf"^\|[^|]*`{re.escape(str(path))}[`/]", PAGE, re.MULTILINE), path


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_exit_codes(code: int) -> None:
    assert re.search(rf"^\| {code} \|", PAGE, re.MULTILINE)


def test_options_of_the_launcher() -> None:
    found = {}
    for options, words in re.findall(r"^\| ((?:`-\w` ?)+) \| (\d) \|", PAGE, re.MULTILINE):
        found.update(dict.fromkeys(re.findall(r"-\w", options), int(words)))
    assert found == SIZES


@pytest.mark.parametrize("state", sorted({*STATES, *ACTIONS}))
def test_states(state: str) -> None:
    assert f"`{state}`" in PAGE.partition("## States")[2].partition("## Events")[0]


EVENTS = [
    Message("x"),
    PipelineStarted("edges", {"run": 1}),
    Progress("edges", 1, 0, 1),
    DatumFailed("edges", Attempt("a", "id", DatumResult(0, "failed", 1), 1, "", "")),
    PipelineEnded(PipelineReport("edges", "published")),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events(event: Event) -> None:
    data = event.as_json()
    keys = " ".join(f"`{key}`" for key in data if key != "event")
    assert f"| `{data['event']}` | {keys} |" in PAGE


def test_redis_keys() -> None:
    names = Names("p")
    section = PAGE.partition("## Redis")[2]
    for key in (names.folder, names.workers, names.left("<repo>"), names.again, names.tending, names.tails, names.work):
        assert f"`{key.removeprefix(names.prefix)}`" in section, key
    for key in (
        names.log("<set id>"),
        names.tail("<set id>"),
        names.lost_log("<set id>", 0).replace("lost0", "lost<n>"),
    ):
        assert f"`{key.removeprefix(names.prefix)}`" in section, key
    assert names.publish_job.removeprefix("p") == "-publish" and "-publish`" in section
