"""One line of `minipach triggers`. Each kind of trigger returns its own lines; `overview.SOURCES` has the functions."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class TriggerRow:
    """A trigger that is no hook, as people see it.

    Args:
        kind: The kind, one word: `watcher`, `cron`, `bucket`.
        name: The name in its kind, such as a pipeline or a repo; or "".
        state: One or two words: `runs`, `off`, `due`, `deferred`.
        heard: When it heard something last (UTC, ISO 8601); None: never, or unknown.
        looked: When it looked last; None: never, or unknown.
        following: What comes next.
        why: Why nothing was done, with the fix; or "".
    """

    kind: str
    name: str
    state: str
    heard: str | None = None
    looked: str | None = None
    following: str = ""
    why: str = ""

    def as_json(self) -> dict[str, str | None]:
        """Return it as documented for `minipach triggers --json`."""
        found = asdict(self)
        found["next"] = found.pop("following")
        return found
