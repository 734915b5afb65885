"""Which contents are in a clone, and what git-annex's log says of that: a kill between the two leaves them apart."""

from __future__ import annotations

import json
from collections.abc import Collection

from minipach.git.repo import Repo, annex


def note_presence(repo: Repo, keys: Collection[str]) -> None:
    """Have git-annex's log say which of some contents are in this clone.

    git-annex removes a content before it notes that, and never notes it later. Others would count a copy that is gone.
    """
    if not keys:
        return
    asked = sorted(keys)
    identity = repo.config("annex.uuid")
    stdin = "".join(f"{key}\n" for key in asked).encode()
    found = annex(repo, "contentlocation", "--batch", stdin=stdin, ok=(0, 1)).split(b"\n")
    here = {key for key, place in zip(asked, found, strict=False) if place}
    rows = map(json.loads, annex(repo, "whereis", "--json", "--batch-keys", stdin=stdin, ok=(0, 1)).splitlines())
    logged = {row["key"] for row in rows if any(place["uuid"] == identity for place in row.get("whereis", ()))}
    changed = "".join(f"{key} {identity} {int(key in here)}\n" for key in sorted(here ^ logged))
    if changed:
        annex(repo, "setpresentkey", "--batch", stdin=changed.encode())
