"""How the launcher lays out inputs, what it passes to a command, and which outputs it takes."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from minipach.model import repo_layout
from tests.fixtures.container_images import images, squashfs
from tests.fixtures.launchers import (
    FILE,
    HOSTILE,
    Launcher,
    Way,
    datum,
    files,
    launch,
    ok,
    script_module,
    shell,
    use,
    ways,
)

__all__ = ["images", "launch"]

COPY = ("cp", "-RP", "{images}", "{out}")
S = ("-f", "images", "inputs/images", "/s")


def annex(launch: Launcher, path: str, text: str = "annexed\n") -> Path:
    """Make a file as git-annex has it: a link to a read-only file in a read-only directory."""
    key = f"SHA256E-s{len(text)}--{text.encode().hex()}"
    stored = launch.dataset.parent / "store" / "annex" / "objects" / "aa" / key / key
    if not stored.exists():
        stored.parent.mkdir(parents=True)
        stored.write_text(text)
        stored.chmod(0o444)
        stored.parent.chmod(0o555)
    link = launch.dataset / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(stored, link.parent))
    return stored


def run(launch: Launcher, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher without an image."""
    return launch(launch.image("host"), *arguments, **env)


# --- inputs ------------------------------------------------------------------------------------------------------


def test_hostile_names_are_only_names(launch: Launcher) -> None:
    words = []
    for mode in ("-f", "-l"):
        for name in HOSTILE:
            if mode == "-f":
                annex(launch, f"inputs/images/{name}/{name}", "A")
            found = (mode, "images", "inputs/images", f"/{name}/{name}")
            words += datum(name, f"{mode}/{name}", "-v", f"label=got {name}", *found)
    keep = 'cat "$1" >"$PFS/out/$label"; printf "%s" "$MINIPACH_DATUM" >"$PFS/out/name"; echo "$1" >"$PFS/out/path"'
    ok(run(launch, *words, *shell(keep, "{images}")))
    assert launch.outputs() == {
        f"{mode}/{name}/{file}": text
        for mode in ("-f", "-l")
        for name in HOSTILE
        for file, text in ((f"got {name}", "A"), ("name", name), ("path", f"/pfs/images/{name}/{name}\n"))
    }


def test_arguments_are_replaced_once_and_exactly(launch: Launcher) -> None:
    words = []
    for number, name in enumerate(HOSTILE):
        launch.write(f"inputs/images/{name}", "A")
        words += datum("n", str(number), "-f", "images", "inputs/images", f"/{name}", "-r", "key", name)
        words += ["-r", "1", "{out}"]
    given = "{{images}} {other} {a/b} { } {images}{out} {key} {1}"
    ok(run(launch, *words, *shell('printf "%s" "$1" >"$PFS/out/said"', given)))
    for number, name in enumerate(HOSTILE):
        path = f"/pfs/images/{name}"
        said = f"{{{{images}}}} {{other}} {{a/b}} {{ }} {path}/pfs/out {name} {{out}}"
        assert (launch.dataset / str(number) / "said").read_text() == said


@pytest.mark.parametrize("options", [(), ("-W",)], ids=["read-only", "writable"])
@ways([("bubblewrap", "host"), ("charliecloud", "full directory"), ("none", "host")])
def test_no_datum_sees_inputs_of_the_one_before(launch: Launcher, way: Way, options: tuple[str, ...]) -> None:
    """Also where two have a folder in common, and where the folder of one is the file of the next."""
    matches = ["a/b/one", "a/b/two", "a/c/three", "a/b/c/four", "d", "a/c", "e/one"]
    for number, path in enumerate(matches):
        launch.write(f"inputs/{number}/{path}")
    (launch.dataset / "inputs/6/e/link").symlink_to("one")
    words = []
    for number, path in enumerate([*matches, "e/link", "a/b/one"]):
        place = f"inputs/{(*range(len(matches)), 6, 0)[number]}"
        words += datum(f"n{number}", str(number), "-f", "images", place, f"/{path}")
    spoil = (
        'mkdir -p "$PFS/images/left" "$PFS/images/a/left"; touch "$PFS/images/a/left/f"' if "none" not in way else ":"
    )
    script = (
        f'(cd "$PFS/images" && find . | sort) >/tmp/l$$ && cat /tmp/l$$ >"$PFS/out/seen"; ({spoil}) 2>/dev/null; true'
    )
    done = launch(launch.image(way[1]), *options, *words, *shell(script), **use(way))
    assert done.returncode == 0, done.stderr

    def seen(path: str) -> str:
        parts = path.split("/")
        return "\n".join([".", *("./" + "/".join(parts[: n + 1]) for n in range(len(parts)))]) + "\n"

    expected = [seen(path) for path in [*matches, "e/link", "a/b/one"]]
    assert [(launch.dataset / str(n) / "seen").read_text() for n in range(len(expected))] == expected


def test_several_matches_of_an_input_name_its_directory(launch: Launcher) -> None:
    for name in "ab":
        annex(launch, f"inputs/images/{name}")
    both = [word for name in "aba" for word in ("-f", "images", "inputs/images", f"/{name}")]
    script = 'ls "$1" >"$PFS/out/seen"; echo "$1" >>"$PFS/out/seen"'
    ok(run(launch, *datum("n", "", *both), *shell(script, "{images}")))
    assert launch.outputs() == {"seen": "a\nb\n/pfs/images\n"}


def test_a_folder_that_a_worker_laid_out_is_given_as_it_is(launch: Launcher) -> None:
    """A worker leaves out what is no data; of a repository, the launcher does it (below)."""
    shutil.rmtree(launch.dataset / "inputs/images")
    kept = {"a", "sub/.datalad/kept", "spec.yml", "code/c", "README.md", ".hidden", "..odd"}
    for path in kept:
        launch.write(f"inputs/images/{path}", "k")
    launch.write("inputs/images/sub/.git/config")
    ok(run(launch, *datum("n", "x", "-f", "images", "inputs/images", "/"), "--", *COPY))
    assert set(launch.outputs()) == {f"x/images/{path}" for path in kept}


