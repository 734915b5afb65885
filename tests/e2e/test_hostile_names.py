"""Hostile file names, the whole way: scheduled, recorded, rerun in a clone, reused after a rename; never executed."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from minipach.model.run_record import parse
from tests.fixtures.projects import Study, run

COPY = 'cp -R -- "$images" "$PFS/out/"\n'
SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/copy.sh]}\n'
UMLAUT = "ümlaut ä.txt"
FEW = [
    ' it\'s "quoted" `touch x` $(touch x) ',
    "-rf",
    "{name}{}{out}{images}",
    "*?[a]",
    "a",
    "%s%(x)s;touch x|touch x&touch x>x",
    unicodedata.normalize("NFC", UMLAUT),
    unicodedata.normalize("NFD", UMLAUT),
    "n" * 200,
    "~",
    "#hash !x $HOME",
    ".hidden\t\x01\u202e",
]
MANY = [
    "with space.txt", "trailing ", " ", "it's.txt", 'say "hi".txt', "$(touch x).txt", "`touch x`.txt", "$HOME",
    "--help", "--", "-", "{name}.txt", "{}", "{out}", "{images}", "{", "}",
    "*", "?", "[a]", "[!b]", "**", "%s", "%(x)s", "%%",
    ";touch x", "|touch x", "&&touch x", ">x", "<x", "=x=y", "!x", "@", "#hash", "~", "~root", "...", "..x", ".hidden",
    "a,b:c", "a~b", "tab\t", "\x01", "\x7f", "\u202e", "\u2028", "e\u0301", "\u00e9", "名前", "🙂", "n" * 250,
]  # fmt: skip


def project(root: Path, names: list[str], identity: str = "path") -> Study:
    """Each file of these names holds its number, and is a datum whose output has its name."""
    study = Study.create(root / "study")
    for number, name in enumerate(names):
        study.put(f"images/{name}", f"{number}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC + f'minipach: {{out: "o", identity: {identity}}}\n', copy=COPY)
    return study


def check_all(study: Study, names: list[str]) -> None:
    assert set(study.outputs("edges")) == {f"o/{name}" for name in names}
    for number, name in enumerate(names):
        assert study.read(f"edges/o/{name}") == f"{number}\n".encode(), name


def nothing_was_executed(*folders: Path) -> None:
    for folder in (*folders, Path(os.environ["HOME"])):
        assert not list(folder.rglob("x")), "a name was executed"


def records(repo: Path) -> list[str]:
    done = run("git", "log", "--format=%H", "--grep=DATALAD RUNCMD", cwd=repo)
    return done.out.split()


def rerun_in_a_clone(study: Study, clone: Path, *which: str) -> None:
    """All records (or those of the given datums), in a clone of the pipeline's repo alone; nothing may change."""
    study.ok("datalad", "clone", str(study.root / "edges"), str(clone))
    head = study.ok("git", "rev-parse", "HEAD^{tree}", cwd=clone)
    if not which:
        study.ok("datalad", "rerun", "--since=", cwd=clone)
    for name in which:
        [commit] = study.ok("git", "log", "--format=%H", "--", f":(literal)o/{name}", cwd=clone).split()
        study.ok("datalad", "rerun", commit, cwd=clone)
    assert study.ok("git", "rev-parse", "HEAD^{tree}", cwd=clone) == head, "the same keys"
    assert study.ok("git", "status", "--porcelain", "--ignore-submodules", cwd=clone) == ""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A project with a few names that hold most of what can go wrong, scheduled once."""
    study = project(tmp_path_factory.mktemp("names"), FEW)
    study.schedule()
    return study


def test_names_are_only_names(done: Study) -> None:
    check_all(done, FEW)
    nothing_was_executed(done.root)
    assert done.minipach("schedule").out == "nothing to do\n"
    [edges] = done.minipach("datums", "edges", "--json").json["datums"][:1] or [None]
    assert edges is not None
    shown = done.minipach("plan", "--all")
    assert shown.code == 0 and "\x01" not in shown.err, "control characters are shown, not sent"


@pytest.mark.parametrize(
    "name",
    [
        FEW[0],
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("{name}{}{out}{images}", "%s%(x)s;touch x|touch x&touch x>x")
        ),
    ],
)
def test_a_record_with_such_a_name_reruns(done: Study, tmp_path: Path, name: str) -> None:
    rerun_in_a_clone(done, tmp_path / "clone", name)
    nothing_was_executed(tmp_path)


@pytest.mark.soak
def test_the_results_are_reused_after_a_rename(tmp_path: Path) -> None:
    study = project(tmp_path, FEW[:6], "content")
    study.schedule()
    renamed = [f"new {name}" for name in FEW[:6]]
    for old, new in zip(FEW[:6], renamed, strict=True):
        study.git("images", "mv", "--", old, new)
    study.save("images")
    counts = study.schedule()["edges"]["counts"]
    assert (counts["ran"], counts["reused"]) == (0, 6)
    check_all(study, renamed)
    nothing_was_executed(tmp_path)


@pytest.mark.soak
def test_every_single_name_and_all_their_records(tmp_path: Path) -> None:
    study = project(tmp_path, MANY)
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    check_all(study, MANY)
    clone = tmp_path / "clone"
    study.ok("datalad", "clone", str(study.root / "edges"), str(clone))
    messages = [study.ok("git", "log", "-1", "--format=%B", commit, cwd=clone) for commit in records(clone)]
    named = [d["name"] for message in messages for d in parse(message + "\n")[1]["minipach"]["datums"]]
    assert sorted(named) == sorted(MANY)
    rerun = run("datalad", "rerun", "--since=", cwd=clone)
    assert rerun.code == 0, rerun.out + rerun.err
    assert study.ok("git", "diff", "--stat", records(clone)[0], "HEAD", cwd=clone) == ""
    nothing_was_executed(tmp_path)


@pytest.mark.soak
def test_folders_with_such_names(study: Study, tmp_path: Path) -> None:
    folder = "it's $(touch x) {images} *"
    study.put(f"images/{folder}/-rf {{}}", "1", save=False)
    study.put(f"images/{folder}/back\\slash", "2", save=False)
    study.put(f"images/{folder}/deeper `touch x`/.a", "3", save=False)
    study.save("images")
    study.pipeline(
        "edges",
        SPEC + 'minipach: {out: "o"}\n',
        copy='cat "$images"/-* "$images"/b* "$images"/*/.a >"$PFS/out/all"\n',
    )
    study.schedule()
    assert study.read("edges/o/all") == b"123"
    rerun_in_a_clone(study, tmp_path / "clone", "all")
    nothing_was_executed(tmp_path)


@pytest.mark.soak
def test_names_that_are_reserved_in_a_pipeline_are_data_in_a_data_repo(study: Study) -> None:
    for path in ("code/run.sh", "inputs/a.txt", "README.md", "deep/spec.yml"):
        study.put(f"images/{path}", path, save=False)
    study.save("images")
    study.pipeline("edges", SPEC + 'minipach: {out: "o"}\n', copy=COPY)
    study.schedule()
    assert set(study.outputs("edges")) == {"o/code/run.sh", "o/inputs/a.txt", "o/README.md", "o/deep/spec.yml"}


def test_an_output_at_a_reserved_name_fails_its_datum(study: Study) -> None:
    study.put("images/README.md", "read me")
    study.copier()
    study.schedule(code=1)
    assert 'output "README.md" is a reserved name' in study.minipach("logs", "edges", "README.md").out


def test_a_spec_at_the_root_makes_a_pipeline(study: Study) -> None:
    """A data file that happens to be called `spec.yml` there is not silently taken for data."""
    study.put("images/spec.yml", "resolution: 300\n")
    study.copier()
    done = study.minipach("schedule")
    assert done.code == 2 and done.err.startswith("images/spec.yml:1:1: ")


def test_a_name_that_is_not_utf8_is_refused(study: Study) -> None:
    """Git takes it; `datalad save` itself can't, so this one came in by hand."""
    Path(os.fsdecode(os.fsencode(study.root / "images") + b"/caf\xe9.txt")).write_text("latin 1")
    study.git("images", "-c", "annex.largefiles=nothing", "add", ".")
    study.git("images", "commit", "-qm", "by hand")
    study.copier()
    done = study.minipach("schedule")
    assert done.code == 2
    assert done.reports("file.bad-name", "images", "b'/caf\\xe9.txt'", "UTF-8")


