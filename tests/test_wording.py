"""Numbers with their nouns."""

from __future__ import annotations

from minipach.wording import many


def test_one_is_not_many() -> None:
    assert [many(n, "datum") for n in (0, 1, 2, 1000)] == ["0 datums", "1 datum", "2 datums", "1000 datums"]
    assert [many(n, "try", "tries") for n in (1, 2)] == ["1 try", "2 tries"]
    assert [many(n, "CPU") for n in (0.5, 1.0, 8.0)] == ["0.5 CPUs", "1 CPU", "8 CPUs"]
