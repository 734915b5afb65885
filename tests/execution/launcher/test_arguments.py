"""The launcher's arguments, and the commands that it makes of them."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from minipach.execution.launcher.arguments import filled, is_identifier

_PIECES = st.sampled_from(["{", "}", "a", "b", "2", "$", "]", ")", "\\", "\n", "x", "é"])


def by_expression(word: str, table: dict[str, str]) -> str:
    """Fill a word in by regular expressions, as the launcher did once."""

    def value(found: re.Match[str]) -> str:
        before, after = word[: found.start()], word[found.end() :]
        is_own = before.endswith("$") or (before.endswith("{") and after.startswith("}"))
        is_own = is_own or (found[1].isdigit() and re.search(r"[])]$|\\.$", before) is not None)
        return found[0] if is_own else table.get(found[1], found[0])

    return re.sub(r"\{([^{}]*)\}", value, word)


@given(st.lists(_PIECES, max_size=12).map("".join))
@example("{a}{{a}}${a}[0-9]{2}(ab){2}\\d{2}{b}")
@example("]\n{2}\\\n{2}\\x\n{2}")
def test_placeholders_are_filled_in_as_before(word: str) -> None:
    table = {"a": "{b}", "b": "B", "2": "two", "": "none"}
    assert filled(word, table) == by_expression(word, table)


@given(st.text(max_size=6))
@example("A_1")
@example("1A")
@example("é")
def test_names_of_variables_are_those_of_a_shell(text: str) -> None:
    assert is_identifier(text) == bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text))
