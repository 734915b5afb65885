"""Files of a run: which bytes git-annex takes for a pointer, as git-annex itself decides."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from minipach.execution.launcher import inputs
from minipach.execution.launcher.files import is_taken_for_pointer
from minipach.git import annex_keys
from tests.fixtures.container_images import images
from tests.fixtures.launchers import FILE, Launcher, datum, launch, ok, shell

__all__ = ["images", "launch"]

KEY = b"SHA256E-s3--" + b"a" * 64
POINTERS = (
    b"/annex/objects/" + KEY,
    b"/annex/objects/" + KEY + b"\n",
    b"/annex/objects/" + KEY + b".txt\r\n",
    b"/annex/objects/" + KEY + b"\n/annex/x\n",
    b"see ../.git/annex/objects/xx/yy/" + KEY + b"/" + KEY + b"\n",
    b"cp: .git/annex/objects/f y--z\n",
    b"/annex/objects/URL--foo: bar\n",
)
TEXTS = (
    b"",
    b"text\n",
    b"# The folder .git/annex/objects/ has them\n",
    b"cp: no such file .git/annex/objects/xx/yy/zz\n",
    b"/annex/objects/foo bar\nmore\n",
    b"/annex/objects/--a\n",
    b"/annex/objects/" + KEY + b"\nmore\n",
    b"\n/annex/objects/" + KEY + b"\n",
    b"/annex/objects/" + KEY + b"\n" + b"/annex/\n" * 5000,
)


def test_git_annex_agrees(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, check=False, capture_output=True, text=True).stdout

    git("init", "-q")
    git("annex", "init", "-q")
    for number, text in enumerate((*POINTERS, *TEXTS)):
        (tmp_path / f"f{number:02}").write_bytes(text)
    git("annex", "add", "--quiet", ".")
    kept = {row[7:].partition("\t")[2]: row[:6] for row in git("ls-files", "--stage").splitlines()}
    assert [kept[f"f{n:02}"] for n in range(len(kept))] == ["100644"] * len(POINTERS) + ["120000"] * len(TEXTS)
    assert all(map(is_taken_for_pointer, POINTERS))
    assert not any(map(is_taken_for_pointer, TEXTS))


def test_both_sides_read_the_same_key_in_a_pointer() -> None:
    """The planner and the launcher agree on which file of a repository is an annexed one."""
    for text in (*POINTERS[:4], *POINTERS[-1:], *TEXTS):
        assert inputs.key_of_pointer(text) == annex_keys.key_of_pointer(text), text
    assert [inputs.key_of_pointer(text) for text in POINTERS[4:6]] == [None, None]  # git-annex never writes such ones


@pytest.mark.parametrize("text", POINTERS)
def test_an_output_that_git_annex_would_take_for_a_pointer_fails(launch: Launcher, text: bytes) -> None:
    (launch.dataset / FILE[2] / "s/a").write_bytes(text)
    done, report = launch.reported(launch.image("host"), *datum("a", "", *FILE), *shell("cp {images} {out}/p"))
    what = "git-annex would take it for a pointer to another content; begin it with another line"
    assert (done.returncode, report["datums"][0]["fault"]) == (126, f'output "p" can\'t be kept: {what}')
    assert launch.outputs() == {}


def test_an_output_that_only_mentions_the_annex_is_kept(launch: Launcher) -> None:
    for text in TEXTS:
        (launch.dataset / FILE[2] / "s/a").write_bytes(text)
        ok(launch(launch.image("host"), *datum("a", "", *FILE), *shell("cp {images} {out}/p")))
        assert (launch.dataset / "p").read_bytes() == text


def test_a_text_in_git_that_mentions_the_annex_is_an_input(launch: Launcher) -> None:
    """`datalad rerun` gives the launcher a repository, and no folder that a worker has laid out."""
    repo = launch.dataset / FILE[2]
    for words in (["init", "-q"], ["annex", "init", "-q"]):
        subprocess.run(["git", *words], cwd=repo, check=True)
    (repo / "s").joinpath("a").unlink()
    texts = {f"t{number}": text for number, text in enumerate((*TEXTS, *POINTERS[4:6]))}
    for name, text in texts.items():
        (repo / "s" / name).write_bytes(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "-c", "annex.largefiles=nothing", "add", "s"], cwd=repo, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], cwd=repo, check=True)
    script = "for f in {images}/t*; do (echo kept; cat $f) >{out}/${f##*/}; done"
    ok(launch(launch.image("host"), *datum("a", "", *FILE[:3], "/s"), *shell(script)))
    for name, text in texts.items():
        assert (launch.dataset / os.fspath(name)).read_bytes() == b"kept\n" + text
