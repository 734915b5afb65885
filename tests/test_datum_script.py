"""The script that lays out /pfs, runs the command and keeps its output: hostile names, links, reserved names."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from minipach.attempt import read_marks
from minipach.tries import Mark
from tests.images import need
from tests.projects import PATIENCE

SCRIPT = Path(__file__).parent.parent / "minipach" / "scripts" / "datum"
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"]}
HOSTILE = [
    "with space.txt",
    'it\'s "quoted".txt',
    "$(touch x).txt",
    "`touch y`.txt",
    "new\nline",
    "-rf",
    "--",
    "*",
    "ümläut.txt",
    "trailing\n",
    "{out}",
    "back\\slash",
    "a;b|c&d",
]


@dataclass(frozen=True)
class Run:
    """A pipeline's dataset in which the script can be run, and a /pfs for it."""

    dataset: Path
    pfs: Path
    shell: tuple[str, ...]

    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.shell, str(SCRIPT), *arguments],
            cwd=self.dataset,
            env={"PATH": os.environ["PATH"], "PFS": str(self.pfs), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    @property
    def done(self) -> Path:
        return self.pfs / ".minipach" / "done"

    def write(self, path: str, text: str = "content\n") -> Path:
        """A file in the dataset."""
        file = self.dataset / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def annex(self, path: str, text: str = "annexed\n") -> Path:
        """A file in the dataset as git-annex would have it: a link to a read-only file in a read-only directory."""
        repo = next(p for p in (self.dataset / path).parents if (p / ".git").exists())
        key = f"SHA256E-s{len(text)}--{abs(hash(text)):x}"
        stored = repo / ".git" / "annex" / "objects" / "aa" / key / key
        if not stored.exists():
            stored.parent.mkdir(parents=True)
            stored.write_text(text)
            stored.chmod(0o444)
            stored.parent.chmod(0o555)
        link = self.dataset / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(stored, link.parent))
        return stored


@pytest.fixture(params=sorted(SHELLS))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """The script under one of the shells."""
    shell = SHELLS[request.param]
    need(shell[0])
    dataset = tmp_path / "edges"
    (dataset / "inputs" / "images" / ".git").mkdir(parents=True)
    pfs = tmp_path / "pfs"
    pfs.mkdir()
    return Run(dataset, pfs, tuple(shell))


