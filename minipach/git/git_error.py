"""The error of a failed git command, and the line in which git says why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

NO_REPOSITORY = "fatal: not a git repository"  # what git says where there is none, with exit code 128
_REJECTED = re.compile(r"^ ?! \[[^\]]*\] +\S+ -> \S+ \((.+)\)$")  # the line of a push for a ref that stays


def reason_in(text: str) -> str:
    """Return the line of an error text in which git, ssh or a server says why; "" if there is none.

    That is seldom the last one: after a refused push git says that it failed, after ssh that nothing could be read.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    remarks = [line.removeprefix("remote: ").strip() for line in lines if line.startswith("remote: ")]
    for line in lines:
        if found := _REJECTED.match(line):
            return f"{found[1]}: {remarks[0]}" if remarks and "hook" in found[1] else found[1]
    for start in ("fatal: ", "error: "):
        for before, line in zip(["", *lines], lines, strict=False):
            if line.startswith(start):
                is_of_ssh = line.startswith("fatal: Could not read from remote") and before
                return (before if is_of_ssh else line.removeprefix(start)).removeprefix("remote: ").strip()
    return lines[-1].strip() if lines else ""


class GitError(Exception):
    """A git command failed: its arguments and what it printed."""

    def __init__(self, repo: Path, args: Sequence[str], code: int, stderr: str, stdout: bytes = b"") -> None:
        self.repo, self.code, self.stderr, self.stdout = repo, code, stderr.strip(), stdout
        super().__init__(f"{repo}: git {' '.join(args[:4])} failed ({code}): {self.stderr}")

    @property
    def reason(self) -> str:
        """The line in which git says why it failed; else its exit code. It may have an address with credentials."""
        return reason_in(self.stderr) or f"exit code {self.code}"
