"""`minipach.templates.makefile`: make is asked, and runs nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from minipach.support.errors import UserError
from minipach.templates.makefile import read_target
from minipach.templates.stage_draft import stage_script
from tests.fixtures.projects import need

pytestmark = pytest.mark.usefixtures("programs")


@pytest.fixture
def programs() -> None:
    need("make")
    need("bwrap")


def makefile(folder: Path, text: str) -> Path:
    for name in ("a.txt", "b.txt"):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / name).write_text("x")
    file = folder / "Makefile"
    file.write_text(text)
    return file


def test_a_target_with_its_recipe_as_make_expands_it(tmp_path: Path) -> None:
    file = makefile(tmp_path, "TOOL = sort\nout.csv: data/a.txt data/b.txt\n\t@$(TOOL) $^ > $@\n\techo done\n")
    stage = read_target(file, "out.csv")
    assert (stage.name, stage.reads, stage.writes) == ("Makefile:out.csv", ["data/a.txt", "data/b.txt"], ["out.csv"])
    assert stage.commands == ["sort data/a.txt data/b.txt > out.csv", "echo done"]
    assert read_target(file, "").name == "Makefile:out.csv"


def test_the_recipes_of_prerequisites_are_other_stages(tmp_path: Path) -> None:
    file = makefile(tmp_path, "all: b\nb: data/c.txt\n\tcat $< > $@\ndata/c.txt: data/a.txt\n\tcp $< $@\n")
    assert read_target(file, "b").commands == ["cat data/c.txt > b"]


HOSTILE = {
    "shell": "X := $(shell touch {mark})\nout: data/a.txt\n\techo $(X)\n",
    "plus": "out: data/a.txt\n\t+touch {mark}\n",
    "own make": "out: data/a.txt\n\t$(MAKE) -f - < /dev/null; touch {mark}\n",
    "shell of its own": "SHELL = /bin/bash\nX := $(shell touch {mark})\nout: data/a.txt\n\techo 1\n",
    "override": "override SHELL = /bin/bash\nX := $(shell touch {mark})\nout: data/a.txt\n\techo 1\n",
    "file": "$(file >{mark},x)\nout: data/a.txt\n\techo 1\n",
    "include": "include {mark}\n{mark}:\n\ttouch {mark}\nout: data/a.txt\n\techo 1\n",
    "default goal": "$(shell touch {mark})\nout: data/a.txt\n\techo 1\n.PHONY: $(shell touch {mark})\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_makefile_changes_nothing(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "mark"
    file = makefile(tmp_path, HOSTILE[kind].replace("{mark}", str(mark)))
    before = sorted(tmp_path.rglob("*"))
    try:
        read_target(file, "out")
    except UserError as error:
        assert len(error.problems) == 1 and "\n" not in str(error)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_makefile_reads_no_secret_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    file = makefile(tmp_path, "out: data/a.txt\n\techo x$(TOKEN)x\n")
    assert read_target(file, "out").commands == ["echo xx"]


@pytest.mark.parametrize(
    ("text", "target", "code"),
    [
        ("out: data/a.txt\n", "out", "new.no-command"),
        ("out: data/a.txt\n\techo\n", "nope", "new.no-answer"),
        ("out: data/missing.txt\n\techo\n", "out", "new.no-answer"),
        ("out: $(error no)\n", "out", "new.no-answer"),
        ("", "", "new.no-answer"),
    ],
)
def test_what_is_no_stage(tmp_path: Path, text: str, target: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        read_target(makefile(tmp_path, text), target)
    assert [problem.code for problem in caught.value.problems] == [code]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("out: x\n    echo\n", "Makefile:2"),
        ("\n\techo\n", "Makefile:2"),
        ("out: $(foo\n\techo\n", "Makefile:1"),
        ("include nope.mk\nout:\n\techo\n", "Makefile"),
    ],
)
def test_a_broken_makefile_has_a_place_and_a_fix(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(UserError) as caught:
        read_target(makefile(tmp_path, text), "")
    (problem,) = caught.value.problems
    assert problem.location == str(tmp_path / place) and problem.fix
    assert "***" not in problem.message and "Stop" not in problem.message


def as_run(folder: Path, text: str, target: str) -> tuple[int, str, tuple[str, ...]]:
    """Return the exit code of the script made of a target, the file that it writes, and what is left out."""
    stage = read_target(makefile(folder, text), target)
    (folder / "pfs/out").mkdir(parents=True)
    (folder / "run.sh").write_text(stage_script(stage, [], []))
    (folder / "here").mkdir()
    env = {"PFS": str(folder / "pfs"), "PATH": "/usr/bin:/bin", "HOME": "/at home", "TMPDIR": str(folder)}
    done = subprocess.run(["sh", "../run.sh"], cwd=folder / "here", env=env, check=False, capture_output=True)
    out = folder / "pfs/out" / target
    return done.returncode, out.read_text() if out.exists() else "", stage.left_out


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("\t-false\n\tX=3; echo $$X > $@\n\t@echo x=$$X >> $@\n", "3\nx=\n"),
        ("\tcd / && pwd > $(CURDIR)/n; true\n\tmkdir a && cd a\n\techo \"$$UNSET.\" > $@\n", ".\n"),
        ("\tfor i in 1 2; do \\\n\t  echo $$i; \\\n\tdone > $@\n", "1\n2\n"),
        ("\techo \"$(HOME)\" > $@ # a comment\n\t+echo plus >> $@\n", "/at home\nplus\n"),
        ("\techo 1 > $@\n\t-exit 3\n\tfalse; echo 2 >> $@\n", "1\n2\n"),
        (".ONESHELL:\nout: data/a.txt\n\tX=3\n\techo $$X > $@\n", "3\n"),
        ("SHELL := /bin/bash\nout: data/a.txt\n\tx=(a b); echo $${x[1]} > $@\n", "b\n"),
        ("SHELL = bash\n.SHELLFLAGS := -eu -o pipefail -c\nout: data/a.txt\n\t-false | true; echo x\n\techo $$- >$@\n",
         "ehuBc\n"),
        ("SHELL = bash\n.ONESHELL:\nout: data/a.txt\n\tx=(a b)\n\techo $${x[1]} > $@\n", "b\n"),
        (".POSIX:\nout: data/a.txt\n\t-false; echo no > $@\n\techo yes >> $@\n", "yes\n"),
        ("A = x'y\nexport B := $(A) $$z\nexport A\nout: data/a.txt\n\techo \"$$A,$$B\" > $@\n", "x'y,x'y $z\n"),
        ("export B = $(A)\nA := 1\nout: data/a.txt\n\techo \"$$B\" > $@\n", "1\n"),
    ],
)  # fmt: skip
def test_each_line_has_a_shell_of_its_own(tmp_path: Path, recipe: str, expected: str) -> None:
    text = recipe if "out: " in recipe else f"out: data/a.txt\n{recipe}"
    assert as_run(tmp_path, text, "out") == (0, expected, ())


def test_the_first_line_that_fails_is_the_last(tmp_path: Path) -> None:
    code, out, _ = as_run(tmp_path, "out: data/a.txt\n\techo 1 > $@\n\texit 3\n\techo 2 >> $@\n", "out")
    assert (code, out) == (3, "")


def test_what_a_script_can_not_keep_is_said(tmp_path: Path) -> None:
    text = (
        "SHELL := /bin/bash\nexport GREET = hi\ndefine TWO\n-false\necho\nendef\n.IGNORE:\nout: data/a.txt\n\t$(TWO)\n"
    )
    said = read_target(makefile(tmp_path, text), "out").left_out
    assert [line.split(":")[0] for line in said] == [
        "SHELL = /bin/bash", "export GREET", ".IGNORE", "`-` of a recipe line, at which a command may fail"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  SHELL = zsh", ["SHELL = zsh"]),
        ("SHELL = zsh", []),
        ("SHELL = python3", ["SHELL = python3"]),
        ("SHELL = $(X)", ["SHELL = $(X)"]),
        ("SHELL = bash\nSHELL = zsh", ["SHELL = bash", "SHELL = zsh"]),
        ("ifdef X\nSHELL = bash\nendif", ["SHELL = bash"]),
        ("export A = 1", []),
        ("export A = 1\nA += 2", ["export A"]),
        ("export A ?= 1", ["export A"]),
        ("export A = $(shell date)", ["export A"]),
        ("export A = $(PATH)", ["export A"]),
        ("export A := $(B)\nB = 1", ["export A"]),
        ("export PFS = 1", ["export PFS"]),
        ("export A = 1\nunexport A", ["export A"]),
        ("PATH := /x:$(PATH)", ["PATH"]),
        (".EXPORT_ALL_VARIABLES:", [".EXPORT_ALL_VARIABLES"]),
        ("out: override SHELL := bash", ["SHELL = bash"]),
        ("SHELL = /bin/sh", []),
        ("export SHELL = bash", ["SHELL = bash", "export SHELL"]),
        (".SHELLFLAGS = -euc", []),
        (".SHELLFLAGS = -eu", [".SHELLFLAGS = -eu"]),
        ("export A B", ["export A B"]),
        ("export", ["export"]),
        ("out: export A = 1", ["export A"]),
        ("exported = 1", []),
        ("\texport A=1", []),
        ("# SHELL = bash", []),
    ],
)
def test_lines_that_change_how_recipes_run(tmp_path: Path, line: str, said: list[str]) -> None:
    file = makefile(tmp_path, f"{line}\nout: data/a.txt\n\ttrue\n" if line[0] != "\t" else f"out: data/a.txt\n{line}\n")
    assert [one.split(":")[0] for one in read_target(file, "out").left_out] == said