def test_annexed_files_become_files_and_plain_links_stay(launch: Launcher) -> None:
    stored = annex(launch, "inputs/images/s/b", "B")
    folder = launch.dataset / "inputs/images/s"
    (folder / "link").symlink_to("b")
    (folder / "to dir").symlink_to("../s")
    seen = (
        'cd "$PFS/images/s"; for f in *; do [ -L "$f" ] && echo "$f link" || echo "$f file"; done >"$PFS/out/seen";'
        'cat link >>"$PFS/out/seen"; (echo evil >>b) 2>/dev/null; chmod 777 b 2>/dev/null; ln b "$PFS/out/hard"; true'
    )
    done = run(launch, *datum("n", "", *S), *shell(seen))
    assert done.returncode == 0, done.stderr
    assert launch.outputs() == {"seen": "a file\nb file\nlink link\nto dir link\nB"}, "a hard link out of /pfs fails"
    assert stored.read_text() == "B" and stat.S_IMODE(stored.stat().st_mode) == 0o444


def test_many_files_of_one_directory(launch: Launcher) -> None:
    for number in range(1000):
        launch.write(f"inputs/images/m/{number}", str(number))
    ok(run(launch, *datum("n", "", "-f", "images", "inputs/images", "/m"), "--", *COPY))
    assert launch.outputs() == {f"m/{n}": str(n) for n in range(1000)}


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_empty_files_are_names_and_a_link_to_one_publishes_its_content(launch: Launcher, runtime: str) -> None:
    annex(launch, "inputs/images/s/b", "BB")
    launch.write("inputs/images/s/t/c", "CCC")
    script = (
        'cd "$PFS/images/s"; for f in a b t/c; do [ ! -s $f ] || echo "$f has content" >{out}/no; done; cp a {out}/a;'
        'ln -s "$PFS/images/s/b" {out}/b; mkdir {out}/x; ln -s ../../images/s/a {out}/x/a; ln -s {images} {out}/all'
    )
    done = run(launch, *datum("n", "to", "-z", "images", "inputs/images", "/s"), *shell(script), **use(runtime))
    ok(done)
    assert launch.outputs() == {
        "to/a": "",
        "to/b": "BB",
        "to/x/a": "A",
        "to/all/a": "A",
        "to/all/b": "BB",
        "to/all/t/c": "CCC",
    }


def test_content_that_is_not_here_is_named(launch: Launcher) -> None:
    gone = launch.dataset / "inputs/images/b"
    gone.symlink_to(".git/annex/objects/not/here/KEY-s1--x")
    done = run(launch, *datum("n", "", "-f", "images", "inputs/images", "/b"), "--", "true")
    assert done.returncode == 126
    assert done.stderr == f"datum: n: {gone}: its content is not here; fetch it with: datalad get {gone}\n"
    done = run(launch, *datum("n", "", "-f", "images", "inputs/images", "/c"), "--", "true")
    assert (done.returncode, done.stderr) == (126, f"datum: n: {launch.dataset}/inputs/images/c: no such input\n")


@pytest.mark.parametrize("mode", ["-f", "-l", "-z"])
def test_what_a_command_without_a_container_does_to_its_inputs_stays_with_it(launch: Launcher, mode: str) -> None:
    stored = annex(launch, "inputs/images/s/b", "B")
    plain = launch.dataset / "inputs/images/s/a"
    plain.chmod(0o640)
    harm = (
        'cd "$PFS/images/s"; chmod 777 . a b; echo evil >>a; echo evil >>b; rm a; echo new >n; ln -s / "$PFS/root";'
        'rm -rf "$PFS/images"; ln -s "$1" "$PFS/images"'
    )
    words = (*datum("n", "", mode, "images", "inputs/images", "/s"), *datum("m", "", *S))
    script = f'if [ $MINIPACH_DATUM = n ]; then {harm}; else ls {{images}} >{{out}}/seen; ls "$PFS" >>{{out}}/seen; fi'
    done = run(launch, *words, *shell(script, f"{launch.dataset}/inputs/images"), **use("none"))
    assert done.returncode == 0, done.stderr
    assert "the command changed its copy of images/s/" in done.stderr
    assert launch.outputs() == {"seen": "a\nb\nimages\nout\n"}
    assert (stored.read_text(), plain.read_text()) == ("B", "A")
    assert [stat.S_IMODE(p.stat().st_mode) for p in (stored, plain)] == [0o444, 0o640]
    assert sorted(p.name for p in plain.parent.iterdir()) == ["a", "b"] and launch.clean()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ('echo evil >"$PFS/images/s/b c"', "images/s/b c"),
        ('rm "$PFS/images/s/a"', "images/s/a"),
        ('echo evil >"$CODE/run.sh"', "pipeline/code/run.sh"),
        ('cat "$PFS/images/s/a"; echo aside >"$PFS/images/s/new"', ""),
    ],
)
def test_a_command_that_changes_its_copy_of_an_input_is_told_of(launch: Launcher, harm: str, told: str) -> None:
    launch.write("inputs/images/s/b c", "B")
    launch.write("code/run.sh", "good")
    (launch.dataset / "inputs/images/s/link").symlink_to("a")
    script = f"CODE=$PWD/code; [ $MINIPACH_DATUM = two ] || {{ {harm}; }}; cat code/run.sh >{{out}}/$MINIPACH_DATUM"
    done = run(launch, *datum("one", "", *S), *datum("two", "", *S), *shell(script), **use("none"))
    line = f"datum: one: the command changed its copy of {told}; the source is as it was\n"
    assert (done.returncode, done.stderr) == (0, line if told else "")
    assert (launch.dataset / "two").read_text() == "good"


