"""`minipach.git.presence`: git-annex's log says which contents are here."""

from __future__ import annotations

from pathlib import Path

from minipach.git.presence import note_presence
from tests.fixtures.repos import Files


def logged(files: Files) -> set[str]:
    identity = str(files.config("annex.uuid"))
    names = files.line("annex", "find", "--anything").splitlines()
    return {name for name in names if identity in files.git("annex", "whereis", name, ok=(0, 1)).decode()}


def test_what_is_gone_and_what_is_there_after_all(tmp_path: Path) -> None:
    files = Files.create(tmp_path / "repo", annex=True)
    for name in ("a", "b", "c"):
        files.put(name, f"content of {name}")
    files.commit()
    keys = {name: files.line("annex", "lookupkey", name) for name in "abc"}
    gone = files.path / files.line("annex", "contentlocation", keys["a"])
    gone.parent.chmod(0o755)
    gone.unlink()
    files.git("annex", "setpresentkey", keys["b"], str(files.config("annex.uuid")), "0")
    assert logged(files) == {"a", "c"}
    note_presence(files, keys.values())
    assert logged(files) == {"b", "c"}
    note_presence(files, ())
    assert logged(files) == {"b", "c"}
