"""The link of a console: for its owner alone, and there as long as the console runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import httpx

from minipach.console.link import forget, keep, running
from minipach.model.local_state import LocalState
from tests.fixtures.consoles import shown
from tests.fixtures.projects import Study
from tests.fixtures.receivers import serving


def test_a_console_is_found_by_its_note_and_forgotten(study: Study, tmp_path: Path) -> None:
    with shown(study, tmp_path / "log") as console:
        note = LocalState.in_root(study.root).console
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert study.minipach("ui", "--json").json["link"] == console.link
        assert study.minipach("ui", "--no-open").out.strip() == console.link
        assert study.minipach("ui", "--no-open", "--actions").code == 2
        # a stream without end does not keep the server from its end
        with httpx.stream("GET", f"{console.link}events", timeout=60) as events:
            assert next(events.iter_lines()).startswith("id: ")
            assert console.stop() == 0
        assert not note.exists()
    assert study.minipach("ui", "--json").json["link"] is None


def test_notes_that_are_damaged_or_old_count_as_none(tmp_path: Path) -> None:
    local = LocalState(tmp_path)
    for text in ("", "[]", "{}", '{"pid": "x", "link": 1}', '{"pid": 999999999, "link": "http://x/"}'):
        local.console.write_text(text)
        assert running(local) is None, text
    keep(local, "http://127.0.0.1:1/c/t/")
    assert running(local) == "http://127.0.0.1:1/c/t/" and os.getpid() > 0
    copy = LocalState(tmp_path / "copy")
    copy.folder.mkdir()
    copy.console.write_bytes(local.console.read_bytes())
    assert running(copy) is None
    forget(local, "http://another/")
    assert local.console.exists()
    forget(local, "http://127.0.0.1:1/c/t/")
    assert not local.console.exists()


def test_serve_has_the_console_where_only_this_machine_can_reach_it(study: Study, tmp_path: Path) -> None:
    with serving(study, tmp_path / "log") as server:
        link = study.minipach("ui", "--json").json["link"]
        assert link.startswith(f"{server.url}/c/") and f"console: {link}" in server.log.read_text()
        assert httpx.get(f"{link}index.json", timeout=60).json()["project"] == "study"
        assert httpx.get(f"{server.url}/c/wrong/", timeout=60).status_code == 404
        assert server.stop() == 0


def test_serve_has_no_console_for_other_machines(study: Study, tmp_path: Path) -> None:
    with serving(study, tmp_path / "log", "--host", "0.0.0.0") as server:
        assert study.minipach("ui", "--json").json["link"] is None
        assert httpx.get(f"http://127.0.0.1:{server.port}/c/x/", timeout=60).status_code == 404
        assert "console:" not in server.log.read_text()
