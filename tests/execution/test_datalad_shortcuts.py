"""When datalad need not ask whether inputs are here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from minipach.execution.datalad_shortcuts import all_here, shortcuts
from minipach.git.annex_intake import LARGE
from tests.fixtures.projects import Study

KEY = "SHA256E-s3--ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_plain_files_and_links_to_what_is_there_are_here(tmp_path: Path) -> None:
    (tmp_path / "code/sub").mkdir(parents=True)
    (tmp_path / "code/sub/a.py").write_text("print()\n")
    (tmp_path / "code/large").write_bytes(b"x" * 100_000)
    (tmp_path / "code/link").symlink_to("large")
    (tmp_path / "code/up").symlink_to("..")
    assert all_here(tmp_path, ["code", "code/link"])


@pytest.mark.parametrize("what", ["link", "pointer", "nothing"])
def test_what_must_be_fetched_is_not_here(tmp_path: Path, what: str) -> None:
    (tmp_path / "code").mkdir()
    if what == "link":
        (tmp_path / "code/a").symlink_to(f"../.git/annex/objects/aa/bb/{KEY}/{KEY}")
    elif what == "pointer":
        (tmp_path / "code/a").write_text(f"/annex/objects/{KEY}\n")
    assert all_here(tmp_path, ["code"]) == (what == "nothing")
    assert not all_here(tmp_path, ["code/a"])


def test_datalad_is_as_it_was_afterwards(study: Study) -> None:
    from datalad.core.local import run
    from datalad.distribution.dataset import Dataset

    repo = Dataset(str(study.root)).repo
    prepare = run.prepare_inputs
    with shortcuts(repo, study.root, ["missing"]):
        assert repo.call_git(["submodule", "status", "--recursive"]) == ""
        assert repo.call_git(["rev-parse", "HEAD"]).strip() == study.git(".", "rev-parse", "HEAD")
        assert run.prepare_inputs is not prepare
    assert run.prepare_inputs is prepare
    assert not {"call_git", "_call_git", "_call_annex_records"} & vars(repo).keys()


WRITER = """
name=${images##*/} && mkdir "$PFS/out/$name" && cd "$PFS/out/$name" && mkdir cache
echo '*' >cache/.gitignore
for file in cache/entry a.log b.mine c.here plain; do echo "$name" >"$file"; done
[ "$name" != bad.txt ]
"""


@pytest.mark.slow
def test_an_output_that_is_ignored_is_an_output(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.put("images/a.txt", "a", save=False)
    study.put("images/b.txt", "b")
    study.pipeline("edges", 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/w.sh]}\n', w=WRITER)
    study.put("edges/.gitignore", "*.log\n")
    (tmp_path / "mine").write_text("*.mine\n")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path / "mine"))
    assert study.schedule()["edges"]["counts"]["ran"] == 2
    names = ["a.log", "b.mine", "c.here", "cache/.gitignore", "cache/entry", "plain"]
    assert sorted(study.outputs("edges")) == [f"{datum}.txt/{name}" for datum in "ab" for name in names]

    (study.root / "edges/.git/info/exclude").write_text("*.here\n")
    study.remove("images/a.txt")
    study.put("images/bad.txt", "bad")
    study.put("images/c.txt", "c")
    report = study.schedule(code=1)["edges"]
    assert report["reason"].startswith("1 of 3 datums failed"), "what is to be removed is none of them"
    study.remove("images/bad.txt")
    study.schedule()
    assert sorted(study.outputs("edges")) == [f"{datum}.txt/{name}" for datum in "bc" for name in names]
    assert study.read("edges/c.txt/cache/entry") == b"c.txt\n"
    assert study.git("edges", "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.parametrize("together", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_no_hook_of_the_repo_sees_a_sets_commit(study: Study, together: int) -> None:
    study.put("images/a.txt", "a", save=False)
    study.put("images/b.txt", "b")
    spec = f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ndatum_set_spec: {{number: {together}}}\n'
    study.pipeline("edges", spec + "transform: {cmd: [sh, code/w.sh]}\n", w='cp "$images" "$PFS/out/"\n')
    study.schedule()
    hooks = study.root / "edges/.git/hooks"
    for name, text in {
        "pre-commit": "echo no >&2; exit 1",
        "commit-msg": 'echo reworded >"$1"',
        "post-commit": "git commit --quiet --amend --allow-empty -m mine",
    }.items():
        (hooks / name).write_text(f"#!/bin/sh\n{text}\n")
        (hooks / name).chmod(0o755)
    study.put("images/a.txt", "more", save=False)
    study.put("images/b.txt", "still more")
    assert study.schedule()["edges"]["state"] == "published"
    assert "DATALAD RUNCMD" in study.git("edges", "log", "--format=%s", "-1")
    assert [(study.root / "edges" / name).read_text() for name in ("a.txt", "b.txt")] == ["more", "still more"]


@pytest.mark.slow
def test_a_large_output_is_verified_when_it_is_taken_in(study: Study) -> None:
    """So nobody computes its checksum again where it is an input."""
    study.put("images/a.txt", "alpha")
    big = f"truncate -s {LARGE} "
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/x.sh]}\n',
        x=f'cd "$PFS/out"; {big} "big file.dat"; touch -d "1 hour ago" "big file.dat"; echo small >small',
    )
    study.schedule()
    key = f"SHA256E-s{LARGE}--{hashlib.sha256(bytes(LARGE)).hexdigest()}.dat"
    assert os.path.basename(os.readlink(study.root / "edges/big file.dat")) == key
    with contextlib.closing(sqlite3.connect(study.root / "edges/.git/minipach/verified.sqlite")) as notes:
        verified = notes.execute("SELECT key, inode FROM verified").fetchall()
    assert (key, (study.root / "edges/big file.dat").stat().st_ino) in verified
    study.ok("git", "annex", "fsck", cwd=study.root / "edges")
    assert study.git("edges", "status", "--porcelain") == ""
    assert study.read("edges/small") == b"small\n"
