"""Changes of code and image that somebody has declared not to count: `.minipach/accepted` on a pipeline's branch.

They are read and applied here. `minipach accept` writes them, in `scheduling.accept`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from minipach.datums.identity import Recipe
from minipach.git.repo import Repo
from minipach.model.repo_layout import ACCEPTED
from minipach.support.validation import checked, objects_in

Kind = Literal["code", "image"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change that does not count: content ids of what is new, and of what it counts as."""

    kind: Kind
    new: str
    old: str
    why: str = ""
    who: str = ""
    when: str = ""

    def line(self) -> bytes:
        """Return the line of the file."""
        return json.dumps({"schema": 1, **asdict(self)}, ensure_ascii=True).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Accepted:
    """All changes that do not count, by kind and new content id."""

    old: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def counted(self, recipe: Recipe) -> Recipe:
        """Return a recipe as identity counts it."""
        if not self.old:
            return recipe
        return replace(recipe, code=self.first("code", recipe.code), image=self.first("image", recipe.image))

    def first(self, kind: Kind, content: str) -> str:
        """Return what a content id counts as, after all changes. A circle of changes ends where it began."""
        seen = {content}
        while (before := self.old.get((kind, content))) is not None and before not in seen:
            seen.add(before)
            content = before
        return content


def read_accepted(repo: Repo, commit: str) -> Accepted:
    """Return the changes that a commit has on record; a line that nobody of ours wrote does not count."""
    data = repo.objects.read(f"{commit}:{ACCEPTED}")
    return Accepted({(c.kind, c.new): c.old for c in _changes(data)}) if data else Accepted()


def _changes(data: bytes) -> Iterable[Change]:
    for row in objects_in(data):
        if row.pop("schema", None) != 1:
            continue
        try:
            yield checked(Change(**row))
        except (ValueError, TypeError):
            continue