def files(root: Path) -> dict[str, str]:
    """Every file below `root` and its text; a link is marked by its target."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file():
            found[name] = path.read_text()
    return found


def copy_all(name: str = "images") -> list[str]:
    """A command that copies what it sees of an input to its output."""
    return ["sh", "-c", f'cp -RP "$PFS/{name}" "$PFS/out/"']


def ok(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_file_goes_in_and_a_result_comes_out(run: Run) -> None:
    run.write("inputs/images/sub/a.png", "A")
    ok(
        run(
            "-d",
            "a",
            "",
            "-f",
            "images",
            "inputs/images",
            "/sub/a.png",
            "--",
            "sh",
            "-c",
            'cat "$1" >"$2/$MINIPACH_DATUM"',
            "sh",
            "{images}",
            "{out}",
        )
    )
    assert files(run.done) == {"a": "A"}
    assert sorted(p.name for p in run.pfs.iterdir()) == [".minipach"]


@pytest.mark.parametrize("mode", ["-f", "-l"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(run: Run, name: str, mode: str) -> None:
    run.annex(f"inputs/images/{name}/{name}", "A")
    keep = 'cat "$1" >"$PFS/out/$label"; printf "%s" "$MINIPACH_DATUM" >"$PFS/out/name"; echo "$1" >"$PFS/out/path"'
    ok(
        run(
            "-d",
            name,
            name,
            "-v",
            f"label=got {name}",
            mode,
            "images",
            "inputs/images",
            f"/{name}/{name}",
            "--",
            "sh",
            "-c",
            keep,
            "sh",
            "{images}",
        )
    )
    assert files(run.done / name) == {
        f"got {name}": "A",
        "name": name,
        "path": f"{run.pfs}/images/{name}/{name}\n",
    }
    assert not list(run.dataset.rglob("x")) and not list(run.dataset.rglob("y"))


@pytest.mark.parametrize("name", HOSTILE)
def test_arguments_are_replaced_once_and_exactly(run: Run, name: str) -> None:
    run.write(f"inputs/images/{name}", "A")
    ok(
        run(
            "-d",
            "n",
            "",
            "-f",
            "images",
            "inputs/images",
            f"/{name}",
            "--",
            "sh",
            "-c",
            'printf "%s" "$1" >"$PFS/out/said"',
            "sh",
            "{{images}} {other} {a/b} { } {images}{out}",
        )
    )
    images = f"{run.pfs}/images/{name}"
    assert (run.done / "said").read_bytes().decode() == f"{{{images}}} {{other}} {{a/b}} {{ }} {images}{run.pfs}/out"


@pytest.mark.parametrize("name", HOSTILE)
def test_outputs_with_hostile_names(run: Run, name: str) -> None:
    ok(
        run(
            "-d",
            "n",
            f"of/{name}",
            "--",
            "sh",
            "-c",
            'mkdir "$PFS/out/$1" && echo 1 >"$PFS/out/$1/$1"',
            "sh",
            name.replace("{out}", "{o}"),
        )
    )
    clean = name.replace("{out}", "{o}")
    assert files(run.done) == {f"of/{name}/{clean}/{clean}": "1\n"}


def test_several_matches_of_an_input_name_its_directory(run: Run) -> None:
    for name in "ab":
        run.write(f"inputs/images/{name}")
    both = ["-f", "images", "inputs/images", "/a", "-f", "images", "inputs/images", "/b"]
    ok(
        run(
            "-d",
            "n",
            "",
            *both,
            "--",
            "sh",
            "-c",
            'ls "$1" >"$PFS/out/seen"; echo "$1" >>"$PFS/out/seen"',
            "sh",
            "{images}",
        )
    )
    assert (run.done / "seen").read_text() == f"a\nb\n{run.pfs}/images\n"


def test_the_same_file_twice_is_one(run: Run) -> None:
    run.annex("inputs/images/a")
    twice = ["-f", "images", "inputs/images", "/a"] * 2
    ok(run("-d", "n", "", *twice, "--", "cp", "{images}", "{out}"))
    assert files(run.done) == {"a": "annexed\n"}


def test_a_directory_without_what_is_no_data(run: Run) -> None:
    for kept in ("a", "sub/.datalad/kept", "spec.yml", "code/c", "README.md", ".hidden", "..odd"):
        run.write(f"inputs/images/{kept}", "k")
    for left in (
        ".git/config",
        ".datalad/config",
        ".gitattributes",
        ".gitmodules",
        ".gitignore",
        "sub/.git/config",
    ):
        run.write(f"inputs/images/{left}")
    ok(run("-d", "n", "", "-f", "images", "inputs/images", "/", "--", *copy_all()))
    assert set(files(run.done)) == {
        "images/" + n for n in ("a", "sub/.datalad/kept", "spec.yml", "code/c", "README.md", ".hidden", "..odd")
    }


def test_a_pipelines_repo_as_input_shows_only_its_results(run: Run) -> None:
    for name in (
        "spec.yml",
        "code/c",
        "inputs/x/y",
        "README",
        "README.md",
        ".minipach/datum",
        "result",
        "sub/README",
        "sub/code/z",
    ):
        run.write(f"inputs/images/{name}", "k")
    ok(run("-d", "n", "", "-f", "images", "inputs/images", "/", "--", *copy_all()))
    assert set(files(run.done)) == {"images/result", "images/sub/README", "images/sub/code/z"}


def test_annexed_files_become_files_and_plain_links_stay(run: Run) -> None:
    run.annex("inputs/images/s/a", "A")
    (run.dataset / "inputs/images/s/link").symlink_to("a")
    (run.dataset / "inputs/images/s/to dir").symlink_to("../s")
    seen = (
        'cd "$PFS/images/s"; for f in *; do [ -L "$f" ] && echo "$f link" || echo "$f file"; done >"$PFS/out/seen";'
        'cat link >>"$PFS/out/seen"'
    )
    ok(run("-d", "n", "", "-f", "images", "inputs/images", "/s", "--", "sh", "-c", seen))
    assert (run.done / "seen").read_text() == "a file\nlink link\nto dir link\nA"


def test_many_files_of_one_directory(run: Run) -> None:
    for number in range(250):
        run.write(f"inputs/images/s/{number}", str(number))
    ok(run("-d", "n", "", "-f", "images", "inputs/images", "/s", "--", *copy_all()))
    assert files(run.done) == {f"images/s/{n}": str(n) for n in range(250)}


def test_empty_files_are_names_without_content(run: Run) -> None:
    run.write("inputs/images/s/a", "A")
    (run.dataset / "inputs/images/s/b").symlink_to(".git/annex/objects/not/here/KEY-s1--x")
    ok(run("-d", "n", "", "-z", "images", "inputs/images", "/s", "--", *copy_all()))
    assert files(run.done) == {"images/s/a": "", "images/s/b": ""}


def test_content_that_is_not_here_is_named(run: Run) -> None:
    (run.dataset / "inputs/images/b").symlink_to(".git/annex/objects/not/here/KEY-s1--x")
    done = run("-d", "n", "", "-f", "images", "inputs/images", "/b", "--", "true")
    assert done.returncode == 126
    assert done.stderr.startswith("datum: inputs/images/b: its content is not here")
    done = run("-d", "n", "", "-f", "images", "inputs/images", "/c", "--", "true")
    assert (done.returncode, done.stderr) == (126, "datum: inputs/images/c: no such input\n")


@pytest.mark.parametrize("mode", ["-f", "-l"])
def test_what_the_command_does_to_its_inputs_stays_with_it(run: Run, mode: str) -> None:
    """Even as root: here the dataset is writable, as without a container."""
    stored = run.annex("inputs/images/s/a", "A")
    plain = run.write("inputs/images/s/p", "P")
    harm = (
        'cd "$PFS/images/s"; chmod 777 . a p; echo evil >>a; echo evil >>p; rm p; echo new >n;'
        'ln -s / "$PFS/images/root"; true'
    )
    done = run("-d", "n", "", mode, "images", "inputs/images", "/s", "--", "sh", "-c", harm)
    assert done.returncode == 0, done.stderr
    assert (stored.read_text(), plain.read_text()) == ("A", "P")
    assert stat.S_IMODE(stored.stat().st_mode) == 0o444
    assert sorted(p.name for p in (run.dataset / "inputs/images/s").iterdir()) == ["a", "p"]


@pytest.mark.parametrize(
    ("matched", "harm", "told"),
    [
        ("/s/a", 'echo evil >"$PFS/images/s/a"', "images/s/a"),
        ("/s/a", 'rm "$PFS/images/s/a"', "images/s/a"),
        ("/s/", 'sleep 0.1; echo evil >"$PFS/images/s/b c"', "images/s/b c"),
        ("/s/a", 'cat "$PFS/images/s/a"; echo aside >"$PFS/images/s/new"', ""),
        ("/s/a", 'touch "$PFS/images/s/a"', ""),
        ("/s/link", "true", ""),
    ],
)
def test_a_command_that_changes_its_copy_of_an_input_is_told_of(
    matched: str, harm: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "pfs").mkdir()
    run = Run(tmp_path, tmp_path / "pfs", ("sh",))
    run.write("inputs/images/s/a", "A")
    run.write("inputs/images/s/b c", "B")
    (tmp_path / "inputs/images/s/link").symlink_to("a")
    done = run("-d", "n", "", "-f", "images", "inputs/images", matched, "--", "sh", "-c", harm)
    line = f"datum: n: the command changed its copy of {told}; the source is as it was\n"
    assert (done.returncode, done.stderr) == (0, line if told else "")


def test_a_command_that_swaps_an_input_for_a_link_harms_nothing(run: Run) -> None:
    file = run.write("inputs/images/s/a", "A")
    file.chmod(0o640)
    swap = 'rm -rf "$PFS/images"; ln -s "$PWD/inputs/images" "$PFS/images"'
    done = run("-d", "n", "", "-f", "images", "inputs/images", "/s", "--", "sh", "-c", swap)
    assert done.returncode == 0
    assert file.read_text() == "A" and stat.S_IMODE(file.stat().st_mode) == 0o640


def test_read_only_leftovers_are_removed(run: Run) -> None:
    run.annex("inputs/images/s/a")
    ok(
        run(
            "-d",
            "1",
            "",
            "-f",
            "images",
            "inputs/images",
            "/s",
            "--",
            "sh",
            "-c",
            'chmod -R a-w "$PFS/images"; mkdir "$PFS/tmp"',
        )
    )
    assert sorted(p.name for p in run.pfs.iterdir()) == [".minipach"]


def test_environment(run: Run) -> None:
    done = run(
        "-e",
        "a-b.c=1 2",
        "-e",
        "NL=x\ny\n",
        "-d",
        "n1",
        "",
        "-v",
        "images=/pfs/images/a",
        "-v",
        "images_COMMIT=/pfsx",
        "--",
        "env",
    )
    for line in (
        "a-b.c=1 2",
        f"images={run.pfs}/images/a",
        "images_COMMIT=/pfsx",
        "MINIPACH_DATUM=n1",
        f"PFS={run.pfs}",
    ):
        assert line in done.stdout.splitlines()
    assert "NL=x\ny\n\n" in done.stdout


@pytest.mark.parametrize("script", ["datum", "launch"])
def test_the_scripts_list_all_of_their_variables(script: str) -> None:
    """What isn't in the list could come from the caller's environment, and would go to the command's."""
    text = (SCRIPT.parent / script).read_text()
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assigned = {n for form in ASSIGNMENTS for found in re.findall(form, code, re.MULTILINE) for n in found.split()}
    assert {n for n in assigned if not n.startswith("minipach_")} - NO_VARIABLES[script] == own_variables(script)


