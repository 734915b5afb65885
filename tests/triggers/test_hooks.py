"""The hook of git: installed and removed without a trace, chained, deaf to our own commands."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.model.local_state import LocalState
from minipach.project.project import Project
from minipach.triggers import hooks
from minipach.triggers.hooks import HOOK
from minipach.triggers.push_back import note_pushing
from tests.fixtures.projects import Study, run
from tests.fixtures.refusals import refused

_STUB = """#!/bin/sh
env >"$SEEN/env"
echo "$PWD $*" >>"$SEEN/started"
exec sleep 60
"""


@pytest.fixture
def project(study: Study) -> Project:
    """The project of `study`."""
    return Project(study.root)


def traces(root: Path) -> dict[str, str | None]:
    """All hooks and settings of the repos of a project, with modes."""
    found: dict[str, str | None] = {}
    for top in (root, root / "images"):
        for path in sorted((top / ".git").rglob("*")):
            name = str(path.relative_to(root))
            if path.is_file() and ("hooks" in name or path.name == "config"):
                found[name] = f"{stat.S_IMODE(path.stat().st_mode):o} {path.read_text()}"
        found |= {str(p): None for p in top.glob("*hooks*")}
    return found


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def heard(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that hooks write to; `seen/` tells of the program that they start instead of Python."""
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setenv("SEEN", str(seen))
    monkeypatch.setattr("sys.executable", str(script(tmp_path / "stub", _STUB)))
    hooks.install(Project(study.root))
    return LocalState.in_root(study.root).heard


def end_stubs(heard: Path) -> None:
    """End what a hook has started: it must still run, and git must not have waited for it."""
    pid = (heard.parent / "waiting").read_text().split()[0]
    assert run("ps", "-o", "stat=", "-p", pid, cwd=heard.parent).out.strip()[:1] not in ("", "Z")
    os.kill(int(pid), 9)


def test_removed_without_a_trace(study: Study, project: Project) -> None:
    before = traces(study.root)
    assert {hook.repo for hook in hooks.install(project)} == {".", "images"}
    assert {hook.state for hook in hooks.status(project)} == {"installed"}
    assert hooks.install(project) == []
    assert {hook.repo for hook in hooks.remove(project)} == {".", "images"}
    assert traces(study.root) == before
    assert {hook.state for hook in hooks.status(project)} == {"missing"}


def test_hook_that_is_there_runs_first_and_comes_back(
    study: Study, project: Project, heard: Path, tmp_path: Path
) -> None:
    hooks.remove(project)
    log = tmp_path / "log"
    script(study.root / "images/.git/hooks" / HOOK, f'#!/bin/sh\necho "$@" >>{log}\ncat >>{log}\n')
    before = traces(study.root)
    hooks.install(project)
    study.git("images", "commit", "--allow-empty", "-qm", "x")
    head = study.git("images", "rev-parse", "HEAD")
    lines = log.read_text().splitlines()
    assert lines[0] == "prepared"
    rest = lines[lines.index("committed") :]
    assert [line.split()[1:] for line in rest[1:]][:2] == [[head, "HEAD"], [head, rest[2].split()[2]]]
    assert len(heard.read_text().splitlines()) == 1
    end_stubs(heard)
    hooks.remove(project)
    assert traces(study.root) == before


def test_chained_hook_still_refuses(study: Study, project: Project, heard: Path) -> None:
    hooks.remove(project)
    script(study.root / "images/.git/hooks" / HOOK, '#!/bin/sh\n[ "$1" != prepared ]\n')
    hooks.install(project)
    assert run("git", "commit", "--allow-empty", "-qm", "x", cwd=study.root / "images").code != 0
    assert not heard.exists()


@pytest.mark.parametrize("how", ["outside", "tracked", "ignored"])
def test_hooks_path(study: Study, project: Project, heard: Path, tmp_path: Path, how: str) -> None:
    hooks.remove(project)
    images = study.root / "images"
    folder = tmp_path / "shared" if how == "outside" else images / "hooks" / "_"
    script(folder / "post-commit", f"#!/bin/sh\ntouch {tmp_path}/theirs\n")
    if how == "ignored":
        (folder / ".gitignore").write_text("*\n")
    study.git("images", "config", "core.hooksPath", str(folder) if how == "outside" else "hooks/_")
    study.git("images", "add", "-A")
    study.git("images", "commit", "-q", "--allow-empty", "-m", "hooks")
    before = traces(study.root)
    hooks.install(project)
    assert study.git("images", "status", "--porcelain") == ""
    assert [p.name for p in folder.iterdir() if p.name == HOOK] == ([HOOK] if how == "ignored" else [])
    (tmp_path / "theirs").unlink()
    study.git("images", "commit", "--allow-empty", "-qm", "x")
    assert (tmp_path / "theirs").exists() and heard.exists()
    end_stubs(heard)
    script(folder / "pre-commit", f"#!/bin/sh\ntouch {tmp_path}/new\n")
    hooks.install(project)  # also what a pass does
    study.git("images", "commit", "--allow-empty", "-qm", "y")
    assert (tmp_path / "new").exists()
    end_stubs(heard)
    (folder / "pre-commit").unlink()
    hooks.remove(project)
    assert traces(study.root) == before


