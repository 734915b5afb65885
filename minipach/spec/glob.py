"""Pachyderm globs: compiled to a regular expression over absolute paths; errors know their column."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_DEEPEST = 50  # nested brackets; more is a slip or an attack, and would exhaust the stack
_LAST = 0x10FFFF

# POSIX classes, ASCII as in Go's regular expressions: pairs of first and last character
_POSIX = {
    "alnum": ("09", "AZ", "az"),
    "alpha": ("AZ", "az"),
    "ascii": ("\x00\x7f",),
    "blank": ("\t\t", "  "),
    "cntrl": ("\x00\x1f", "\x7f\x7f"),
    "digit": ("09",),
    "graph": ("!~",),
    "lower": ("az",),
    "print": (" ~",),
    "punct": ("!/", ":@", "[`", "{~"),
    "space": ("\t\r", "  "),
    "upper": ("AZ",),
    "word": ("09", "AZ", "__", "az"),
    "xdigit": ("09", "AF", "af"),
}
# what stands around a parenthesis' alternatives; all but `!` can't match a slash that isn't written in them
_OPEN = {"@": "(", "*": "((?:", "+": "((?:", "?": "((?:", "!": "((?:(?!(?:"}
_CLOSE = {"@": ")", "*": ")*)", "+": ")+)", "?": ")?)", "!": "))[^/]*))"}

_Ranges = list[tuple[int, int]]


class GlobError(ValueError):
    """A glob that can't be compiled: `column` (from 0, in the pattern as written), `message` and `fix`."""

    def __init__(self, column: int, message: str, fix: str) -> None:
        super().__init__(f"column {column + 1}: {message}")
        self.column = column
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled glob.

    groups: the number of captures · depth: the number of path parts of all that it can match ("/" has none),
    None if that varies · prefix: every match is this path or lies below it; "" or "/a/b".
    """

    pattern: str
    regex: re.Pattern[str]
    groups: int
    depth: int | None
    prefix: str

    def match(self, path: str) -> tuple[str, ...] | None:
        """Return the captures if the whole of an absolute path matches, else None; one that took no part is "".

        The root is matched by the glob "/" alone, never by a `*` that stands for nothing.
        Alternatives that overlap within a repetition (`*(a|*(a))b`) can take exponential time, as in any
        backtracking matcher.
        """
        if path == "/":
            return () if self.depth == 0 else None
        found = self.regex.fullmatch(path)
        return None if found is None else found.groups("")


@lru_cache(maxsize=512)
def compile_glob(pattern: str) -> Glob:
    """Compile a glob (docs/spec-reference.md); a GlobError says what is wrong, and at which column.

    A leading slash is supplied, a trailing one dropped, an empty glob is "/". The rest is cleaned as a path, as
    Pachyderm does it: `./a`, `/a//b` and `/a/../b` are `/a`, `/a/b` and `/b`.
    """
    text, columns = _cleaned(pattern)
    parser = _Parser(text)
    try:
        depth = parser.parse()
    except GlobError as error:
        raise GlobError(columns[error.column], error.message, error.fix) from None
    regex = "".join(parser.out)
    head = "".join(parser.head)
    return Glob(
        pattern=pattern,
        regex=re.compile(regex, re.DOTALL),
        groups=parser.groups,
        depth=0 if regex == "/" else depth,
        prefix=head.rstrip("/") if parser.plain else head.rpartition("/")[0],
    )


def _cleaned(pattern: str) -> tuple[str, list[int]]:
    """Return the pattern without its empty, `.` and `..` parts, and the column in `pattern` of each character."""
    parts: list[tuple[str, int]] = []
    begin = 0
    for part in pattern.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append((part, begin))
        begin += len(part) + 1
    if pattern.endswith("/") and parts and _escapes(parts[-1][0]):
        parts.append(("", len(pattern)))  # the last slash is escaped, and no end of a path
    text = "".join(f"/{part}" for part, _ in parts)
    return text, [at for part, start in parts for at in (max(start - 1, 0), *range(start, start + len(part)))]


def _escapes(part: str) -> bool:
    """Return whether what follows this text is escaped by its last backslash."""
    return (len(part) - len(part.rstrip("\\"))) % 2 == 1


class _Parser:
    """One pass over the pattern, from left to right, that writes the regular expression as it goes.

    Its methods return how many slashes what they parsed matches, None if that varies.
    """

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.stop = len(pattern)
        self.out: list[str] = []
        self.groups = 0
        self.nesting = 0
        self.head: list[str] = []
        self.plain = True  # so far the pattern is literal text, kept in `head`
        # Where in `out` each alternative of a negation ends. Pachyderm anchors them all to the path's end,
        # unless text, `*` or `**` comes after the negation that closed first: `!(foo)` matches foobar,
        # `!(foo)*` doesn't.
        self.ends: list[int] = []
        self.negated = False  # a negation has closed
        self.bounded = False  # and something that bounds it came after

    def parse(self) -> int | None:
        slashes: int | None = 0
        if self.stop == 0 or self.text[0] != "/":
            slashes = self.literal("/")
        slashes = _add(slashes, self.sequence(""))
        if not self.bounded:
            for end in self.ends:
                self.out[end] = r"\Z"
        return slashes

    def peek(self, ahead: int = 0) -> str:
        """Return the character at the position or `ahead` of it, "" beyond the end."""
        where = self.at + ahead
        return self.text[where] if where < self.stop else ""

    def sequence(self, closers: str) -> int | None:
        slashes: int | None = 0
        while self.at < self.stop and self.text[self.at] not in closers:
            slashes = _add(slashes, self.item())
        return slashes

    def item(self) -> int | None:
        char = self.peek()
        if char in ")}":
            raise GlobError(self.at, f"this {char} closes nothing", f"write \\{char} for the character itself")
        if char == "*":
            return self.stars()
        if char == "(":
            return self.capture("@")
        if char in "?+@!" and self.peek(1) == "(":
            self.at += 1
            return self.capture(char)
        if char == "?":
            self.at += 1
            return self.wild("[^/]", 0)
        if char == "[":
            return self.char_class()
        if char == "{":
            return self.braces()
        char = self.char()
        return self.literal(char)

    def char(self) -> str:
        """Return the next character, or the one that a backslash stands before."""
        if self.peek() == "\\":
            if not self.peek(1):
                raise GlobError(self.at, "nothing follows the \\", "write \\\\ for the character itself")
            self.at += 1
        char = self.peek()
        self.at += 1
        return char

    def literal(self, char: str) -> int:
        self.out.append(re.escape(char))
        self.bounded = self.negated
        if self.plain:
            self.head.append(char)
        return int(char == "/")

    def wild(self, regex: str, slashes: int | None) -> int | None:
        self.plain = False
        self.out.append(regex)
        return slashes

    def stars(self) -> int | None:
        count = 0
        while self.peek() == "*":
            count += 1
            self.at += 1
        quantifier = self.peek() == "("
        count -= quantifier  # the star next to a parenthesis is its quantifier
        slashes: int | None = 0
        if count:
            self.bounded = self.negated
            # more stars than two match nothing more, and each would multiply the ways to try
            slashes = self.wild("[^/]*", 0) if count == 1 else self.wild(".*", None)
        return _add(slashes, self.capture("*")) if quantifier else slashes

    def capture(self, kind: str) -> int | None:
        self.groups += 1
        self.wild(_OPEN[kind], 0)
        slashes = self.choices("|", ")", negation=kind == "!")
        self.negated = self.negated or kind == "!"
        self.out.append(_CLOSE[kind])
        if kind == "@":
            return slashes
        return 0 if kind == "!" or slashes == 0 else None

    def braces(self) -> int | None:
        if self.peek(1) == "}":
            raise GlobError(self.at, "nothing between { and }", "write \\{\\} for the characters themselves")
        self.wild("(?:", 0)
        slashes = self.choices(",", "}")
        self.out.append(")")
        return slashes

    def choices(self, separator: str, closer: str, negation: bool = False) -> int | None:
        """Return alternatives from an opening bracket (at the position) to its closing one."""
        opened = self.at
        self.nesting += 1
        if self.nesting > _DEEPEST:
            raise GlobError(opened, f"brackets nested more than {_DEEPEST} deep", "write it as several inputs")
        found: set[int | None] = set()
        while True:
            self.at += 1
            found.add(self.sequence(separator + closer))
            if negation:
                self.ends.append(len(self.out))
                self.out.append("")
            if self.at >= self.stop:
                bracket = self.text[opened]
                raise GlobError(opened, f"{bracket} is never closed", f"add {closer}, or write \\{bracket}")
            if self.peek() == closer:
                break
            self.out.append("|")
        self.at += 1
        self.nesting -= 1
        return found.pop() if len(found) == 1 else None

    def char_class(self) -> int | None:
        opened = self.at
        self.at += 1
        negated = self.peek() in ("!", "^")
        self.at += negated
        ranges: _Ranges = []
        while self.peek() != "]":
            if self.at >= self.stop:
                raise GlobError(opened, "[ is never closed", "add ], or write \\[ for the character itself")
            ranges += self.posix() if self.peek() == "[" and self.peek(1) == ":" else self.range()
        if not ranges:
            raise GlobError(opened, "nothing between [ and ]", "write \\] for a ] in a class")
        self.at += 1
        body = "".join(f"{_escape(low)}-{_escape(high)}" for low, high in ranges)
        slash = any(low <= ord("/") <= high for low, high in ranges) != negated
        return self.wild(f"[{'^' if negated else ''}{body}]", None if slash else 0)

    def posix(self) -> _Ranges:
        close = self.text.find(":]", self.at + 2, self.stop)
        name = self.text[self.at + 2 : close] if close >= 0 else ""
        inverse = name.startswith("^")
        pairs = _POSIX.get(name.removeprefix("^"))
        if pairs is None:
            known = " ".join(_POSIX)
            raise GlobError(self.at, "no such class", f"use one of {known}, or \\[ for the character itself")
        self.at = close + 2
        ranges = [(ord(pair[0]), ord(pair[1])) for pair in pairs]
        return _complement(ranges) if inverse else ranges

    def range(self) -> _Ranges:
        start = self.at
        low = self.char()
        if self.peek() != "-" or self.peek(1) in ("]", ""):
            return [(ord(low), ord(low))]
        self.at += 1
        high = self.char()
        if high < low:
            raise GlobError(start, f"the range {low}-{high} is empty", f"write {high}-{low}")
        return [(ord(low), ord(high))]


def _add(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _escape(code: int) -> str:
    return re.escape(chr(code))


def _complement(ranges: Iterable[tuple[int, int]]) -> _Ranges:
    found: _Ranges = []
    start = 0
    for low, high in sorted(ranges):
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    return [*found, (start, _LAST)]
