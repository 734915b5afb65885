"""Sizes as people write them: `32G`, `512Mi`."""

from __future__ import annotations

import re

from minipach.support.errors import Problem, UserError

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY = {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}


def parse_size(text: str) -> int:
    """Return bytes from `32G`, `512Mi`; UserError."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if match is None:
        raise UserError(Problem("option.not-a-size", text, "not a size", "use 32G or 512Mi"))
    unit = _BINARY[match[2] + "i"] if match[2] and match[3] else _UNITS[match[2]]
    return int(float(match[1]) * unit)