ASSIGNMENTS = (r"(?:^|[\s;({&|])([a-z_][A-Za-z0-9_]*)=", r"\bfor ([a-z_]\w*)", r"\bread -r (\w+(?: \w+)*)")
# words of sentences, and options of other programs
NO_VARIABLES = {"datum": {"a", "an"}, "launch": {"bs", "count", "skip", "if", "label", "this"}}


def own_variables(script: str) -> set[str]:
    listed = re.search(r"for minipach_variable in \\\n(.*?); do", (SCRIPT.parent / script).read_text(), re.DOTALL)
    assert listed is not None
    return set(listed[1].replace("\\", " ").split())


@pytest.mark.parametrize("junk", ["no", "", "/x\n* $(false) 7"])
def test_what_is_exported_under_names_of_ours_changes_nothing_and_reaches_the_command(run: Run, junk: str) -> None:
    exported = {name: junk for name in own_variables("datum") | {"minipach_own_1", "minipach_kept"}}
    run.write("inputs/images/s/a", "A")
    run.write("inputs/lazy/l", "L")
    script = 'cat "$images" "$PFS/lazy/l"; env >"$PFS/out/env"'
    datum = ["-v", "images=/pfs/images/s/a", "-f", "images", "inputs/images", "/s/a", "-l", "lazy", "inputs/lazy", "/l"]
    done = run("-e", "name=ours", "-d", "n", "to", *datum, "-x", "false", "--", "sh", "-c", script, **exported)
    assert (done.returncode, done.stdout, done.stderr) == (0, "AL", "")
    seen = (run.done / "to" / "env").read_text()
    assert "\nname=ours\n" in seen
    for name in ("writable", "code", "matches", "secrets", "option", "idle"):
        assert f"\n{name}={junk}\n" in seen


