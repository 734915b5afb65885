"""Something that is looked up in a thread of its own, which nobody has to wait for who no longer wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """A function's result, computed in a thread. An interrupt meanwhile waits for nothing."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._values.append(self._function())
        except BaseException as error:
            self._error = error

    @property
    def is_done(self) -> bool:
        """Whether the function has returned, or has raised something."""
        return not self._thread.is_alive()

    def result(self) -> T:
        """Wait for it; raises what the function raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._values[0]