def test_commit_starts_one_pass_with_a_clean_environment(study: Study, heard: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    for number in range(5):
        study.git("images", "commit", "--allow-empty", "-qm", f"{number}")
    wait_for((seen / "started").exists)
    assert (seen / "started").read_text() == f"{study.root} -P -m minipach -C . hooks run\n"
    assert len(heard.read_text().splitlines()) == 5
    names = {line.partition("=")[0] for line in (seen / "env").read_text().splitlines()}
    assert not names & {"GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_AUTHOR_DATE", "GIT_WORK_TREE"}
    end_stubs(heard)
    study.git("images", "commit", "--allow-empty", "-qm", "after it was killed")
    wait_for(lambda: len((seen / "started").read_text().splitlines()) == 2)
    end_stubs(heard)


def test_id_of_another_process_stands_for_no_pass(study: Study, heard: Path, tmp_path: Path) -> None:
    (heard.parent / "waiting").write_text(f"{os.getpid()} 1\n")
    study.git("images", "commit", "--allow-empty", "-qm", "x")
    wait_for((tmp_path / "seen" / "started").exists)
    end_stubs(heard)


def test_own_commands_and_other_branches_start_nothing(study: Study, heard: Path) -> None:
    repo = Repo(study.root / "images")
    head = repo.head() or ""
    repo.update_refs([f"create refs/heads/ours {head}"])
    study.git("images", "update-ref", "refs/heads/synced/master", head)
    study.git("images", "update-ref", "refs/heads/minipach", head)
    study.git("images", "update-ref", "refs/remotes/origin/master", head)
    study.git("images", "tag", "v1")
    slot = study.root / "images/.git/minipach/slots/1"
    study.ok("git", "worktree", "add", "-q", "--detach", str(slot), cwd=repo.path, env={"MINIPACH_OWN_GIT": "1"})
    study.ok("git", "commit", "--allow-empty", "-qm", "x", cwd=slot)
    assert not heard.exists()
    study.git("images", "update-ref", "refs/heads/theirs", head)
    assert heard.exists()
    end_stubs(heard)


def test_a_push_of_the_user_counts_where_passes_push_results(study: Study, heard: Path, tmp_path: Path) -> None:
    study.ok("git", "init", "-q", "--bare", str(tmp_path / "store.git"))
    study.git("images", "remote", "add", "store", str(tmp_path / "store.git"))
    project = Project(study.root)
    note_pushing(project)
    study.git("images", "push", "-q", "store", "HEAD:first")
    assert not heard.exists()
    study.git(".", "config", "minipach.follow", "store")
    note_pushing(project)
    study.git("images", "push", "-q", "store", "HEAD:refs/heads/git-annex", "HEAD:refs/heads/minipach")
    study.ok("git", "push", "-q", "store", "HEAD:own", cwd=study.root / "images", env={"MINIPACH_OWN_GIT": "1"})
    assert not heard.exists()
    study.git("images", "push", "-q", "store", "HEAD:second")
    assert heard.read_text().startswith("refs/remotes/store/second ")
    end_stubs(heard)
    study.git(".", "config", "--unset", "minipach.follow")
    note_pushing(project)
    assert not project.local.pushes.exists()


def test_command_never_fails(study: Study, heard: Path) -> None:
    images = study.root / "images"
    (heard.parent / "heard").mkdir()
    assert run("git", "commit", "--allow-empty", "-qm", "x", cwd=images).err == ""
    heard.parent.rename(heard.parent.with_name("elsewhere"))
    assert run("git", "commit", "--allow-empty", "-qm", "x", cwd=images).err == ""
    moved = study.root.parent / "alone"
    images.rename(moved)
    assert run("git", "commit", "--allow-empty", "-qm", "x", cwd=moved).err == ""


def test_project_may_move(study: Study, heard: Path) -> None:
    moved = study.root.with_name("moved 'once'")
    study.root.rename(moved)
    Study(moved).git("images", "commit", "--allow-empty", "-qm", "x")
    assert (moved / ".git/minipach/heard").exists()
    end_stubs(moved / ".git/minipach/heard")


def test_merge_pull_and_push_are_heard(study: Study, heard: Path, tmp_path: Path) -> None:
    study.ok("git", "clone", "-q", str(study.root / "images"), str(tmp_path / "other"))
    study.ok("git", "commit", "--allow-empty", "-qm", "x", cwd=tmp_path / "other")
    study.git("images", "pull", "-q", "--ff-only", str(tmp_path / "other"), "HEAD")
    assert len(heard.read_text().splitlines()) == 1
    study.ok("git", "commit", "--allow-empty", "-qm", "y", cwd=tmp_path / "other")
    study.ok("git", "push", "-q", "origin", "HEAD:refs/heads/pushed", cwd=tmp_path / "other")
    assert "refs/heads/pushed" in heard.read_text()
    end_stubs(heard)


def test_one_repo_alone(study: Study, project: Project) -> None:
    hooks.install(project)
    hooks.remove(project, "images")
    assert [(hook.repo, hook.state) for hook in hooks.status(project)] == [(".", "installed"), ("images", "off")]
    assert hooks.complete(project) == []
    hooks.install(project, "images")
    assert {hook.state for hook in hooks.status(project)} == {"installed"}
    with refused("input.no-such-repo", None, '"imagse"', '"images"'):
        hooks.install(project, "imagse")


def test_repos_that_come_later_get_the_hook(study: Study, project: Project) -> None:
    assert hooks.complete(project) == []
    hooks.install(project)
    study.ok("datalad", "create", "-d", ".", "labels")
    assert [hook.repo for hook in hooks.complete(Project(study.root))] == ["labels"]


def test_folder_that_is_not_writable_is_one_line(study: Study, project: Project) -> None:
    folder = study.root / "images/.git/hooks"
    for entry in folder.iterdir():
        entry.unlink()
    folder.rmdir()
    folder.write_text("a file where the folder would be")
    with refused("hooks.not-writable", study.root / "images/.git/hooks"):
        hooks.install(project)