# --- variables, input, working directory, exit codes ---------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_each_datum_has_its_own_environment_inputs_and_output(launch: Launcher, runtime: str) -> None:
    launch.write("inputs/images/a", "A")
    launch.write("inputs/images/b", "B")
    one = datum("a", "x", "-v", "only=1", "-v", "p=/pfs/images/a", "-f", "images", "inputs/images", "/a")
    two = datum("b", "x/y", "-v", "p=/pfsx", "-f", "pictures", "inputs/images", "/b")
    script = 'ls "$PFS" >"$PFS/out/$MINIPACH_DATUM"; echo "${only-} $all ${p#$PFS/} {pictures}" >>{out}/$MINIPACH_DATUM'
    ok(run(launch, "-e", "all=2", *one, *two, *shell(script), **use(runtime)))
    found = {path: re.sub(r"/\S*(/pfs/pictures)", r"\1", text) for path, text in launch.outputs().items()}
    assert found == {
        "x/a": "images\nout\n1 2 images/a {pictures}\n",
        "x/y/b": "out\npictures\n 2 /pfsx /pfs/pictures/b\n",
    }


def test_every_variable_reaches_the_command_as_it_is(launch: Launcher) -> None:
    """Some names have a meaning for a shell, others were those of earlier launchers; values hold anything."""
    value = " a  b'\"$(touch x) `touch x`;touch${IFS}x\n\\$HOME:$HOME"
    program = "import json, os; json.dump(dict(os.environ), open('/pfs/out/o', 'w'))"
    names = ["UID", "RANDOM", "PPID", "IFS", "ENV", "BASH_ENV", "PS4", "secrets", "pfs", "word", "out", "n", "_x"]
    words = [word for name in names for word in ("-e", f"{name}={value}")]
    ok(run(launch, *words, *datum("1", "", "-v", f"T1w={value}"), "--", "python3", "-c", program))
    seen = json.loads(launch.outputs()["o"])
    assert {name: seen.get(name) for name in (*names, "T1w")} == dict.fromkeys((*names, "T1w"), value)


def test_a_variable_of_the_record_comes_before_our_own(launch: Launcher) -> None:
    ok(run(launch, *datum("1", "", "-v", "MINIPACH_DATUM=datum"), *shell('echo x >"{out}/$MINIPACH_DATUM"')))
    assert launch.outputs() == {"datum": "x\n"}


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_working_directory(launch: Launcher, runtime: str) -> None:
    launch.write("code/where", "here")
    env = use(runtime)
    ok(run(launch, *datum("n", "", *S), "--", "cp", "code/where", "{out}/1", **env))
    ok(run(launch, "-w", "code", *datum("n"), "--", "cp", "where", "{out}/2", **env))
    ok(run(launch, "-w", "/pfs/out", *datum("m", "m"), "--", "touch", "there", **env))
    ok(run(launch, "-P", "deep/er", *datum("m", "m"), *shell('pwd | sed "s,.*/deep/,," >{out}/pwd'), **env))
    assert launch.outputs() == {"1": "here", "2": "here", "m/there": "", "m/pwd": "er\n"}
    done = run(launch, "-w", "nowhere", *datum(), "--", "true", **env)
    assert done.returncode == 126 and "nowhere" in done.stderr


def test_the_image_s_working_directory(launch: Launcher) -> None:
    for image, runtime in (("directory", "bubblewrap"), ("full directory", "charliecloud")):
        ok(launch(launch.image(image), "-W", *datum(), *shell("pwd >{out}/pwd"), **use(runtime)))
        assert launch.outputs() == {"pwd": "/\n"}


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("#!/bin/sh\ncd /srv/app/\nexec /bin/sh\n", "/srv/app"),  # as singularity writes a Dockerfile's WORKDIR
        ('cd "$(touch /tmp/x)"\ncd relative\ncd /a; touch x\n', "/"),
        ("", "/"),
    ],
)
def test_the_working_directory_that_singularity_s_files_name(launch: Launcher, text: str, there: str) -> None:
    folder = launch.dataset / "image"
    shutil.copytree(launch.images.directory(mount_points=True), folder, symlinks=True)
    (folder / "srv/app").mkdir(parents=True)
    (folder / ".singularity.d").mkdir()
    (folder / ".singularity.d/runscript").write_text(text)
    squashed = squashfs(folder, launch.dataset / "image.sqfs")
    for image, runtime in ((folder, "bubblewrap"), (folder, "charliecloud"), (squashed, "bubblewrap")):
        words = ["-W", *datum("a", "a"), *datum("b", "b")]
        ok(launch(image, *words, *shell('pwd >"$PFS/out/pwd"'), **use(runtime)))
        assert (launch.dataset / "a/pwd").read_text() == (launch.dataset / "b/pwd").read_text() == f"{there}\n"
    (folder / ".singularity.d/runscript").unlink()
    (folder / ".singularity.d/runscript").symlink_to(launch.write("elsewhere", "cd /srv/app\n"))
    ok(launch(folder, "-W", *datum("a", "a"), *shell('pwd >"$PFS/out/pwd"'), **use("bubblewrap")))
    assert (launch.dataset / "a/pwd").read_text() == "/\n", "no link is followed"


def test_exit_codes(launch: Launcher) -> None:
    three = [word for name in ("one", "two", "three") for word in datum(name, name)]
    script = '[ $MINIPACH_DATUM != two ] || exit 3; touch "$PFS/out/f"'
    done = run(launch, *three, *shell(script))
    assert (done.returncode, done.stderr) == (3, "datum: two: the command failed with exit code 3\n")
    assert launch.outputs() == {}
    done, report = launch.reported(launch.image("host"), *three, *shell(script))
    assert (done.returncode, launch.outputs()) == (0, {"one/f": "", "three/f": ""}), "a worker keeps what is good"
    assert [row["code"] for row in report["datums"]] == [0, 3, 0]
    ok(run(launch, "-a", "3", "-a", "4", *datum("one", "x"), *shell("touch {out}/4; exit 4")))
    assert (launch.dataset / "x/4").exists()