def test_each_datum_has_its_own_environment_inputs_and_output(run: Run) -> None:
    run.write("inputs/images/a", "A")
    run.write("inputs/images/b", "B")
    one = ["-d", "a", "x", "-v", "only=1", "-f", "images", "inputs/images", "/a"]
    two = ["-d", "b", "x/y", "-f", "pictures", "inputs/images", "/b"]
    ok(
        run(
            "-e",
            "all=2",
            *one,
            *two,
            "--",
            "sh",
            "-c",
            'ls "$PFS" >"$PFS/out/$MINIPACH_DATUM"; echo "${only-} $all {pictures}" >>"$PFS/out/$MINIPACH_DATUM"',
        )
    )
    assert files(run.done) == {
        "x/a": "images\nout\n1 2 {pictures}\n",
        "x/y/b": f"out\npictures\n 2 {run.pfs}/pictures/b\n",
    }


def test_standard_input(run: Run) -> None:
    ok(
        run(
            "-i",
            "one",
            "-i",
            "$(two)",
            "-i",
            "--",
            "-d",
            "1",
            "1",
            "-d",
            "2",
            "2",
            "--",
            "sh",
            "-c",
            'cat >"$PFS/out/in"',
        )
    )
    assert files(run.done) == {"1/in": "one\n$(two)\n--\n", "2/in": "one\n$(two)\n--\n"}
    ok(run("-d", "3", "3", "--", "sh", "-c", 'cat >"$PFS/out/in"'))
    assert (run.done / "3/in").read_text() == ""


