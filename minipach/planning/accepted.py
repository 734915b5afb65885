"""Changes of code and image that somebody has declared not to count: `.minipach/accepted` on a pipeline's branch.

They are read and applied here. `minipach accept` writes them, in `scheduling.accept`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from minipach.datums.identity import IdentityRecipe
from minipach.git.repo import Repo
from minipach.model.repo_layout import ACCEPTED
from minipach.support.validation import checked, objects_in

Kind = Literal["code", "image"]


@dataclass(frozen=True, slots=True)
class AcceptedChange:
    """One change that does not count: content ids of what is new, and of what it counts as."""

    kind: Kind
    new: str
    old: str
    why: str = ""
    who: str = ""
    when: str = ""

    @property
    def text(self) -> str:
        """Return the change for people."""
        who = ", ".join(word for word in (self.who.partition(" <")[0], self.when[:10]) if word)
        return f"accepted: a change of {self.kind}{f': {self.why}' if self.why else ''}{f' ({who})' if who else ''}"

    def line(self) -> bytes:
        """Return the line of the file."""
        return json.dumps({"schema": 1, **asdict(self)}, ensure_ascii=True).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Accepted:
    """All changes that do not count, by kind and new content id."""

    old: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def counted(self, recipe: IdentityRecipe) -> IdentityRecipe:
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


def changes_in_force(repo: Repo, commit: str, recipe: IdentityRecipe) -> list[AcceptedChange]:
    """Return the changes of a commit by which a recipe counts as another one, the last first."""
    rows: dict[tuple[str, str], AcceptedChange] = {
        (c.kind, c.new): c for c in _changes(repo.objects.read(f"{commit}:{ACCEPTED}") or b"")
    }
    found: list[AcceptedChange] = []
    for kind, now in (("code", recipe.code), ("image", recipe.image)):
        content = now
        while (change := rows.get((kind, content))) is not None and change not in found:
            found.append(change)
            content = change.old
    return found


def _changes(data: bytes) -> Iterable[AcceptedChange]:
    for row in objects_in(data):
        if row.pop("schema", None) != 1:
            continue
        try:
            yield checked(AcceptedChange(**row))
        except (ValueError, TypeError):
            continue