def test_what_a_worker_is_told(launch: Launcher) -> None:
    """The report: exit code, fault, times, and each output's two paths."""
    script = """
    case $MINIPACH_DATUM in
      busy) i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done ;;
      bad) ln -s /etc/passwd "$PFS/out/x" ;;
      fails) exit 9 ;;
    esac
    mkdir "$PFS/out/d"; echo 1 >"$PFS/out/d/$MINIPACH_DATUM"
    """
    four = [word for name in ("busy", "bad", "fails", "fine") for word in datum(name, "to")]
    done, report = launch.reported(launch.image("host"), *four, "-x", "false", *shell(script))
    assert done.returncode == 0
    assert report["schema"] == 1 and set(report) == {"schema", "datums"}
    busy, bad, fails, fine = report["datums"]
    assert [row["files"] for row in report["datums"]] == [[["d/busy", "to/d/busy"]], [], [], [["d/fine", "to/d/fine"]]]
    assert [row["code"] for row in report["datums"]] == [0, 126, 9, 0]
    assert bad["fault"] == 'symbolic link "x" points outside /pfs' and fails["fault"] == ""
    assert [row["recovered"] or row["timed_out"] for row in report["datums"]] == [False] * 4
    assert busy["cpu"] > 0.05 and busy["cpu"] > 2 * fine["cpu"]
    for row in report["datums"]:
        assert row["seconds"] >= 0 and row["began"] <= row["ended"]
        assert set(row) == {
            "code",
            "fault",
            "recovered",
            "timed_out",
            "files",
            "began",
            "ended",
            "seconds",
            "cpu",
            "disk",
        }
    done, report = launch.reported(launch.image("host"), *datum("fails"), *shell(script))
    assert (done.returncode, report["datums"][0]["code"]) == (9, 9)


def test_err_cmd_sees_the_datum_and_its_own_input(launch: Launcher) -> None:
    mend = ["read word; test -e {out}/half && cat {images} && echo $word for $MINIPACH_DATUM {key}"]
    words = ["-x", "sh", "-x", "-c", "-x", *mend, "-j", "sorry"]
    done, report = launch.reported(
        launch.image("host"),
        *datum("bad", "", *FILE, "-r", "key", "K"),
        *words,
        *shell("touch {out}/half; exit 3"),
    )
    assert (done.stdout, done.returncode) == ("Asorry for bad K\n", 3)
    assert (report["datums"][0]["recovered"], report["datums"][0]["files"]) == (True, [])
    assert launch.outputs() == {}


def test_a_datum_that_writes_nothing(launch: Launcher) -> None:
    done = run(launch, *datum("n"), "--", "true")
    assert (done.returncode, done.stderr) == (0, "datum: n: the command wrote nothing to /pfs/out\n")
    done, report = launch.reported(launch.image("host"), "-q", "required", *datum("n"), "--", "mkdir", "{out}/d")
    fault = "the command wrote nothing to /pfs/out, and the spec requires output"
    assert (done.returncode, done.stderr, report["datums"][0]["fault"]) == (126, f"datum: n: {fault}\n", fault)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-d", "n", ""],
        ["-d", "n", "", "--"],
        ["-d", "n"],
        ["-d", "n", "", "true"],
        ["--unknown", "--", "true"],
        ["-v", "k=v", "--", "true"],
        ["-e", "noequals", "-d", "n", "", "--", "true"],
        ["-e", "=1", "-d", "n", "", "--", "true"],
        ["-a", "x", "-d", "n", "", "--", "true"],
        ["-t", "0", "-d", "n", "", "--", "true"],
        ["-t", "-1", "-d", "n", "", "--", "true"],
        ["-L", "heat=1", "--", "true"],
        ["-L", "memory=much", "--", "true"],
        ["-E", "LD_PRELOAD", "--", "true"],
        ["-s", "TOKEN", "--", "true"],
        ["-s", "TOKEN=HOME", "--", "true"],
        ["-s", "T;x=MINIPACH_SECRET_A", "--", "true"],
        ["-s", "1=MINIPACH_SECRET_A", "--", "true"],
        ["-s", "A=MINIPACH_SECRET_$(x)", "--", "true"],
        ["-s", "LD_PRELOAD=MINIPACH_SECRET_A", "--", "true"],
        ["-S", "relative=MINIPACH_SECRET_A", "--", "true"],
        ["-S", "/a/../../b=MINIPACH_SECRET_A", "--", "true"],
        ["-S", "/a,source=/etc,target=/b=MINIPACH_SECRET_A", "--", "true"],
        ["-S", "/a:/b=MINIPACH_SECRET_A", "--", "true"],
        ["-S", "/=MINIPACH_SECRET_A", "--", "true"],
        ["-P", "../x", "--", "true"],
        ["-d", "n", "../x", "--", "true"],
        ["-d", "n", "", "-f", "out", "inputs/images", "/a", "--", "true"],
        ["-d", "n", "", "-f", "..", "inputs/images", "/a", "--", "true"],
        ["-d", "n", "", "-f", "a/b", "inputs/images", "/a", "--", "true"],
        ["-d", "n", "", "-f", "a", "inputs/images", "/../../a", "--", "true"],
        ["-d", "n", "", "-f", "a", "../images", "/a", "--", "true"],
        ["-d", "n", "", "-n", "", "word", "--", "true"],
    ],
)
def test_wrong_arguments(launch: Launcher, arguments: list[str]) -> None:
    done = run(launch, *arguments)
    assert done.returncode == 125
    assert done.stderr.startswith("launch: ") and done.stderr.count("\n") == 1
    assert launch.clean()


