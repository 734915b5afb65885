"""`minipach adopt`: a Makefile's targets as pipelines, step by step."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from minipach.project.project import find_project
from minipach.templates.adopt import Adoption, adoption, first_look, read_group
from minipach.templates.makefile import MakeRule
from minipach.templates.stage_draft import Stage
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.projects import Study, need
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

__all__ = ["root"]

MAKEFILE = """\
SH := sh
.PHONY: all clean
all: outputs/report.txt outputs/a.up
outputs/report.txt: outputs/clean.csv inputs/notes.txt params.txt
	cat $^ > $@
outputs/clean.csv: inputs/raw.csv | outputs
	@echo begin
	$(SH) code/clean.sh $< > $@
outputs/%.up: inputs/%.low tool.sh
	sh tool.sh < $< > $@
code/made.sh: inputs/raw.csv
	cp $< $@
far.txt: images/a.txt inputs/new.txt
	cat $^ > $@
clean:
	rm -rf outputs
"""


@pytest.fixture(autouse=True)
def programs() -> None:
    need("make")
    need("bwrap")


@pytest.fixture
def yoda(root: Files) -> Files:
    """A YODA project: code, inputs, outputs and a Makefile, and one dataset."""
    files = {
        "Makefile": MAKEFILE,
        "inputs/raw.csv": "raw\n",
        "inputs/notes.txt": "notes\n",
        "inputs/a.low": "abc\n",
        "code/clean.sh": 'cat "$1"\n',
        "code/README": "",
        "tool.sh": "tr a-z A-Z\n",
        "params.txt": "7\n",
        "outputs/clean.csv": "old\n",
    }
    for path, text in files.items():
        root.put(path, text)
    repo(root, "images").put("a.txt")
    root.commit()
    (root.path / "inputs/new.txt").write_text("not committed")
    return root


def found_in(yoda: Files) -> Adoption:
    return adoption(find_project(yoda.path), yoda.path / "Makefile")


def test_each_target_is_a_step_after_those_that_it_reads(yoda: Files) -> None:
    found = found_in(yoda)
    targets = found.targets()
    assert sorted(targets) == ["far.txt", "outputs/a.up", "outputs/clean.csv", "outputs/report.txt"]
    assert targets.index("outputs/clean.csv") < targets.index("outputs/report.txt")
    assert sorted(line.partition(":")[0] for line in found.skipped) == ["all", "clean", "code/made.sh"]
    inputs = {}
    for target in targets:
        step = found.step(target)
        assert step is not None
        inputs[target] = step.draft.spec["input"], step.draft.spec.get("minipach"), step.stays
        found.made[target] = step.pipeline
    assert inputs["outputs/clean.csv"] == (
        {"pfs": {"repo": "inputs", "glob": "/raw.csv"}},
        {"code": ["../code"]},
        "outputs/clean.csv",
    )
    assert inputs["outputs/a.up"] == (
        {"pfs": {"repo": "inputs", "glob": "/a.low"}},
        {"code": ["../tool.sh"]},
        "",
    )
    members = [member["pfs"] for member in inputs["outputs/report.txt"][0]["cross"]]
    assert members == [
        {"repo": "clean", "glob": "/outputs/clean.csv"},
        {"repo": "inputs", "glob": "/notes.txt"},
        {"repo": ".", "glob": "/params.txt"},
    ]
    assert inputs["far.txt"][0] == {"pfs": {"repo": "images", "glob": "/a.txt"}}


PATTERN = """\
all: o/a.up o/b.up o/a.n o/b.n o/sum o/one
o/%.up: inputs/%.low tool.sh
\tsh tool.sh < $< > $@
o/%.n: o/%.up inputs/%.low
\twc -c $^ > $@
o/sum: o/a.up o/b.up
\tcat $^ > $@
o/one: o/b.n
\tcp $< $@
"""


def patterned(yoda: Files, text: str = PATTERN) -> Adoption:
    yoda.put("Makefile", text)
    yoda.put("inputs/b.low", "b")
    yoda.commit()
    return found_in(yoda)


def test_targets_of_a_pattern_rule_are_datums_of_one_pipeline(yoda: Files) -> None:
    found = patterned(yoda)
    inputs = {}
    for target in found.targets():
        step = found.step(target)
        assert step is not None
        found.note(target, step.pipeline)
        inputs[step.pipeline] = step.draft.spec["input"]
        assert ("env" in step.draft.spec["transform"]) == ("%" in target)
    assert inputs == {
        "o-up": {"pfs": {"repo": "inputs", "glob": "/(*).low"}},
        "o-n": {
            "join": [
                {"pfs": {"repo": "o-up", "glob": "/o/(*).up", "join_on": "$1"}},
                {"pfs": {"repo": "inputs", "glob": "/(*).low", "join_on": "$1"}},
            ]
        },
        "sum": {"pfs": {"repo": "o-up", "glob": "/"}},
        "one": {"pfs": {"repo": "o-n", "glob": "/o/b.n"}},
    }
    assert [target for target in patterned(yoda).targets(["o/a.up"])] == ["o/a.up"], "one of them can still be named"


@pytest.mark.parametrize(
    "text",
    [
        "all: o/a.up o/b.up\no/%.up: inputs/%.low\n\techo '$*' > $@\n",  # the shell keeps what is in single quotes
        "all: o/a.up o/b.up\no/a.up: MORE := -x\no/%.up: inputs/%.low\n\tcat $(MORE) $< > $@\n",  # they differ
        "all: o/a.up\no/%.up: inputs/%.low\n\tcat $< > $@\n",  # there is one alone
        "all: o/a.up o/b.up\no/a.up o/b.up:\n\tcat inputs/a.low > $@\n",  # no pattern rule
    ],
)
def test_targets_whose_commands_differ_in_more_than_the_stem_stay_apart(yoda: Files, text: str) -> None:
    targets = patterned(yoda, text).targets()
    assert sorted(targets) == [target for target in ("o/a.up", "o/b.up") if target in text]


def test_a_target_that_reads_all_of_a_pattern_reads_later_files(yoda: Files, tmp_path: Path) -> None:
    found = patterned(yoda)
    steps = {}
    for target in found.targets():
        step = found.step(target)
        assert step is not None
        found.note(target, step.pipeline)
        steps[target] = step
    draft = steps["o/sum"].draft
    assert "later" in draft.guesses["input"][0] and draft.left_out == ()
    here, pfs = tmp_path / "here", tmp_path / "pfs"
    (pfs / "o-up/o").mkdir(parents=True)
    (pfs / "out").mkdir()
    here.mkdir()
    for name in ("a", "b", "c d"):
        (pfs / f"o-up/o/{name}.up").write_text(name)
    env = {"PFS": str(pfs), "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    subprocess.run(["sh", "-c", draft.files[0].content], cwd=here, env=env, check=True)
    assert (pfs / "out/o/sum").read_text() == "abc d"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat o/a.up o/b.up | sort > o/sum", "cat o/*.up | sort > o/sum"),
        ("sh code/sum.sh o > o/sum", "sh code/sum.sh o > o/sum"),
        ("cat o/b.up o/a.up > o/sum", None),
        ("cat o/a.up > o/sum", None),
        ("echo 'o/a.up o/b.up ' > o/sum", None),
        ("echo ' o/a.up o/b.up ' > o/sum", None),
        ("cat o/a.up o/b.upper > o/sum", None),
    ],
)
def test_a_list_of_all_files_becomes_a_glob(command: str, expected: str | None) -> None:
    members = tuple(MakeRule(f"o/{stem}.up", (f"i/{stem}",)) for stem in "ab")
    stage = Stage("s", Path(), ["o/a.up", "o/b.up"], ["o/sum"], [command])
    found = read_group(stage, MakeRule("o/%.up", ("i/%",), members=members))
    assert (found and found.commands[0]) == expected
    assert read_group(replace(stage, writes=["o/sum.up"]), MakeRule("o/%.up", ("i/%",), members=members)) is None


def test_a_makefile_in_the_annex_is_named_by_its_own_path(yoda: Files) -> None:
    target = Path(yoda.path, ".git", "elsewhere")
    target.write_text(MAKEFILE)
    (yoda.path / "Makefile").unlink()
    (yoda.path / "Makefile").symlink_to(target)
    step = found_in(yoda).step("outputs/clean.csv")
    assert step is not None and step.draft.origin == "Makefile:outputs/clean.csv"


def test_what_is_not_committed_is_left_out(yoda: Files) -> None:
    step = found_in(yoda).step("far.txt")
    assert step is not None and step.draft.left_out[0].startswith("inputs/new.txt: ")


def test_a_first_look_names_the_datums_and_what_they_wait_for(yoda: Files) -> None:
    found = found_in(yoda)
    given: dict[str, object] = {}
    looks = []
    for target in ("outputs/clean.csv", "outputs/report.txt"):
        step = found.step(target)
        assert step is not None
        looks.append(first_look(found.project, step, given))  # type: ignore[arg-type]
        found.made[target] = step.pipeline
    assert looks[0] == (["raw.csv"], "") and looks[1][0] == [] and "clean" in looks[1][1]


def test_no_pipeline_takes_a_name_or_folder_that_is_there(yoda: Files) -> None:
    (yoda.path / "clean").mkdir()
    step = found_in(yoda).step("outputs/clean.csv")
    assert step is not None and step.pipeline == "outputs-clean-csv"


def test_an_unknown_target_and_a_missing_makefile(yoda: Files) -> None:
    with refused("adopt.no-target"):
        found_in(yoda).targets(["outputs/raport.txt"])
    with refused("adopt.no-makefile"):
        adoption(find_project(yoda.path), yoda.path / "makefile.mk")
    outside = yoda.path.parent / "Makefile"
    outside.write_text("a: b\n\tcp b a\n")
    with refused("new.outside"):
        adoption(find_project(yoda.path), outside)


@pytest.mark.parametrize(
    "text",
    [
        "X := $(shell touch {mark})\nout: inputs/raw.csv\n\techo $(X) > $@\n",
        "out: inputs/raw.csv\n\t+touch {mark}\n",
        "include {mark}\n{mark}:\n\ttouch {mark}\nout: inputs/raw.csv\n\techo\n",
        "$(file >{mark},x)\n../out ../../etc/x: inputs/raw.csv\n\ttouch {mark}\n",
        "-f {mark} --eval=$(shell touch {mark}): inputs/raw.csv\n\ttouch {mark}\n",
        "a b: b a ../../../etc/passwd /etc/shadow\n\ttouch {mark}; cat $^\n",
    ],
)
def test_a_hostile_makefile_runs_nothing(yoda: Files, text: str) -> None:
    mark = yoda.path / "mark"
    (yoda.path / "Makefile").write_text(text.replace("{mark}", str(mark)))
    before = sorted(yoda.path.rglob("*"))
    from minipach.support.errors import UserError

    try:
        found = found_in(yoda)
        steps = [found.step(target) for target in found.targets()]
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all("\n" not in line for line in found.skipped)
        assert not [step for step in steps if step and ("etc" in str(step.draft.spec) or ".." in step.target)]
    assert sorted(path for path in yoda.path.rglob("*") if ".git" not in path.parts) == [
        path for path in before if ".git" not in path.parts
    ]


def test_a_file_of_a_rule_that_is_not_adopted_is_named(yoda: Files) -> None:
    yoda.put("Makefile", "out: x/made\n\tcp $< $@\nx/made::\n\tdate > $@\nx/made::\n\tdate >> $@\n")
    found = found_in(yoda)
    assert found.step("out") is None
    assert "x/made: made by a rule that is not adopted" in found.skipped[-1]


def test_a_list_of_files_that_stays_as_it_is_now_is_said(yoda: Files) -> None:
    yoda.put("Makefile", "out: $(sort $(wildcard inputs/*))\n\tcat $^ > $@\none: inputs/raw.csv\n\tcp $< $@\n")
    guesses = [step.draft.guesses.get("input", []) for step in map(found_in(yoda).step, ("out", "one")) if step]
    assert [len(sentences) for sentences in guesses] == [1, 0]
    assert "inputs" in guesses[0][0]


def test_a_named_target_that_can_not_be_adopted_is_an_error(yoda: Files) -> None:
    yoda.put("Makefile", "clean:\n\trm -rf out\n.PHONY: clean\nout: inputs/raw.csv\n\tcp $< $@\n")
    codes = {}
    for targets in (("clean",), ("clean", "out")):
        command = [sys.executable, "-m", "minipach", "adopt", *targets]
        done = subprocess.run(command, cwd=yoda.path, capture_output=True, text=True, check=False)
        codes[targets] = done.returncode, len(done.stderr.splitlines())
    assert codes == {("clean",): (2, 1), ("clean", "out"): (0, 1)}
    assert "step 1: out -> out" in done.stdout


def test_a_person_is_asked_at_each_step(yoda: Files) -> None:
    above, below = pty.openpty()
    command = [sys.executable, "-m", "minipach", "adopt", "outputs/clean.csv", "outputs/report.txt"]
    process = subprocess.Popen(command, cwd=yoda.path, stdin=below, stdout=below, stderr=below)
    os.close(below)
    os.write(above, b"y\nn\n")
    said = b""
    while True:
        try:
            data = os.read(above, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        said += data
    os.close(above)
    assert process.wait() == 0, said.decode()
    assert (yoda.path / "clean/spec.yml").is_file() and not (yoda.path / "report").exists()


@pytest.mark.slow
def test_pipelines_compute_what_make_does(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for path, text in {
        "Makefile": MAKEFILE.replace(
            "far.txt: images/a.txt inputs/new.txt", "far.txt: outputs/a.up outputs/report.txt"
        ),
        "inputs/raw.csv": "raw\n",
        "inputs/notes.txt": "notes\n",
        "inputs/a.low": "abc\n",
        "code/clean.sh": 'cat "$1"\n',
        "tool.sh": "tr a-z A-Z\n",
        "params.txt": "7\n",
        "outputs/a.up": "old\n",
    }.items():
        study.put(path, text, save=False)
    study.save(".")
    shown = study.minipach("adopt", "--json").json
    assert [step["files"] for step in shown["steps"]] == [[], [], [], []]
    assert study.git(".", "status", "--porcelain") == ""
    made = study.minipach("adopt", "--yes", "--commit", "--json").json
    assert made["committed"] and study.git(".", "status", "--porcelain") == ""
    assert {name: row["counts"]["ran"] for name, row in study.schedule().items()} == {
        "clean": 1, "report": 1, "a": 1, "far": 1
    }  # fmt: skip
    assert study.read("far/far.txt") == b"ABC\nraw\nnotes\n7\n"
    assert study.read("outputs/a.up") == b"old\n", "existing outputs stay"
    assert study.minipach("adopt", "--json").json["steps"] == []


@pytest.mark.slow
def test_a_new_file_is_a_new_datum_of_a_pattern(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    files = {"Makefile": PATTERN, "tool.sh": "tr a-z A-Z\n", "inputs/a.low": "abc\n", "inputs/b.low": "b\n"}
    for path, text in files.items():
        study.put(path, text, save=False)
    study.save(".")
    study.minipach("adopt", "--yes", "--commit")
    assert {name: row["counts"]["ran"] for name, row in study.schedule().items()} == {
        "o-up": 2, "o-n": 2, "sum": 1, "one": 1
    }  # fmt: skip
    assert study.read("sum/o/sum") == b"ABC\nB\n"
    study.put("inputs/c$HOME;`x`.low", "c\n")
    assert study.schedule()["o-n"]["counts"]["ran"] == 1
    assert study.read("o-up/o/c$HOME;`x`.up") == b"C\n"
    assert study.read("sum/o/sum") == b"ABC\nB\nC\n"
