"""The settings that DataLad looks up in a slot: known without the two processes that it starts for them.

A slot is a linked working tree: its settings are those of its repository, which minipach has read already, and those
of the committed file `.datalad/config`. What is not plain there is git's to read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minipach.git import config_text
from minipach.git.config_cache import listed_file, listing
from minipach.git.git_error import GitError
from minipach.git.repo import Repo

_LIST = ["-z", "-l", "--show-origin"]
_COMMITTED = ".datalad/config"


@contextmanager
def known_settings(main: Repo, root: Path) -> Iterator[None]:
    """Within this, datalad gets the settings of a slot without a process, where they are plain.

    main: the repository of the slot · root: the slot.
    """
    from datalad import config

    reload = config.ConfigManager._reload

    def quick_reload(manager: Any, arguments: Sequence[str]) -> Any:
        listed = _listed(main, root, arguments) if manager._repo_pathobj == root else None
        if listed is None:
            return reload(manager, arguments)
        values, files = config.parse_gitconfig_dump(listed, cwd=manager._runner.cwd)
        store = {"cfg": values, "files": files}
        return store | {"stats": manager._get_stats(store)}

    config.ConfigManager._reload = quick_reload
    try:
        yield
    finally:
        config.ConfigManager._reload = reload


def _listed(main: Repo, root: Path, arguments: Sequence[str]) -> str | None:
    """Return what git prints for these arguments of `git config` in a slot; None: it must be asked."""
    committed = str(root / _COMMITTED)
    try:
        if list(arguments) == [*_LIST, "--file", committed]:
            found = listed_file(committed, config_text.pairs(Path(committed).read_bytes()))
        elif list(arguments) == _LIST:
            Repo(main.path, own=True).settings()  # known afterwards, whoever asked first
            found = listing(main.path, os.environ) or b""
        else:
            return None
    except (OSError, GitError, config_text.NotPlainConfigError):
        return None
    try:
        return found.decode() or None
    except UnicodeDecodeError:
        return None
