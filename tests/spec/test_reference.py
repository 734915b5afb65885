"""The reference of spec.yml is written from the models, and the copy in docs is up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minipach.spec.reference import main, reference

PAGE = Path(__file__).parents[2] / "docs" / "spec-reference.md"


def row(field: str) -> str:
    (line,) = (line for line in reference().split("\n") if line.startswith(f"| `{field}` |"))
    return line


def test_a_row_has_type_default_and_meaning() -> None:
    assert row("datum_tries").startswith("| `datum_tries` | whole number | `3` | Number of tries ")
    assert row("glob").startswith("| `glob` | text | required | ")
    assert row("lazy").startswith("| `lazy` | true or false | `false` | ")
    assert row("publish").startswith("| `publish` | `complete` or `available` | `complete` | ")
    assert row("cross").startswith("| `cross` | [`input`](#input) (list) |  | ")


def test_what_has_no_effect_is_marked() -> None:
    assert "**Not built yet**" in row("user")
    assert "**Not supported**" in row("sql_database")
    assert "**No effect**" in row("autoscaling")


def test_every_link_has_its_heading() -> None:
    headings = [line[3:].lower() for line in reference().split("\n") if line.startswith("## ")]
    anchors = {"".join(c for c in line if c.isalnum() or c in " -_").replace(" ", "-") for line in headings}
    links = {part.split(")")[0] for part in reference().split("](#")[1:]}
    assert links <= anchors


def test_the_page_in_docs_is_up_to_date() -> None:
    assert main(["--check", str(PAGE)]) == 0


def test_an_old_page_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("old\n")
    assert main(["--check", str(page)]) == 1
    assert f"{page}: not what the models say; run" in capsys.readouterr().err
    assert main([]) == 0
    page.write_text(capsys.readouterr().out)
    assert main(["--check", str(page)]) == 0


def test_the_pages_that_it_names_exist() -> None:
    pages = re.findall(r"docs/([\w-]+\.md)", reference())
    assert "howto-trying.md" in pages
    assert [page for page in pages if not (PAGE.parent / page).is_file()] == []
