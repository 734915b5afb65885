"""Passes that triggers ask for: one answers any number of lines, and what it does follows from git alone."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path
from typing import IO

import hypothesis
import pytest
from hypothesis import strategies as st

from minipach.model.local_state import LocalState
from minipach.project.lock import register
from minipach.project.project import Project
from minipach.scheduling.events import Event, PipelineEnded
from minipach.scheduling.schedule_report import ScheduleReport
from minipach.triggers import hooks, passes
from minipach.triggers.passes import answer_requests, ask_for_pass, by_itself, cause_of, is_waiting, settling
from tests.fixtures.leftovers import until
from tests.fixtures.passes import Kept, wait_until_quiet
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused


def state_of(study: Study) -> LocalState:
    state = LocalState.in_root(study.root)
    state.folder.mkdir(exist_ok=True)
    return state


def hear(study: Study, *lines: str) -> None:
    with state_of(study).heard.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_nothing_heard_nothing_done(study: Study) -> None:
    assert answer_requests(study.root, Kept()) is None
    assert not state_of(study).looked.exists()


def test_one_pass_answers_all_lines(study: Study) -> None:
    hear(study, "anything", "refs/heads/x", "")
    assert answer_requests(study.root, Kept()) is not None
    look = json.loads(state_of(study).looked.read_text())
    assert (look["schema"], look["heard"], look["problems"]) == (1, 3, [])
    assert not state_of(study).heard.exists() and not state_of(study).taken.exists()
    assert answer_requests(study.root, Kept()) is None


def test_passes_in_a_row_wait_longer_and_a_single_save_does_not(study: Study) -> None:
    assert settling(0) == (0.3, 1.5), "a save that comes after a pause starts as before"
    times = [settling(number) for number in range(50)]
    assert times == sorted(times) and times[-1][1] < 30 and times[3][1] >= 4 * times[1][1]
    state = state_of(study)
    rows = []
    for held, lines in ((False, 3), (True, 3), (True, 2), (True, 2), (False, 1)):
        hear(study, *["anything"] * lines)
        with state.answering.open("a") as lock:
            if held:
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
            thread = threading.Thread(target=answer_requests, args=(study.root, Kept()))
            thread.start()
            if held:
                until_waited_for(lock)
        thread.join(60)
        rows.append(json.loads(state.looked.read_text())["in_a_row"])
    assert rows == [0, 1, 2, 2, 0], "a pass that answers one save makes the next ones wait no longer"


def until_waited_for(lock: IO[str]) -> None:
    """Wait until somebody waits for a lock that this process holds."""
    inode = f":{os.fstat(lock.fileno()).st_ino} "
    rows = Path("/proc/locks")
    until("nobody waits", lambda: any("->" in row and inode in row for row in rows.read_text().splitlines()))


def test_lines_of_a_pass_that_was_killed_are_answered(study: Study) -> None:
    state_of(study).taken.write_text("one\ntwo\n")
    hear(study, "three")
    assert answer_requests(study.root, Kept()) is not None
    assert json.loads(state_of(study).looked.read_text())["heard"] == 3


def test_error_of_the_user_is_an_answer(study: Study) -> None:
    study.git(".", "config", "minipach.executor", "nonsense")
    hear(study, "x")
    with refused("setting.bad-value", "minipach.executor", "nonsense"):
        answer_requests(study.root, Kept())
    assert "nonsense" in json.loads(state_of(study).looked.read_text())["problems"][0]["text"]
    assert not state_of(study).taken.exists()


def test_waiting_is_removed_by_the_process_that_it_names(study: Study) -> None:
    waiting = state_of(study).waiting
    for pid, left in ((os.getpid(), False), (1, True)):
        waiting.write_text(f"{pid} 17\n")
        hear(study, "x")
        assert answer_requests(study.root, Kept()) is not None
        assert waiting.exists() == left


def test_ask_starts_one_process_for_any_number_of_lines(study: Study) -> None:
    project = Project(study.root)
    process = ask_for_pass(project, "one\nline")
    assert process is not None and is_waiting(project.local)
    assert ask_for_pass(project, "another") is None
    assert process.wait() == 0
    wait_until_quiet(study)
    assert json.loads(project.local.looked.read_text())["heard"] == 2
    assert not is_waiting(project.local)


def test_id_of_another_process_waits_for_nothing(study: Study) -> None:
    state = state_of(study)
    for text in (f"{os.getpid()} 1\n", "nonsense\n", "", f"{2**70} 1\n"):
        state.waiting.write_text(text)
        assert not is_waiting(state)


def test_broken_pipelines_are_left_out_and_said(study: Study) -> None:
    study.copier("edges")
    study.copier("more", repo="edges")
    study.copier("apart")
    (study.root / "edges/spec.yml").write_text("input: {}\n")
    targets, left_out = by_itself(Project(study.root))
    assert targets.order == ("apart",)
    assert left_out.keys() == {"edges", "more"} and all("edges/spec.yml" in why for why in left_out.values())


@pytest.mark.slow
def test_saves_during_passes_are_all_processed_by_few_passes(study: Study) -> None:
    study.copier()
    study.schedule()
    hooks.install(Project(study.root))
    before = int(study.git(".", "rev-list", "--count", "HEAD"))
    saves = 20
    for number in range(saves):
        study.put(f"images/{number}", f"{number}")
    expected = {str(number) for number in range(saves)}
    wait_until_quiet(study)
    assert study.outputs("edges").keys() == expected
    passes = state_of(study).passes_log.read_text().count("a pass, asked for by")
    assert 1 <= passes < saves / 2
    assert int(study.git(".", "rev-list", "--count", "HEAD")) - before <= passes
    assert study.plan()["edges"]["counts"]["run"] == 0


_CHANGES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2", ""])), min_size=1, max_size=4
)
_DELIVERIES = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@pytest.mark.slow
def test_next_pass_commits_the_superdataset_if_a_save_is_under_way(study: Study) -> None:
    study.copier()
    study.put("images/a", "a")

    class Saver(Kept):
        """Hears something while the pass runs, as the first commit of `datalad save -r` would."""

        def report(self, event: Event) -> None:
            super().report(event)
            if isinstance(event, PipelineEnded):
                hear(study, "refs/heads/master")

    hear(study, "x")
    first = answer_requests(study.root, Saver())
    assert first is not None and first.pipelines[0].state == "published" and first.commit is None
    second = answer_requests(study.root, Kept())
    assert second is not None and second.commit == study.git(".", "rev-parse", "HEAD")
    assert study.git(".", "rev-parse", "HEAD:edges") == study.git("edges", "rev-parse", "HEAD")


@pytest.mark.slow
def test_what_another_schedule_has_holds_up_no_other_pipeline(study: Study) -> None:
    study.copier("edges")
    study.copier("apart")
    study.put("images/a", "a")
    with register(state_of(study).lock, ["edges"], wait=True, notify=lambda line: None) as claims:
        assert claims.take("edges")
        hear(study, "x")
        found: list[ScheduleReport | None] = []
        waits = threading.Thread(target=lambda: found.append(answer_requests(study.root, Kept())))
        waits.start()
        deadline = time.monotonic() + 120
        while not (study.root / "apart/a").is_symlink():
            assert waits.is_alive() and time.monotonic() < deadline
            time.sleep(0.1)
        waits.join(2)
        assert waits.is_alive()  # for `edges`, since nobody else asks for a pass
        hear(study, "y")
        waits.join(60)
        assert found[0] is not None
        assert {row.name: row.state for row in found[0].pipelines} == {"apart": "published", "edges": "waiting"}
    report = answer_requests(study.root, Kept())
    assert report is not None and "edges: published" in [f"{row.name}: {row.state}" for row in report.pipelines]


@pytest.mark.slow
def test_triggers_dropped_doubled_and_late(tmp_path: Path) -> None:
    check_triggers(tmp_path, [("a", "1"), ("b", "1"), ("a", "")], [0, 2, 0], late=1)


@pytest.mark.soak
@hypothesis.given(changes=_CHANGES, deliveries=_DELIVERIES, late=st.integers(0, 2))
@hypothesis.settings(max_examples=8, deadline=None, phases=[hypothesis.Phase.generate])  # an example takes seconds
def test_triggers_decide_nothing_but_when(
    changes: list[tuple[str, str]],
    deliveries: list[int],
    late: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    check_triggers(tmp_path_factory.mktemp("twins"), changes, deliveries, late=late)


def check_triggers(folder: Path, changes: list[tuple[str, str]], deliveries: list[int], *, late: int) -> None:
    """Drop (0), deliver (1) or double (2) the trigger of each change; the last lines name an old commit.

    The project must have the same trees and keys as one where `schedule` ran once, at the end.
    """
    found = []
    for name in ("triggered", "by-hand"):
        study = Study.create(folder / name)
        study.copier()
        study.put("images/begin", "begin")
        old = study.git("images", "rev-parse", "HEAD")
        for (file, content), times in zip(changes, deliveries, strict=False):
            if content:
                study.put(f"images/{file}", content)
            elif (study.root / "images" / file).is_symlink():
                study.remove(f"images/{file}")
            if name == "triggered" and times:
                hear(study, *["HEAD"] * times)
                answer_requests(study.root, Kept())
        if name == "triggered":
            hear(study, *[f"refs/heads/master {old}"] * (late + 1))
            answer_requests(study.root, Kept())
        else:
            study.schedule()
        found.append(study.outputs("edges"))
    assert found[0] == found[1] and "begin" in found[0]


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["clock a tick is due"], "clock"),
        (["clock a tick is due", "serve: looks"], "clock"),
        (["serve: begins"], "look"),
        (["serve: begins", "github: push a/b refs/heads/main"], "event"),
        (["watch images refs/heads/master", "clock a tick is due"], "watch"),
        (["refs/heads/master 0123 /study", "github: push"], "hook"),
        (["images: somebody else pushed to origin meanwhile"], "event"),
    ],
)
def test_cause_of_a_pass(lines: list[str], cause: str) -> None:
    assert cause_of(lines) == cause


def test_kill_while_lines_are_taken_loses_none(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """The end of the process, as a kill would make it."""

    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    state.heard.write_text("one\n")
    read = passes._read

    def killed(file: Path) -> str:
        if file.name.startswith(state.taken.name) and file.exists():
            raise Killed
        return read(file)

    with monkeypatch.context() as patch:
        patch.setattr(passes, "_read", killed)
        with pytest.raises(Killed):
            answer_requests(study.root, Kept())
    assert state.taken.read_text() == "one\n"  # what the watcher and the receiver look for
    state.heard.write_text("two\n")
    assert answer_requests(study.root, Kept()) is not None
    looked = json.loads(state.looked.read_text())
    assert looked["heard"] == 2 and not state.taken.exists() and not state.heard.exists()