# --- neutral names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_neutral_names_both_ways(launch: Launcher, runtime: str) -> None:
    """Whole words of paths only; content is never touched."""
    for name in ("sub-02/anat/sub-02_T1w.nii", "sub-02/sub-021.txt", "sub-02/xsub-02.txt", "rest/eyes/n"):
        launch.write(f"inputs/t1/{name}", f"of sub-02: {name}")
    neutral = ("-n", "datum1", "sub-02", "-n", "datum2", "rest")
    words = datum("sub-02", "sub-02", *neutral, "-f", "t1", "inputs/t1", "/sub-02", "-f", "b", "inputs/t1", "/rest")
    script = (
        'cd "$PFS"; find t1 b -type f | sort >{out}/datum1_seen.txt; echo {t1} {b} | sed "s,$PFS,/pfs,g" >{out}/words;'
        "mkdir {out}/datum2; cp t1/datum1/anat/* {out}/datum2/; : >{out}/datum2-datum1.datum11;"
        ': >"{out}/sub-02_own"; ln -s "$PFS"/b/datum2 {out}/link'
    )
    done, report = launch.reported(
        launch.image("host"), *words, "-v", "MINIPACH_DATUM=datum1", *shell(script), **use(runtime)
    )
    ok(done)
    assert launch.outputs() == {
        "sub-02/sub-02_seen.txt": "\n".join(
            ["b/datum2/eyes/n", "t1/datum1/anat/datum1_T1w.nii", "t1/datum1/sub-021.txt", "t1/datum1/xsub-02.txt", ""]
        ),
        "sub-02/words": "/pfs/t1/datum1 /pfs/b/datum2\n",
        "sub-02/rest/sub-02_T1w.nii": "of sub-02: sub-02/anat/sub-02_T1w.nii",
        "sub-02/rest-sub-02.datum11": "",
        "sub-02/sub-02_own": "",
        "sub-02/link/eyes/n": "of sub-02: rest/eyes/n",
    }
    pairs = {seen: final for seen, final in report["datums"][0]["files"]}
    assert pairs["datum1_seen.txt"] == "sub-02/sub-02_seen.txt"


def test_two_outputs_that_would_have_one_name(launch: Launcher) -> None:
    script = ": >{out}/datum; : >{out}/liberty"
    done = run(launch, *datum("x", "", "-n", "datum", "liberty"), *shell(script))
    assert done.returncode == 126
    assert done.stderr == 'datum: x: outputs "datum" and "liberty" would have one path, liberty\n'


def test_a_neutral_name_that_leads_to_a_reserved_one(launch: Launcher) -> None:
    done = run(launch, *datum("x", "", "-n", "datum", "code"), *shell("mkdir {out}/datum; : >{out}/datum/f"))
    assert done.returncode == 126 and 'output "code" is a reserved name' in done.stderr


# --- outputs -----------------------------------------------------------------------------------------------------


def test_outputs_keep_their_tree_and_mode(launch: Launcher) -> None:
    script = (
        "cd {out}; mkdir -p a/b .c; echo 1 >a/b/f; echo 2 >.c/g; echo 3 >..d; echo 4 >x; echo 5 >none;"
        "chmod 755 x; chmod 444 a/b/f; chmod 0 none; chmod 555 a; chmod 0 a/b; echo 6 >s; chmod 6755 s"
    )
    ok(run(launch, *datum("n", "./deep/er/"), *shell(script)))
    top = launch.dataset / "deep/er"
    assert files(top) == {"a/b/f": "1\n", ".c/g": "2\n", "..d": "3\n", "x": "4\n", "none": "5\n", "s": "6\n"}
    modes = {name: stat.S_IMODE((top / name).stat().st_mode) for name in files(top)}
    assert modes == {"a/b/f": 0o644, ".c/g": 0o644, "..d": 0o644, "x": 0o755, "none": 0o644, "s": 0o755}
    ok(run(launch, *datum("n", "./deep/er/"), *shell(script.replace("echo 1", "echo new"))))
    assert (top / "a/b/f").read_text() == "new\n"


def test_outputs_with_hostile_names(launch: Launcher) -> None:
    names = [name for name in HOSTILE if name != "{o}"]
    words = [word for name in names for word in datum(name, f"of/{name}")]
    script = 'mkdir -- "{out}/$MINIPACH_DATUM" && echo 1 >"{out}/$MINIPACH_DATUM/$MINIPACH_DATUM"'
    for _ in range(2):
        ok(run(launch, *words, *shell(script)))
        assert launch.outputs() == {f"of/{name}/{name}/{name}": "1\n" for name in names}


def test_datums_of_a_set_merge_directories_but_not_files(launch: Launcher) -> None:
    two = (*datum("a"), *datum("b"))
    ok(run(launch, *two, *shell('mkdir -p "$PFS/out/s/t"; echo 1 >"$PFS/out/s/t/$MINIPACH_DATUM"')))
    assert launch.outputs() == {"s/t/a": "1\n", "s/t/b": "1\n"}
    done, report = launch.reported(
        launch.image("host"), *datum("a", "x"), *datum("b", "x"), *shell('echo $MINIPACH_DATUM >"$PFS/out/f"')
    )
    assert done.stderr == 'datum: b: output "x/f" was written by datum "a", too\n'
    assert [row["code"] for row in report["datums"]] == [0, 126] and launch.outputs()["x/f"] == "a\n"
    script = "[ $MINIPACH_DATUM = a ] && : >{out}/g || { mkdir {out}/g && : >{out}/g/h; }"
    done = run(launch, *two, *shell(script))
    assert (done.returncode, done.stderr) == (
        126,
        'datum: b: output "g" is a file of datum "a", and a folder in "g/h"\n',
    )
    done = run(launch, *datum("b"), *datum("a"), *shell(script))
    line = 'datum: a: output "g" is a file, and datum "b" has a folder there\n'
    assert (done.returncode, done.stderr) == (126, line)
    assert not (launch.dataset / "g").exists()


