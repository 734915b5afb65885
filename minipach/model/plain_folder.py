"""A plain folder of a dataset as an input: which files are part of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from minipach.model.repo_layout import reserved_in_data


@dataclass(frozen=True, slots=True)
class PlainFolder:
    """A plain folder of a dataset as an input: the files that the dataset itself has there.

    Subdatasets and pipelines below are no part of it, nor are housekeeping names at its top.

    holder: the dataset ("" is the superdataset) · path: in the dataset, "" for all of it · pipelines: the paths of
    pipelines below it, from there.
    """

    holder: str
    path: str
    pipelines: frozenset[str] = frozenset()

    @property
    def prefix(self) -> str:
        """The beginning of the paths of its files in the dataset."""
        return f"{self.path}/" if self.path else ""

    def has(self, path: str) -> bool:
        """Return whether a file or folder, by its path from the folder, is part of it."""
        if reserved_in_data(path.split("/", 1)[0]):
            return False
        if not self.pipelines:
            return True
        parts = path.split("/")
        return self.pipelines.isdisjoint("/".join(parts[:n]) for n in range(1, len(parts) + 1))
