"""The marks in the log of a set of several datums: whose the lines after them are. No command can make one.

The launcher makes each with a word that is good for this one alone, and that only it has been given (see `WORDS`): who
reads what another process prints learns nothing of use. Before the log the word is taken out, and a line
of a command that looks like a mark gets a space before it. So the log itself, as it is followed, sent
and cut, needs no words to be read, and no record has any.
"""

from __future__ import annotations

import re
import secrets

BEGINS = re.compile(rb"^datum: begins (\d{1,6})\n", re.MULTILINE)  # 0: what follows is no datum's own
WORDS = "words"  # the file in the folder of the report that hands them over; the launcher takes it away
_HEAD = b"datum: begins "
_MARK = re.compile(_HEAD + rb"(?:(\d{1,6}) ([0-9a-f]{16})\n)?")
_LONGEST = len(_HEAD) + 6 + 1 + 16 + 1


def mark(number: int) -> bytes:
    """Return the line after which all is of the datum with this number (from 1; 0: of none, or of all)."""
    return _HEAD + b"%d\n" % number


class Marker:
    """The filter (`support.stream_filter`) between the commands of a set and its log. Good for one try of the set."""

    def __init__(self, count: int) -> None:
        """count: how many datums the set has."""
        self.words = [secrets.token_hex(8) for _ in range(count + 1)]  # in order; the last one for the end
        self._held = b""
        self._at_start = True  # of a line of the log
        self._used = 0  # how many words are
        self._open = False  # whether what comes is a datum's

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Return the pieces that are complete so far; at the end, the rest, which is of no single datum."""
        data = self._held + data
        cut = len(data) if last else _sure(data)
        found: list[bytes] = []
        at = 0
        for head in _MARK.finditer(data, 0, cut):
            self._add(found, data[at : head.start()])
            at = head.start()
            if self._is_true(head):
                self._set(found, int(head[1]))
                at = head.end()
            elif self._at_start:
                self._add(found, b" ")
        self._add(found, data[at:cut])
        self._held = data[cut:]
        if last and self._open:
            self._set(found, 0)
        return b"".join(found)

    def _is_true(self, head: re.Match[bytes]) -> bool:
        """Return whether it is the script's: with the word of its number, after those before it."""
        if head[1] is None:
            return False
        place = int(head[1]) - 1 if int(head[1]) else len(self.words) - 1
        if not self._used <= place < len(self.words) or head[2].decode() != self.words[place]:
            return False
        self._used = place + 1
        return True

    def _add(self, found: list[bytes], text: bytes) -> None:
        if text:
            found.append(text)
            self._at_start = text.endswith(b"\n")

    def _set(self, found: list[bytes], number: int) -> None:
        if not self._at_start:  # the datum before has printed no end of its last line
            found.append(b"\n")
        self._add(found, mark(number))
        self._open = number > 0


def _sure(data: bytes) -> int:
    """Return the end of what is complete: a mark at the very end may be cut."""
    at = data.find(_HEAD[:1], max(0, len(data) - _LONGEST))
    while at >= 0:
        rest = data[at:]
        if _HEAD.startswith(rest) or (rest.startswith(_HEAD) and b"\n" not in rest):
            return at
        at = data.find(_HEAD[:1], at + 1)
    return len(data)
