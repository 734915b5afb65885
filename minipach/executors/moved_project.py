"""Whether a folder that an executor knows a project by is another project's by now, or was left."""

from __future__ import annotations

import os
from pathlib import Path


def another_is(there: Path, here: Path) -> bool:
    """Return whether another repository is `there` than the one that is `here`.

    So it is, too, where we may not look.
    """
    try:
        return (there / ".git").exists() and not os.path.samefile(there, here)
    except PermissionError:
        return True
