"""Names that say that a file is not complete, among the changed paths of a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.project.unfinished_uploads import unfinished_in


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (["a.raw"], None),
        (["a.raw", "b.raw.part"], "b.raw.part"),
        (["sub/c.raw"], "sub/c.raw"),  # which has a neighbour c.raw.crdownload
        (["sub/"], "sub/c.raw"),
        (["new/"], "new/deep/d.TMP"),
        (["gone.part", "gone/e.part"], None),  # removed files
    ],
)
def test_unfinished_uploads(tmp_path: Path, changed: list[str], found: str | None) -> None:
    for name in ("a.raw", "b.raw.part", "sub/c.raw", "sub/c.raw.crdownload", "new/deep/d.TMP", "new/whole.raw"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert unfinished_in(tmp_path, changed) == found
