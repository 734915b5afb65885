"""`minipach.templates.make_settings`: the shell and the exported variables of a Makefile."""

from __future__ import annotations

import pytest

from minipach.templates.make_settings import make_settings


@pytest.mark.parametrize(
    ("text", "shell"),
    [
        ("", ()),
        ("SHELL = /bin/sh\n.SHELLFLAGS = -c", ()),
        ("SHELL := /bin/bash", ("/bin/bash", "-c")),
        ("SHELL := bash\n.SHELLFLAGS = -eu -o pipefail -c", ("bash", "-eu", "-o", "pipefail", "-c")),
        (".POSIX:", ("/bin/sh", "-ec")),
        ("SHELL = bash; touch owned", ()),
    ],
)
def test_the_shell(text: str, shell: tuple[str, ...]) -> None:
    assert make_settings(text).shell == shell


@pytest.mark.parametrize(
    ("text", "exports"),
    [
        ("export A = 1\nB = 2\nexport B", (("A", "1"), ("B", "2"))),
        ("X = $(Y)\nY = $$HOME\nexport A := ${X}/z", (("A", "$HOME/z"),)),
        ("A = $(A)\nexport A", ()),
        ("A = $(B)\nB = $(A)\nexport A", ()),
        ("include x.mk\nexport A = 1", ()),
        ("export A = x \\\n y", ()),
        ("out: A = 2\nexport A = 1", ()),
        ("$(eval A = 2)\nexport A = 1", ()),
        ("export A-B = 1", ()),
    ],
)
def test_exported_variables(text: str, exports: tuple[tuple[str, str], ...]) -> None:
    assert make_settings(text).exports == exports


def test_a_hostile_makefile_is_read_in_time() -> None:
    many = "\n".join(f"V{n} = $(V{n + 1})$(V{n + 1})" for n in range(40))
    assert make_settings(f"{many}\nexport V0").exports == ()
    few = "\n".join(f"V{n} = {f'$(V{n + 1})' * 50}" for n in range(15))
    assert make_settings(f"{few}\nV15 = x\nexport V0").exports == ()
    assert make_settings(f"export {' ' * 100_000}A{' ' * 100_000}").exports == ()