def test_a_line_break_in_an_inputs_name_is_refused(study: Study) -> None:
    """DataLad 1.7 takes such a file for deleted, wherever it is in a dataset: no record could be rerun."""
    study.put("images/two\nlines.txt", "a", save=False)
    study.git("images", "add", ".")
    study.git("images", "commit", "-qm", "by hand")
    study.copier()
    done = study.minipach("schedule")
    assert done.code == 2
    assert done.reports("file.bad-name", "images", r"'two\nlines.txt'")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two\\nlines", 'output "two\\nlines": a line break in its name, which `datalad rerun` can\'t handle'),
        pytest.param(
            "back\\\\slash",
            'output "back\\\\slash": a backslash in its name, which `datalad rerun` can\'t handle',
            marks=pytest.mark.slow,
        ),
        pytest.param("caf\\351", 'output "caf\\xe9": its name is not UTF-8; rename it', marks=pytest.mark.slow),
    ],
)
def test_an_output_that_could_not_be_rerun_fails_its_datum(study: Study, name: str, said: str) -> None:
    study.put("images/a.txt", "a")
    study.pipeline("edges", SPEC, copy=f"printf '{name}' >/dev/null; cp \"$images\" \"$PFS/out/$(printf '{name}')\"\n")
    done = study.minipach("schedule")
    assert done.code == 1 and said in done.err, done.err
    assert study.outputs("edges") == {}
