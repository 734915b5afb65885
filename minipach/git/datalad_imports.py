"""Imports of single DataLad commands, which take a third of the time of `import datalad.api`.

boto3, the client of S3, and the modules of DataLad's other commands are imported when something uses them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def datalad_create() -> Callable[..., Any]:
    """Import `datalad create`, and return it."""
    _import_others_later()
    from datalad.core.local.create import Create
    from datalad.support.entrypoints import load_extensions

    load_extensions()
    create: Callable[..., Any] = Create.__call__
    return create


def import_containers_run() -> None:
    """Import `datalad containers-run`."""
    _import_others_later()
    import datalad_container.containers_run  # noqa: F401
    from datalad.support.entrypoints import load_extensions

    load_extensions()  # those of the user's configuration, as datalad.coreapi would


def _import_others_later() -> None:
    _import_later("boto3")
    _import_later("datalad.coreapi", subdatasets=_subdatasets)


def _subdatasets() -> Any:
    return importlib.import_module("datalad.local.subdatasets").Subdatasets.__call__


def _import_later(module: str, **quick: Callable[[], Any]) -> None:
    """Import a module when something uses it.

    quick: names in it, and how to get what they stand for without the module.
    """
    if module in sys.modules:
        return
    sys.modules[module] = stand_in = ModuleType(module)

    def load(name: str) -> Any:
        if name in quick:
            return quick[name]()
        if quick and name == "__path__":  # asked of each module that something is imported from
            raise AttributeError(name)
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]
        real = importlib.import_module(module)
        vars(stand_in).update(vars(real))  # for those who have it already, and for `import *`
        return getattr(real, name)

    stand_in.__getattr__ = load  # type: ignore[method-assign]