def test_working_directory(run: Run) -> None:
    run.write("code/where", "here")
    ok(run("-w", "code", "-d", "n", "", "--", "cp", "where", "{out}"))
    ok(run("-w", "/pfs/out", "-d", "m", "m", "--", "touch", "there"))
    assert files(run.done) == {"where": "here", "m/there": ""}
    done = run("-w", "nowhere", "-d", "n", "", "--", "true")
    assert done.returncode == 126 and "no such working directory" in done.stderr


def test_exit_codes(run: Run) -> None:
    done = run(
        "-d",
        "one",
        "1",
        "-d",
        "two",
        "2",
        "-d",
        "three",
        "3",
        "--",
        "sh",
        "-c",
        '[ $MINIPACH_DATUM != two ] || exit 3; touch "$PFS/out/f"',
    )
    assert (done.returncode, done.stderr) == (3, "datum: two: the command failed with exit code 3\n")
    ok(run("-a", "3", "-a", "4", "-d", "one", "x", "--", "sh", "-c", "exit 4"))
    assert run("-d", "one", "x", "--", "no-such-command").returncode == 127


@pytest.mark.parametrize(
    "arguments",
    [
        ["-d", "n", ""],
        ["-d", "n", "", "--"],
        ["--", "true"],
        ["-x", "--", "true"],
        ["-d", "n"],
        ["-e", "noequals", "-d", "n", "", "--", "true"],
        ["-e", "-u=1", "-d", "n", "", "--", "true"],
        ["-a", "x", "-d", "n", "", "--", "true"],
        ["-d", "n", "../x", "--", "true"],
        ["-d", "n", "", "-f", "out", "inputs/images", "/a", "--", "true"],
        ["-d", "n", "", "-f", "a/b", "inputs/images", "/a", "--", "true"],
        ["-d", "n", "", "-f", "a", "inputs/images", "/../../a", "--", "true"],
    ],
)
def test_wrong_arguments(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 126
    assert done.stderr.startswith("datum: ") and done.stderr.count("\n") == 1


def test_outputs_keep_their_tree_and_mode(run: Run) -> None:
    ok(
        run(
            "-d",
            "n",
            "./deep/er/",
            "--",
            "sh",
            "-c",
            'cd "$PFS/out"; mkdir -p a/b .c; echo 1 >a/b/f; echo 2 >.c/g; echo 3 >..d; echo 4 >x;'
            "chmod 755 x; chmod 444 a/b/f; chmod 555 a a/b",
        )
    )
    assert files(run.done / "deep/er") == {"a/b/f": "1\n", ".c/g": "2\n", "..d": "3\n", "x": "4\n"}
    assert os.access(run.done / "deep/er/x", os.X_OK)
    assert not stat.S_IMODE((run.done / "deep/er/a/b/f").stat().st_mode) & 0o111


def test_no_output_is_no_error(run: Run) -> None:
    ok(run("-d", "n", "", "--", "true"))
    assert files(run.done) == {}


def test_datums_of_a_set_merge_directories_but_not_files(run: Run) -> None:
    ok(
        run(
            "-d",
            "a",
            "",
            "-d",
            "b",
            "",
            "--",
            "sh",
            "-c",
            'mkdir -p "$PFS/out/s/t"; echo 1 >"$PFS/out/s/t/$MINIPACH_DATUM"',
        )
    )
    assert files(run.done) == {"s/t/a": "1\n", "s/t/b": "1\n"}
    shutil.rmtree(run.done)
    done = run("-d", "a", "x", "-d", "b", "x", "--", "sh", "-c", 'echo 1 >"$PFS/out/f"')
    assert (done.returncode, done.stderr) == (
        126,
        'datum: output b: "x/f" was written by another datum of this set too\n',
    )


@pytest.mark.parametrize(
    "name", ["code", "spec.yml", "inputs", ".datalad", ".minipach", ".gitmodules", "README.md", "README"]
)
def test_reserved_names(run: Run, name: str) -> None:
    message = f'datum: output "{name}" is a reserved name in a pipeline\'s repo; write elsewhere or set minipach.out\n'
    done = run("-d", "n", ".", "--", "sh", "-c", 'echo 1 >"$PFS/out/$1"', "sh", name)
    assert (done.returncode, done.stderr) == (126, message)
    done = run("-d", "n", f"./{name}/x", "--", "sh", "-c", 'echo 1 >"$PFS/out/f"')
    assert (done.returncode, done.stderr) == (126, message)
    ok(run("-d", "n", "sub", "--", "sh", "-c", 'echo 1 >"$PFS/out/$1"', "sh", name))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        ('mkfifo "$PFS/out/a"', '"a" is neither a file nor a directory'),
        ('mkdir -p "$PFS/out/s/.git"', "\"s/.git\" can't be kept: a dataset can't hold another's .git"),
        ('rm -r "$PFS/out"', "/pfs/out is gone; it must stay a directory"),
        ('rm -r "$PFS/out"; ln -s / "$PFS/out"', "/pfs/out is gone; it must stay a directory"),
        ('ln -s /etc/passwd "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
        ('ln -s ../../../../../../../../../etc "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
        ('ln -s nowhere "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
        ('ln -s x "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
        ('ln -s "$PWD/code/c" "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
        ('ln -s . "$PFS/out/x"', 'symbolic link "x" points to a directory that holds it'),
        (
            'mkdir "$PFS/d"; ln -s /etc/passwd "$PFS/d/p"; ln -s ../d "$PFS/out/x"',
            'symbolic link "x" leads to "d/p", which points outside /pfs',
        ),
    ],
)
def test_outputs_that_cannot_be_kept(run: Run, make: str, problem: str) -> None:
    run.write("code/c")
    done = run("-d", "n", "", "--", "sh", "-c", make)
    assert (done.returncode, done.stderr) == (126, f"datum: output n: {problem}\n")


@pytest.mark.parametrize("mode", ["-f", "-l"])
def test_links_become_what_they_point_to(run: Run, mode: str) -> None:
    run.annex("inputs/images/s/a", "A")
    run.annex("inputs/images/s/t/b", "B")
    make = (
        'cd "$PFS/out"; ln -s "$PFS/images/s/a" abs; ln -s ../images/s/a rel; ln -s rel twice;'
        ' ln -s "$PFS/images/s" dir;'
        ' mkdir d; echo f >d/f; ln -s ../d/f d/l; ln -s "$PFS/images/s/t/../a" d/up; ln -s "$PFS/images/s/t/" d/slash'
    )
    ok(run("-d", "n", "", mode, "images", "inputs/images", "/s", "--", "sh", "-c", make))
    assert files(run.done) == {
        "abs": "A",
        "rel": "A",
        "twice": "A",
        "dir/a": "A",
        "dir/t/b": "B",
        "d/f": "f\n",
        "d/l": "f\n",
        "d/up": "A",
        "d/slash/b": "B",
    }
    ok(
        run(
            "-d",
            "n",
            "again",
            mode,
            "images",
            "inputs/images",
            "/s",
            "--",
            "sh",
            "-c",
            'cp -RP "$PFS/images/s" "$PFS/out/"',
        )
    )
    assert files(run.done / "again") == {"s/a": "A", "s/t/b": "B"}


def test_lazy_inputs_are_links_where_the_dataset_is_read_only(run: Run, readonly: Callable[[Path], None]) -> None:
    run.annex("inputs/images/s/a", "A")
    run.write("inputs/images/.datalad/config")
    readonly(run.dataset)
    look = (
        'cd "$PFS/images"; readlink s/a >"$PFS/out/target"; ls -A >"$PFS/out/ls";'
        'ln -s "$PFS/images/s/a" "$PFS/out/same"'
    )
    ok(run("-d", "n", "", "-l", "images", "inputs/images", "/", "--", "sh", "-c", look))
    assert files(run.done) == {"target": f"{run.dataset}/inputs/images/s/a\n", "ls": "s\n", "same": "A"}


@pytest.fixture
def readonly() -> object:
    """Mounts a directory read-only onto itself, until the test ends."""
    mounted: list[Path] = []

    def mount(path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root")
        need("mount")
        if subprocess.run(["mount", "--bind", path, path], check=False, capture_output=True).returncode:
            pytest.skip("needs the right to mount")
        mounted.append(path)
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)

    yield mount
    for path in mounted:
        subprocess.run(["umount", path], check=True)


def test_it_needs_only_busybox(tmp_path: Path) -> None:
    """Runs with nothing on PATH but busybox's own tools."""
    need("busybox")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (
        "sh",
        "mkdir",
        "cp",
        "mv",
        "rm",
        "ln",
        "find",
        "readlink",
        "env",
        "chmod",
        "head",
        "cat",
        "ls",
    ):
        (tools / tool).symlink_to(str(shutil.which("busybox")))
    dataset = tmp_path / "ds"
    (dataset / "inputs/images").mkdir(parents=True)
    (dataset / "inputs/images/a").write_text("A")
    script = "-d n '' -f images inputs/images / -- sh -c 'ln -s ../images/a $PFS/out/b'"
    command = f"{shlex.quote(str(tools / 'sh'))} {shlex.quote(str(SCRIPT))} {script}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=dataset,
        env={"PATH": str(tools), "PFS": str(tmp_path / "pfs")},
        capture_output=True,
        text=True,
        check=False,
    )
    ok(done)
    assert files(tmp_path / "pfs/.minipach/done") == {"b": "A"}


# --- several datums in one run ----------------------------------------------------------------------------------

SEEN = 'seen=$(find "$PFS" -mindepth 1 ! -path "*/.minipach*" | sort); echo "$seen" > "$PFS/out/$MINIPACH_DATUM"'


@pytest.mark.parametrize(
    "leave",
    [
        ":",
        'touch "$PFS/images/more"',
        'touch "$PFS/images/.hidden"',
        'touch "$PFS/.hidden"',
        'mkdir "$PFS/images/folder"',
        'ln -s /etc "$PFS/images/link"',
        'ln -s /etc "$PFS/link"',
        'mkdir -p "$PFS/odd/folder"; chmod 500 "$PFS/odd"',
        'rm -rf "$PFS/images"; ln -s /etc "$PFS/images"',
        'chmod 500 "$PFS/images"; chmod 500 "$PFS"/masks',
        'mkfifo "$PFS/images/fifo"',
    ],
)
def test_a_datum_sees_nothing_of_the_one_before(run: Run, leave: str) -> None:
    for name in ("a", "b"):
        run.write(f"inputs/images/{name}")
        run.write(f"inputs/masks/{name}")
    one = ["-d", "1", "", "-f", "images", "inputs/images", "/a", "-f", "masks", "inputs/masks", "/a"]
    two = ["-d", "2", "", "-f", "images", "inputs/images", "/b"]
    three = ["-d", "3", "", "-f", "masks", "inputs/masks", "/b"]
    command = f'{SEEN}; [ "$MINIPACH_DATUM" != 1 ] || {{ {leave}; }}'
    done = run(*one, *two, *three, "--", "sh", "-c", command, MINIPACH_KEEP_GOING="1")
    assert done.returncode == 0, done.stderr
    seen = {name: text.replace(str(run.pfs), "").split() for name, text in files(run.done).items()}
    assert seen["2"] == ["/images", "/images/b", "/out"]
    assert seen["3"] == ["/masks", "/masks/b", "/out"]
    assert sorted(p.name for p in run.pfs.iterdir()) == [".minipach"]


# Some have a meaning for a shell, others are those of the script itself.
@pytest.mark.parametrize(
    "name",
    ["UID", "RANDOM", "PPID", "IFS", "secrets", "pfs", "word", "minipach_word", "value", "out", "n", "T1w", "_x"],
)
def test_every_variable_reaches_the_command_as_it_is(run: Run, name: str) -> None:
    """Also one that is named by an input and has a path from data, such as -v secrets=/pfs/secrets/FILE."""
    run.write("inputs/images/a")
    value = " a  b'\"$(touch x) `touch x`;touch${IFS}x\n"
    program = f"import os; e = os.environ; open(e['PFS'] + '/out/o', 'w').write(e['{name}'])"
    given = ["-v" if name.islower() else "-e", f"{name}={value}"]
    datum = ["-d", "1", "", "-f", "images", "inputs/images", "/a"]
    where = (*datum, *given) if name.islower() else (*given, *datum)
    ok(run(*where, "--", "python3", "-c", program))
    assert files(run.done) == {"o": value}
    assert sorted(p.name for p in run.dataset.iterdir()) == ["inputs"]


def test_outputs_that_nobody_may_read_are_kept_readable(run: Run) -> None:
    script = 'echo "$MINIPACH_DATUM" > "$PFS/out/$MINIPACH_DATUM"; chmod 000 "$PFS/out/$MINIPACH_DATUM"'
    ok(run("-d", "1", "", "-d", "2", "", "--", "sh", "-c", script))
    assert [stat.S_IMODE((run.done / name).stat().st_mode) & 0o600 for name in ("1", "2")] == [0o600, 0o600]


BUSY = "case $MINIPACH_DATUM in b) i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done ;; c) exit 3 ;; esac"


def test_a_worker_learns_what_each_datum_took(run: Run) -> None:
    """With nothing but the shell: a datum costs no process for it."""
    three = [word for name in "abc" for word in ("-d", name, "")]
    report = run.pfs / ".minipach" / "report"
    done = run(*three, "--", "sh", "-c", BUSY, MINIPACH_KEEP_GOING="1")
    assert done.returncode == 0, done.stderr
    shutil.copy(report / "marks", report.parent / "three")
    marks = read_marks(report.parent / "three", 3)
    spent = [after.cpu - before.cpu for before, after in pairwise(marks)]
    assert len(spent) == 3 and spent[1] > 0.05 and spent[1] > 2 * max(spent[0], spent[2])
    assert [m.clock for m in marks] == sorted(m.clock for m in marks)

    shutil.rmtree(report)
    assert run("-d", "c", "", "--", "sh", "-c", BUSY, MINIPACH_KEEP_GOING="1").returncode == 3
    assert len(read_marks(report / "marks", 1)) == 2, "one that failed by itself"

    shutil.rmtree(report)
    assert run("-d", "a", "", "--", "sh", "-c", BUSY).returncode == 0
    assert not report.exists(), "a rerun has no need of it"


def test_each_mark_in_the_log_has_a_word_that_no_command_gets_to_see(run: Run) -> None:
    """Also where a datum fails; a rerun prints no marks."""
    (run.pfs / ".minipach").mkdir(parents=True)
    (run.pfs / ".minipach/words").write_text("_w1_ _w2_ _w3_ _w4_\n")
    three = [word for name in "abc" for word in ("-d", name, "")]
    look = 'seen=$PFS/out/$MINIPACH_DATUM; cat /proc/$$/environ /proc/$PPID/environ /proc/$PPID/cmdline >"$seen"\n'
    look += 'set >>"$seen"\n'
    look += 'grep -rl _w[234]_ "$PFS/.minipach" && exit 9; echo it is "$MINIPACH_DATUM" >&2; [ "$MINIPACH_DATUM" != b ]'
    done = run(*three, "--", "sh", "-c", look, MINIPACH_KEEP_GOING="1")
    told = [line for line in done.stderr.splitlines() if line.startswith(("datum: begins", "it is"))]
    begins, shown = [f"datum: begins {n} _w{n}_" for n in (1, 2, 3)], ["it is a", "it is b", "it is c"]
    assert told == [*(line for pair in zip(begins, shown, strict=True) for line in pair), "datum: begins 0 _w4_"]
    assert not any(re.search("_w[234]_", text) for text in files(run.done).values())
    shutil.rmtree(run.pfs / ".minipach")
    assert "begins" not in run(*three, "--", "true").stderr


@pytest.mark.parametrize(
    "text", ["", "0 1.5\n", "junk\n\n\n", "0 1.5\nx\ny\n1 2.5\nx\ny\n", "0 \n0m0s 0m0s\n0m0s 0m0s\n"]
)
def test_marks_that_make_no_sense_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "marks").write_text(text)
    assert read_marks(tmp_path / "marks", 1) == ()


def test_marks_of_a_shell_with_a_decimal_comma(tmp_path: Path) -> None:
    (tmp_path / "marks").write_text("0 10.25\n0m0,010s 0m0,0s\n0m0,0s 0m0,0s\n1 12.5\n0m0,02s 0m0s\n1m1,5s 0m0,5s\n")
    assert read_marks(tmp_path / "marks", 1) == (Mark(10.25, 0.01), Mark(12.5, 62.02))
