"""Addresses: names of any bytes survive, and odd queries are values or nothing."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from minipach.console.addresses import address, values_of


@given(st.binary(min_size=1, max_size=40))
def test_names_of_any_bytes_survive(name: bytes) -> None:
    text = os.fsdecode(name)
    found = address("/c/t", "datum", name=text, empty="", none=None)
    assert found.isascii() and found.startswith("/c/t/datum?name=") and "/../" not in found
    assert values_of(found.partition("?")[2].encode()) == {"name": text}


@given(st.binary(max_size=60))
def test_any_query_has_values(query: bytes) -> None:
    assert isinstance(values_of(query), dict)


def test_long_queries_have_none() -> None:
    assert values_of(b"a=1&" * 200) == {} and values_of(b"a" * 100_000) == {}
