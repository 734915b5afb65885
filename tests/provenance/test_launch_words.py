"""The command of a run record, read back."""

from __future__ import annotations

import shlex

import pytest

from minipach.provenance.launch_words import read_launch

HEAD = "sh .minipach/launch IMAGE -P edges -N -e A=b=c -i 'cat {x}' -s TOKEN=SECRET_1"


def record(*words: str, head: str = HEAD) -> dict[str, str]:
    """A record's command; datalad doubles braces."""
    return {"cmd": f"{head} {shlex.join(words)}".replace("{", "{{").replace("}", "}}")}


def test_options_and_placeholders_are_read() -> None:
    words = ["-d", "a.png", "", "-v", "images=/pfs/images/a.png", "-r", "images.stem", "a", "-f", "images", "inputs/i"]
    found = read_launch(
        record(*words, "/a.png", "--", "run", "{images}", "{out}/{images.stem}", "${x}", "{y}"), "a.png"
    )
    assert found is not None
    assert found.image == "IMAGE" and not found.network
    assert found.command == ["run", "/pfs/images/a.png", "/pfs/out/a", "${x}", "{y}"]
    assert found.stdin == ["cat {x}"]
    assert found.variables == [("A", "b=c"), ("images", "/pfs/images/a.png")]
    assert found.secrets == ["TOKEN"]
    assert found.matches == [("images", "inputs/i", "/a.png", False)]


def test_the_datum_of_a_set_is_picked() -> None:
    both = ["-d", "a", "", "-f", "i", "inputs/i", "/a", "-d", "b", "", "-z", "i", "inputs/i", "/b", "--", "run", "{i}"]
    found = read_launch(record(*both), "b")
    assert found is not None
    assert found.matches == [("i", "inputs/i", "/b", True)]
    assert found.command == ["run", "/pfs/i/b"]


def test_names_that_the_command_does_not_see_stay_hidden() -> None:
    words = ["-d", "sub-1.png", "", "-n", "datum", "sub-1", "-f", "i", "inputs/i", "/sub-1.png", "--", "run", "{i}"]
    found = read_launch(record(*words), "sub-1.png")
    assert found is not None
    assert found.command == ["run", "/pfs/i/datum.png"]


@pytest.mark.parametrize(
    "cmd",
    [
        "sh .minipach/launch",
        "sh .minipach/launch IMAGE -d",
        "sh .minipach/launch IMAGE --evil x -- rm",
        "sh .minipach/launch 'IMAGE",
        "rm -rf /",
        "",
        None,
        7,
        ["sh"],
    ],
)
def test_what_is_no_command_of_the_launcher_is_none(cmd: object) -> None:
    assert read_launch({"cmd": cmd}, "a") is None