NAMES = [
    *(
        "code",
        "inputs",
        "spec.yml",
        "spec.yaml",
        "spec.json",
        "README",
        "README.md",
        "READMEx",
        ".datalad",
        ".minipach",
    ),
    *(".gitmodules", ".gitattributes", ".gitx", "Code", "readme", "codex", "xcode", "inputs.txt", "spec", "spec.ymlx"),
    *(".hidden", "..", ".dataladx", "git", "datalad", "README/x"[:6], "a b", "ümläut", ".g", "out", "pfs"),
]


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_reserved_names_are_the_same_on_both_sides(name: str) -> None:
    """One table, in Python and in the launcher, which must not need minipach."""
    script = script_module()
    assert script.reserved_in_pipeline(name) == repo_layout.reserved_in_pipeline(name)
    assert script.reserved_in_data(name) == repo_layout.reserved_in_data(name)
    assert not script.reserved_in_data(name) or script.reserved_in_pipeline(name)


def test_reserved_names_are_refused_as_outputs(launch: Launcher) -> None:
    script = script_module()
    reserved = [name for name in dict.fromkeys(NAMES) if script.reserved_in_pipeline(name)]
    assert len(reserved) > 10
    words = [word for name in reserved for word in datum(name, "")]
    _, report = launch.reported(launch.image("host"), *words, *shell('echo 1 >"$PFS/out/$MINIPACH_DATUM"'))
    for name, row in zip(reserved, report["datums"], strict=True):
        fault = (
            f"output {json.dumps(name)} is a reserved name in a pipeline's repo; write elsewhere or set minipach.out"
        )
        assert row["code"] == 126
        assert row["fault"] == fault or (name.lower() == ".gitattributes" and "git would change" in row["fault"])
    words = [word for name in reserved for word in datum(name, f"./{name}/x")]
    _, report = launch.reported(launch.image("host"), *words, *shell('echo 1 >"$PFS/out/f"'))
    assert {row["code"] for row in report["datums"]} == {126}
    assert launch.outputs() == {}
    reserved = [name for name in reserved if name.lower() != ".gitattributes"]  # refused everywhere
    words = [word for name in reserved for word in datum(name, "sub")]
    ok(run(launch, *words, *shell('echo 1 >"$PFS/out/$MINIPACH_DATUM"')))
    assert {path.name for path in (launch.dataset / "sub").iterdir()} == set(reserved)


@pytest.mark.parametrize("batch", [(), ("-b",)], ids=["", "batch"])
def test_outputs_larger_than_the_disk_are_refused_though_they_are_holes(
    launch: Launcher, batch: tuple[str, ...]
) -> None:
    """To hash one would take hours, beyond every time limit."""
    found = os.statvfs(launch.dataset)
    size = found.f_blocks * found.f_frsize // 2
    script = 'import os\nif os.environ.get("MINIPACH_DATUM") == "b" or not os.system("minipach-next"):\n'
    script += f"    for n in '1', '2', '3':\n        os.truncate(os.open('/pfs/out/' + n, 65, 0o600), {size})\n"
    words = [*batch, *datum("b")]
    _, report = launch.reported(launch.image("host"), *words, "--", "python3", "-c", script, **use("bubblewrap"))
    (row,) = report["datums"]
    assert (row["code"], row["fault"]) == (
        126,
        'output "3" makes the outputs larger than the whole disk, holes included',
    )
    assert launch.clean()


ODD = [
    (".git", "a dataset can't hold another's .git"),
    (".GIT", "git refuses the name"),
    (".git.", "git refuses the name"),
    (".git ", "git refuses the name"),
    ("git~1", "git refuses the name"),
    (".gitattributes", "git would change other outputs by it"),
    (".GitAttributes", "git would change other outputs by it"),
    ("GIT~1", "git refuses the name"),
    ("new\nline", "a line break in its name"),
    ("back\\slash", "a backslash in its name"),
    ("\udcff", "its name is not UTF-8"),
]


def test_names_that_git_or_datalad_can_not_keep(launch: Launcher) -> None:
    words = [word for number, _ in enumerate(ODD) for word in datum(str(number), "")]
    cases = "".join(f"{n}) name=$(printf '{escaped(name)}.'); name=${{name%.}};;\n" for n, (name, _) in enumerate(ODD))
    script = f'case $MINIPACH_DATUM in {cases} esac\nmkdir -p "$PFS/out/s/$name" && : >"$PFS/out/s/$name/f"'
    _, report = launch.reported(launch.image("host"), *words, *shell(script))
    for (name, why), row in zip(ODD, report["datums"], strict=True):
        assert row["code"] == 126 and why in row["fault"], name
    assert launch.outputs() == {}


def escaped(name: str) -> str:
    """A name for printf."""
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(name))


