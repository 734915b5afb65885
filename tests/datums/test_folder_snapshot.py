"""Code in a folder that is no dataset yet."""

from __future__ import annotations

import os
from pathlib import Path

from minipach.datums.snapshot import loose_files

KEY = "SHA256E-s4--88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589.bin"


def test_files_links_and_annexed_files_without_their_content(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "run.sh").write_text("echo\n")
    (tmp_path / "run.sh").chmod(0o755)
    os.symlink("run.sh", tmp_path / "sub/link")
    os.symlink("sub", tmp_path / "folder")
    os.symlink(f"../.git/annex/objects/aa/bb/{KEY}/{KEY}", tmp_path / "locked.bin")
    (tmp_path / "unlocked.bin").write_text(f"/annex/objects/{KEY}\n")

    found = loose_files(tmp_path)

    assert sorted(found) == ["folder", "locked.bin", "run.sh", "sub/link", "unlocked.bin"]
    script = found["run.sh"]
    assert (script.content, script.executable) == ("git:fa11a6a9c54797a8f68963af8ffc4d92bbffc660", True)
    assert found["folder"].kind == found["sub/link"].kind == "link"
    annexed = {found["locked.bin"].content, found["unlocked.bin"].content}
    assert annexed == {"SHA256--88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"}
