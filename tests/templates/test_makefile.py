"""`minipach.templates.makefile`: make is asked, and runs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.support.errors import UserError
from minipach.templates.makefile import read_target
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
