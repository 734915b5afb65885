"""File systems that report no change of other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.support.mounts import silent_file_system

_MOUNTS = rb"""22 1 0:21 / / rw,relatime - ext4 /dev/vda rw
30 22 0:30 / /data rw - nfs4 server:/data rw,vers=4.2
31 22 0:31 / /data/local rw shared:1 master:2 - xfs /dev/vdb rw
32 22 0:32 / /a\040b rw - fuse.sshfs me@there:/ rw
33 22 0:33 / /twice rw - lustre x rw
34 22 0:34 / /twice rw - tmpfs x rw
35 22 0:35 / /share rw - cifs //x/y rw
not a line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/x/y", "nfs4"),
        ("/data", "nfs4"),
        ("/database", None),
        ("/data/local/z", None),
        ("/a b/c", "fuse.sshfs"),
        ("/twice/x", None),
        ("/share/x", "cifs"),
        ("/home", None),
    ],
)
def test_kind_of_the_innermost_mount(path: str, kind: str | None) -> None:
    assert silent_file_system(Path(path), _MOUNTS) == kind


def test_this_machine(tmp_path: Path) -> None:
    assert silent_file_system(tmp_path) is None or "fuse" in str(silent_file_system(tmp_path))
    assert silent_file_system(tmp_path, b"") is None