REFUSED = [
    ('mkfifo "$PFS/out/a"', 'output "a" is neither a file nor a directory'),
    (
        "cd {out} && python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('a')\"",
        'output "a" is neither a file',
    ),
    ('mkdir -p "$PFS/out/s/.git"', 'output "s/.git" can\'t be kept'),
    ('ln -s /etc/passwd "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
    ('ln -s ../../../../../../../../../etc "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
    ('ln -s /pfs/../etc/passwd "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
    ('ln -s nowhere "$PFS/out/x"', 'symbolic link "x" points to nothing'),
    ('ln -s x "$PFS/out/x"', 'symbolic link "x" leads in a circle'),
    ('ln -s "$PWD/code/c" "$PFS/out/x"', 'symbolic link "x" points outside /pfs'),
    ('ln -s . "$PFS/out/x"', 'symbolic link "x" points to a directory that holds it'),
    ('ln -s .. "$PFS/out/x"', 'symbolic link "x" points'),
    ('ln -s "$PFS" "$PFS/out/x"', 'symbolic link "x" points'),
    ("mkdir {out}/d; ln -s ../../images {out}/d/x; ln -s d/x {out}/y; ln -s /etc {out}/d/z", '"d/z" points outside'),
]


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_outputs_that_can_not_be_kept(launch: Launcher, runtime: str) -> None:
    launch.write("code/c")
    words = [word for number, _ in enumerate(REFUSED) for word in datum(str(number), "", *S)]
    cases = "".join(f"{n}) {make} ;;\n" for n, (make, _) in enumerate(REFUSED))
    done, report = launch.reported(
        launch.image("host"), *words, *shell(f"case $MINIPACH_DATUM in {cases} esac"), **use(runtime)
    )
    for (make, problem), row in zip(REFUSED, report["datums"], strict=True):
        assert row["code"] == 126 and problem in row["fault"], (make, done.stderr)
    assert launch.outputs() == {}


@pytest.mark.parametrize(
    "what", ['rm -r "$PFS/out"', 'rm -r "$PFS/out"; ln -s / "$PFS/out"', 'rm -r "$PFS/out"; : >"$PFS/out"']
)
def test_the_output_folder_must_stay(launch: Launcher, what: str) -> None:
    """In a container it is a mount point, so that it can't go."""
    done = run(launch, *datum("n"), *shell(what), **use("none"))
    assert (done.returncode, done.stderr) == (126, "datum: n: /pfs/out is gone; it must stay a directory\n")
    done = run(launch, *datum("n"), *shell(f"( {what} ) 2>/dev/null; : >{{out}}/kept"), **use("bubblewrap"))
    ok(done)
    assert launch.outputs() == {"kept": ""}


def test_what_lies_behind_a_link_in_the_place_of_the_output_folder_is_not_counted(launch: Launcher) -> None:
    launch.write("large", "x" * 1_000_000)
    script = f'rm -r "$PFS/out"; ln -s "{launch.dataset}" "$PFS/out"'
    _, report = launch.reported(launch.image("host"), *datum("n"), *shell(script), **use("none"))
    assert report["datums"][0]["code"] == 126
    assert report["datums"][0]["disk"] < 1_000_000


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
@pytest.mark.parametrize("mode", ["-f", "-l"])
def test_links_become_what_they_point_to(launch: Launcher, mode: str, runtime: str) -> None:
    annex(launch, "inputs/images/s/b", "B")
    annex(launch, "inputs/images/s/t/c", "C")
    make = (
        'cd "$PFS/out"; ln -s "$PFS/images/s/b" abs; ln -s ../images/s/a rel; ln -s rel twice;'
        ' ln -s "$PFS/images/s" dir; echo h >h; ln h h2;'
        ' mkdir d; echo f >d/f; ln -s ../d/f d/l; ln -s "$PFS/images/s/t/../a" d/up; ln -s "$PFS/images/s/t/" d/slash'
    )
    ok(run(launch, *datum("n", "", mode, "images", "inputs/images", "/s"), *shell(make), **use(runtime)))
    assert launch.outputs() == {
        "abs": "B",
        "rel": "A",
        "twice": "A",
        "h": "h\n",
        "h2": "h\n",
        "dir/a": "A",
        "dir/b": "B",
        "dir/t/c": "C",
        "d/f": "f\n",
        "d/l": "f\n",
        "d/up": "A",
        "d/slash/c": "C",
    }
    made = launch.dataset
    assert (made / "h").stat().st_ino != (made / "h2").stat().st_ino, "a change of one would change the other"
    assert (made / "abs").stat().st_nlink == 1


def test_what_is_at_a_results_place_is_replaced_not_written_through(launch: Launcher) -> None:
    outside = launch.dataset.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("p")
    ds = launch.dataset
    (ds / "file").symlink_to(outside / "precious")
    (ds / "dangling").symlink_to(outside / "no")
    (ds / "dir").symlink_to(outside)
    launch.write("old", "old").chmod(0o444)
    launch.write("b/stays", "s")
    (ds / "empty").mkdir()
    script = "cd {out}; echo 1 >file; echo 2 >dangling; echo 3 >dir; echo 5 >old; mkdir b; echo 6 >b/new; echo 7 >empty"
    ok(run(launch, *datum(), *shell(script)))
    assert launch.outputs() == {
        "file": "1\n",
        "dangling": "2\n",
        "dir": "3\n",
        "old": "5\n",
        "b/new": "6\n",
        "b/stays": "s",
        "empty": "7\n",
    }
    assert files(outside) == {"precious": "p"}


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ("folder", "z/d: is a directory, and a result of this name is a file; remove one of them"),
        ("link", "z: is a symbolic link, and a result lies below it; remove it"),
        ("file", "z: is a file, and a result lies below it; remove it"),
    ],
)
def test_what_is_in_the_way_of_a_result_stops_everything(launch: Launcher, there: str, why: str) -> None:
    outside = launch.dataset.parent / "outside"
    outside.mkdir()
    if there == "folder":
        launch.write("z/d/kept", "k")
    elif there == "link":
        (launch.dataset / "z").symlink_to(outside)
    else:
        launch.write("z", "k")
    before = files(launch.dataset)
    done = run(launch, *datum(), *shell("cd {out}; echo 1 >a; mkdir z; echo 2 >z/d"))
    assert (done.returncode, done.stderr) == (125, f"launch: {launch.dataset}/{why}\n")
    assert files(launch.dataset) == before and files(outside) == {} and launch.clean()


# --- several datums in one run -----------------------------------------------------------------------------------


LEAVE = [
    'touch "$PFS/images/more"',
    'touch "$PFS/.hidden"',
    'mkdir "$PFS/images/folder"',
    'ln -s /etc "$PFS/link"',
    'mkdir -p "$PFS/odd/folder"; chmod 500 "$PFS/odd"',
    'rm -rf "$PFS/images"; ln -s /etc "$PFS/images"',
    'chmod 500 "$PFS/images"; chmod 500 "$PFS"/masks',
    'mkfifo "$PFS/images/fifo"',
    'touch "$TMPDIR/x" "$HOME/x" "$XDG_CACHE_HOME" "$(dirname "$PFS")/x"; chmod 0 "$TMPDIR" "$HOME"',
    'rm -rf "$TMPDIR"; ln -s /etc "$TMPDIR"',
]


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_a_datum_sees_nothing_of_the_one_before(launch: Launcher, runtime: str) -> None:
    for name in ("a", "b"):
        launch.write(f"inputs/images/{name}")
        launch.write(f"inputs/masks/{name}")
    one = ("-f", "images", "inputs/images", "/a", "-f", "masks", "inputs/masks", "/a")
    two = ("-f", "images", "inputs/images", "/b")
    words, cases = [], ""
    for number, leave in enumerate(LEAVE):
        words += [*datum(f"leave {number}", "", *one), *datum(f"look {number}", "", *two)]
        cases += f'"leave {number}") {leave} ;;\n'
    look = (
        'cd "$PFS"; seen=$(find . -mindepth 1 | sort; ls -A "$TMPDIR" "$HOME"); echo "$seen" >"{out}/$MINIPACH_DATUM"'
    )
    done, report = launch.reported(
        launch.image("host"),
        *words,
        *shell(f"case $MINIPACH_DATUM in look*) {look};; {cases} esac 2>/dev/null; true"),
        **use(runtime),
    )
    assert {row["code"] for row in report["datums"]} == {0}, done.stderr
    # where the tests' own Python lies below /tmp, its folder is seen there
    environment = {path.split("/")[2] for path in launch.env["PATH"].split(":") if path.startswith("/tmp/")}
    for number, leave in enumerate(LEAVE):
        seen = (launch.dataset / f"look {number}").read_text()
        tail = seen.partition("./out\n")[2]
        assert seen.startswith("./images\n./images/b\n./out\n"), leave
        assert not [line for line in tail.split() if not line.startswith("/") and line not in environment], leave
    assert launch.clean()


def test_each_mark_in_the_log_has_a_word_that_no_command_gets_to_see(launch: Launcher, tmp_path: Path) -> None:
    """Also where a datum fails; a rerun prints no marks."""
    report = tmp_path / "marks"
    report.mkdir()
    (report / "words").write_text("_w1_ _w2_ _w3_ _w4_\n")
    three = [word for name in "abc" for word in datum(name)]
    look = 'cat /proc/$$/environ /proc/$PPID/environ /proc/$PPID/cmdline /proc/[0-9]*/environ >"{out}/$MINIPACH_DATUM";'
    look += 'set >>"{out}/$MINIPACH_DATUM"; echo it is "$MINIPACH_DATUM" >&2; [ "$MINIPACH_DATUM" != b ]'
    for runtime in ("bubblewrap", "none"):
        (report / "words").write_text("_w1_ _w2_ _w3_ _w4_\n")
        done = run(launch, *three, *shell(look), MINIPACH_REPORT=str(report), **use(runtime))
        told = [line for line in done.stderr.splitlines() if line.startswith(("datum: begins", "it is"))]
        begins, shown = [f"datum: begins {n} _w{n}_" for n in (1, 2, 3)], ["it is a", "it is b", "it is c"]
        assert told == [*(line for pair in zip(begins, shown, strict=True) for line in pair), "datum: begins 0 _w4_"]
        assert not any(re.search("_w[1234]_", text) for text in launch.outputs().values())
    assert "begins" not in run(launch, *three, "--", "true").stderr


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["spec.yml"], True),
        (["spec.yaml"], False),
        (["spec.json", ".minipach"], True),
        (["a", ".minipach"], False),
        ([], False),
    ],
)
def test_both_sides_know_a_pipeline_by_the_same_names(names: list[str], expected: bool) -> None:
    assert script_module().is_pipeline(names) == repo_layout.is_pipeline(names) == expected


