"""Repositories and environments as people have them: what no test of a single module shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.execution import datalad_errors
from minipach.git.child_environment import child_environment
from tests.fixtures.projects import MINIPACH, Study, run


def _pin(study: Study) -> str:
    return study.git("edges", "rev-parse", "HEAD:inputs/images")


def _setting(key: str, value: str) -> dict[str, str]:
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": value}


@pytest.mark.slow
def test_an_adjusted_input_is_pinned_at_the_commit_of_its_own_branch(study: Study) -> None:
    study.copier()
    study.put("images/a.txt", "alpha\n")
    images = study.root / "images"
    study.ok("git", "annex", "adjust", "--unlock", cwd=images)
    own = study.git("images", "rev-parse", "HEAD^")
    study.schedule()
    assert _pin(study) == own

    # a commit that only the adjusted branch has can't be pushed
    (images / "b.txt").write_text("beta\n")
    study.save("images")
    done = study.minipach("schedule")
    assert done.code == 2
    fix = f"git -C {images} annex sync --no-commit --no-pull --no-push --no-content"
    assert done.problems[-1].fix == fix
    study.ok(*fix.split())
    study.schedule()
    assert _pin(study) == study.git("images", "rev-parse", "HEAD^") != own


@pytest.mark.slow
def test_a_detached_input_is_pinned_only_where_some_branch_has_the_commit(study: Study) -> None:
    study.copier()
    study.put("images/a.txt", "alpha\n")
    images = study.root / "images"
    study.ok("git", "checkout", "--quiet", "--detach", cwd=images)
    study.schedule()
    study.put("images/b.txt", "beta\n")
    done = study.minipach("plan")
    assert (done.code, done.refusals) == (2, [("branch.detached", "edges/spec.yml:1:21")])
    study.ok("git", "branch", "kept", cwd=images)
    study.schedule()
    assert (study.root / "edges" / "b.txt").read_text() == "beta\n"


@pytest.mark.slow
def test_a_plain_git_clone_schedules(study: Study, tmp_path: Path) -> None:
    study.copier()
    study.put("images/a.txt", "alpha\n")
    study.ok("datalad", "save", "-r")
    study.schedule()
    clone = ["git", "-c", "protocol.file.allow=always", "clone", "-q", "--recurse-submodules"]
    study.ok(*clone, str(study.root), str(tmp_path / "theirs"))
    theirs = Study(tmp_path / "theirs")
    for repo in ("images", "edges"):
        branch = study.git(repo, "symbolic-ref", "--short", "HEAD")
        theirs.ok("git", "switch", "-q", branch, cwd=theirs.root / repo)
    found = theirs.minipach("doctor", "--json").json["findings"]
    (note,) = [f for f in found if f["what"].startswith("edges: git-annex is not initialised")]
    assert note["fix"] == f"git -C {theirs.root}/edges annex init"
    refused = theirs.minipach("schedule", "--force", env=_setting("annex.autoinit", "false"))
    assert (refused.code, f". Fix: {note['fix']}" in refused.err) == (2, True)
    theirs.put("images/b.txt", "beta\n")
    theirs.schedule()
    assert (theirs.root / "edges" / "b.txt").read_text() == "beta\n"


@pytest.mark.slow
def test_unlocked_outputs_have_their_content_in_the_checkout(study: Study) -> None:
    study.ok("git", "config", "--global", "annex.addunlocked", "true")
    try:
        study.copier()
        study.put("images/a.txt", "alpha\n")
        study.schedule()
        edges = study.root / "edges"
        assert study.git("edges", "ls-tree", "HEAD", "a.txt").startswith("100644")
        assert study.git("edges", "show", "HEAD:a.txt").startswith("/annex/objects/SHA256E-s6--")
        assert (edges / "a.txt").read_text() == "alpha\n"
        assert study.git("edges", "status", "--porcelain") == ""
        study.ok("git", "mv", "a.txt", "b.txt", cwd=study.root / "images")
        study.save("images")
        study.schedule()
        assert (edges / "b.txt").read_text() == "alpha\n"
        assert not (edges / "a.txt").exists()
    finally:
        study.ok("git", "config", "--global", "--unset", "annex.addunlocked")


@pytest.mark.parametrize("folder", ["nowhere", "/proc", "file"])
def test_a_temporary_folder_that_can_not_be_written_is_not_used(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / folder))
    assert "TMPDIR" not in child_environment()
    found = run(*MINIPACH, "doctor", cwd=tmp_path).out
    assert f"TMPDIR={tmp_path / folder}: " in found


def test_a_relative_temporary_folder_is_the_same_for_all_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tm p").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", "tm p")
    assert child_environment()["TMPDIR"] == str(tmp_path / "tm p")


class _Error(Exception):
    def __init__(self, text: str, stderr: str = "", **kwargs: object) -> None:
        self.stderr, self.kwargs = stderr, kwargs
        super().__init__(text)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (_Error("CommandError\nmore"), "CommandError"),
        (_Error("CommandError", "(recording state)\ngit-annex: no space\nadd: 1 failed\n"), "git-annex: no space"),
        (
            _Error(
                "CommandError",
                "add: 1 failed\n",
                stdout_json=[
                    {"command": "add", "file": "a", "success": True},
                    {"command": "add", "file": "b", "success": False, "error-messages": ["git-annex: not\nthere"]},
                ],
            ),
            "git annex add b: not there",
        ),
        (ValueError("odd"), "odd"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_reason_of_git_annex_is_kept(error: Exception, wanted: str) -> None:
    assert datalad_errors.of_error(error) == wanted


@pytest.mark.slow
def test_conversions_of_line_ends_reach_neither_a_run_nor_its_rerun(study: Study, tmp_path: Path) -> None:
    images = study.root / "images"
    (images / ".gitattributes").write_text("* annex.largefiles=nothing\n*.csv text eol=crlf\n*.txt ident\n")
    (images / "a.csv").write_bytes(b"1,2\r\n3,4\r\n")
    (images / "b.txt").write_bytes(b"$Id$\n")
    study.ok("git", "add", ".", cwd=images)
    study.ok("git", "commit", "-q", "-m", "csv", cwd=images)
    study.ok("datalad", "save", "-r")
    study.pipeline(
        "sizes",
        'input: {pfs: {repo: images, glob: "/*.*"}}\ntransform: {cmd: [sh, code/size.sh]}\n',
        size='wc -c <"$images" | tr -d " " >"$PFS/out/${images##*/}"\n',
    )
    env = _setting("core.autocrlf", "true")
    assert study.minipach("schedule", env=env).code == 0
    assert (study.root / "sizes" / "a.csv").read_text() == "8\n"
    assert (study.root / "sizes" / "b.txt").read_text() == "5\n"
    study.ok("datalad", "clone", str(study.root / "sizes"), str(tmp_path / "again"), env=env)
    again = tmp_path / "again"
    assert b"\r" not in (again / ".minipach" / "launch").read_bytes()
    assert b"\r" not in (again / "code" / "size.sh").read_bytes()
    for commit in run("git", "log", "--format=%H", "--grep=RUNCMD", cwd=again).out.split():
        study.ok("datalad", "rerun", commit, cwd=again, env=env)
    assert run("git", "status", "--porcelain", cwd=again, env=env).out == ""
    assert run("git", "diff", "--stat", "origin/HEAD", cwd=again, env=env).out == ""


def test_doctor_names_a_superdataset_without_a_branch(study: Study) -> None:
    study.ok("git", "checkout", "--quiet", "--detach")
    found = study.minipach("doctor", "--json").json["findings"]
    (note,) = [f for f in found if f["what"].startswith("superdataset: no branch is checked out")]
    assert note["fix"].startswith(f"git -C {study.root} switch ")
