"""Whether a repository keeps objects and refs in the plain way, which minipach writes without a process of git."""

from __future__ import annotations

import os
from collections.abc import Mapping

# other formats, modes of files, and ways to flush them
_OTHER_WAYS = (
    "extensions.objectformat",
    "extensions.refstorage",
    "extensions.partialclone",
    "core.sharedrepository",
    "core.fsync",
    "core.fsyncmethod",
    "core.fsyncobjectfiles",
)


def is_plain(settings: Mapping[str, str]) -> bool:
    """Return whether no setting of a repository asks for another way of storing objects and refs."""
    return not any(name in settings for name in _OTHER_WAYS)


def runs_hook(folder: str | os.PathLike[str], settings: Mapping[str, str], name: str) -> bool:
    """Return whether git may run a hook of this name. folder: the `.git` of the repository.

    Hooks are files in one folder. Later versions of git also take them from settings.
    """
    hooks = settings.get("core.hookspath", f"{os.fspath(folder)}/hooks")
    if any(key.startswith("hook.") for key in settings):
        return True
    return hooks != os.devnull and (not os.path.isabs(hooks) or os.path.lexists(f"{hooks}/{name}"))