@pytest.mark.parametrize(
    "harm",
    [
        "echo evil >lib/helper.sh",
        "rm -rf lib; ln -s /tmp lib",
        "echo evil >new.sh; mkdir more; echo evil >more/x",
        'echo evil >"$PFS/images/s/a"; echo evil >run.sh',
        "ln -s /etc link",
        "rm -rf ../code; : >../code",
        "chmod 0 lib",
    ],
)
def test_own_files_are_laid_out_anew_after_a_datum_that_changed_them(launch: Launcher, harm: str) -> None:
    """Without a container a command can write to its copy of them: the next datum has them as committed."""
    launch.write("code/run.sh", "good")
    launch.write("code/lib/helper.sh", "good")
    script = f"if [ $MINIPACH_DATUM = two ]; then find code | sort; cat code/run.sh; else cd code; {harm}; fi"
    done = run(launch, *datum("one", "", *FILE), *datum("two", "", *FILE), *shell(script), **use("none"))
    assert (done.returncode, done.stdout) == (0, "code\ncode/lib\ncode/lib/helper.sh\ncode/run.sh\ngood"), done.stderr
    assert (launch.dataset / "code/lib/helper.sh").read_text() == "good"
    assert launch.clean()


def test_no_network_takes_a_container(launch: Launcher) -> None:
    done = run(launch, "-N", *datum(), "--", "true", **use("none"))
    assert (done.returncode, "no network, which takes a container" in done.stderr) == (125, True)
