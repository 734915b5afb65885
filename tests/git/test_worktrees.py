"""Worktrees that are made, reset, and cleared up after a crash. Plain git repos."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.git import crash_cleanup
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, clean_up, clear_scratch, kill_inside, slots_dir, temporary_worktree
from minipach.support.files import remove_tree
from tests.fixtures.leftovers import until

OWNER = """
import sys
from pathlib import Path
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, slots_dir
repo = Repo(Path(sys.argv[1]))
owner = Owner(repo)
Slot(repo, slots_dir(repo) / f"{owner.name}.0").reset("HEAD")
print(owner.name, flush=True)
sys.stdin.read()
owner.release()
"""

MAKER = """
import os
for n in range(200_000):
    os.close(os.open(f"{os.getpid()} {n}", os.O_CREAT | os.O_WRONLY))
    if n == 3000:
        print("made", flush=True)
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repo with two files."""
    repo = Repo(tmp_path / "repo")
    repo.path.mkdir()
    repo.git("init", "--quiet", "--initial-branch=main")
    (repo.path / "a").write_text("a")
    (repo.path / ".gitignore").write_text("ignored\n")
    repo.git("add", ".")
    repo.git("commit", "--quiet", "-m", "test")
    return repo


@pytest.fixture
def slot(repo: Repo) -> Iterator[Slot]:
    """A slot of this process."""
    owner = Owner(repo)
    slot = Slot(repo, slots_dir(repo) / f"{owner.name}.0")
    slot.reset("HEAD")
    yield slot
    slot.remove()
    owner.release()


def other_owner(repo: Repo) -> subprocess.Popen[str]:
    """Another process that owns a slot until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(repo.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("minipach-")
    return process


def worktrees(repo: Repo) -> int:
    """How many worktrees git knows besides the repo's own."""
    return repo.line("worktree", "list", "--porcelain").count("worktree ") - 1


def slot_names(repo: Repo) -> list[str]:
    """What lies in the folder of slots."""
    return sorted(p.name for p in slots_dir(repo).iterdir())


def test_a_slot_that_can_not_be_made_where_it_was_asked_for(repo: Repo) -> None:
    with pytest.raises(
        OSError, match=r"^/proc/none/x: can't be made: No such file or directory; see minipach\.scratch$"
    ):
        Slot(repo, Path("/proc/none/x/slurm-1-0-0.0")).reset("HEAD")


def test_a_slot_is_reset_to_its_base_with_nothing_left_over(repo: Repo, slot: Slot) -> None:
    (slot.path / "a").write_text("changed")
    (slot.path / "untracked").touch()
    (slot.path / "ignored").touch()
    (slot.path / "inputs/x").mkdir(parents=True)
    (slot.path / "inputs/x/staged").touch()
    (slot.path / "inputs/x").chmod(0o500)
    (slot.path / ".minipach/tmp.abc").mkdir(parents=True)
    slot.repo.git("add", "untracked")
    slot.repo.git("commit", "--quiet", "-m", "a run")
    slot.reset(repo.head() or "")
    assert sorted(os.listdir(slot.path)) == [".git", ".gitignore", "a"]
    assert (slot.path / "a").read_text() == "a"
    assert slot.repo.head() == repo.head()


def test_a_slot_with_a_stale_lock_or_half_made_is_made_anew(repo: Repo, slot: Slot) -> None:
    (repo.common_dir / "worktrees" / slot.path.name / "index.lock").touch()
    slot.reset("HEAD")
    assert slot.repo.line("status", "--porcelain") == ""
    (slot.path / ".git").unlink()
    slot.reset("HEAD")
    assert slot.repo.line("status", "--porcelain") == ""
    assert worktrees(repo) == 1


def test_clean_up_leaves_the_slots_of_living_owners(repo: Repo, slot: Slot) -> None:
    other = other_owner(repo)
    assert clean_up(repo) == 0
    assert worktrees(repo) == 2
    other.communicate()


def test_clean_up_removes_the_slots_of_killed_owners_with_what_runs_in_them(repo: Repo, slot: Slot) -> None:
    other = other_owner(repo)
    path = next(p for p in slots_dir(repo).iterdir() if p.name.startswith(f"minipach-{other.pid}-") and p.is_dir())
    (path / "read-only").mkdir()
    (path / "read-only/file").touch()
    (path / "read-only").chmod(0o500)
    sleeper = subprocess.Popen(["sleep", "300"], cwd=path / "read-only", start_new_session=True)
    other.kill()
    other.communicate()
    assert clean_up(repo) == 1
    assert sleeper.wait(20) == -signal.SIGKILL
    assert worktrees(repo) == 1
    assert slot_names(repo) == [slot.path.name, slot.path.name.removesuffix(".0") + ".lock"]
    assert clean_up(repo) == 0


def test_clean_up_removes_a_worktree_that_git_had_only_registered(repo: Repo, slot: Slot) -> None:
    name = "minipach-1-deadbeef.0"
    entry = repo.common_dir / "worktrees" / name
    entry.mkdir()
    (entry / "gitdir").write_text(f"{slots_dir(repo) / name / '.git'}\n")
    (entry / "locked").write_text("initializing\n")
    clean_up(repo)
    assert not entry.exists()
    assert worktrees(repo) == 1


def test_a_slot_goes_although_something_in_it_makes_files_all_the_time(repo: Repo, slot: Slot) -> None:
    command = [sys.executable, "-c", MAKER]
    makers = [subprocess.Popen(command, cwd=slot.path, stdout=subprocess.PIPE) for _ in range(2)]
    for maker in makers:
        assert maker.stdout is not None and maker.stdout.readline() == b"made\n"
    slot.remove()
    try:
        assert not slot.path.exists()
    finally:
        for maker in makers:
            maker.kill()
            maker.communicate()


def test_clean_up_leaves_worktrees_and_locks_of_people(repo: Repo, slot: Slot, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "mine"))
    remove_tree(tmp_path / "mine")  # on a disk that is not mounted just now
    other = other_owner(repo)
    other.kill()
    other.communicate()
    clean_up(repo)
    assert (repo.common_dir / "worktrees" / "mine").is_dir()


def test_clean_up_of_a_repo_without_slots(repo: Repo) -> None:
    assert clean_up(repo) == 0


def test_an_owner_that_releases_leaves_no_lock(repo: Repo) -> None:
    owner = Owner(repo)
    assert slot_names(repo) == [f"{owner.name}.lock"]
    owner.release()
    assert slot_names(repo) == []


def test_a_temporary_worktree_goes_even_after_an_error(repo: Repo) -> None:
    with pytest.raises(ZeroDivisionError), temporary_worktree(repo, "HEAD") as tree:
        assert (tree.path / "a").read_text() == "a"
        raise ZeroDivisionError
    assert (worktrees(repo), slot_names(repo)) == (0, [])


def test_remove_tree_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    (tmp_path / "ours/deep").mkdir(parents=True)
    (tmp_path / "ours/deep/link").symlink_to(tmp_path / "mine")
    (tmp_path / "ours/deep").chmod(0o500)
    remove_tree(tmp_path / "ours")
    remove_tree(tmp_path / "never was")
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(tmp_path / "mine") == ["file"]


def test_remove_tree_leaves_the_mode_of_what_is_linked_elsewhere(tmp_path: Path) -> None:
    """A staged input may be a hard link to annexed content, whose mode protects it there. Root needs no unlocking."""
    (tmp_path / "content").write_text("annexed")
    (tmp_path / "slot/inputs").mkdir(parents=True)
    (tmp_path / "slot/inputs/a").hardlink_to(tmp_path / "content")
    (tmp_path / "content").chmod(0o444)
    (tmp_path / "slot/inputs").chmod(0o500)
    if os.geteuid() == 0:
        for place in (".", "content", "slot", "slot/inputs"):
            os.chown(tmp_path / place, 65534, 65534)
    script = (
        "import os; from pathlib import Path; from minipach.git.worktrees import remove_tree\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "remove_tree(Path('slot'))"
    )
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, check=True
    )
    assert os.listdir(tmp_path) == ["content"]
    assert stat.S_IMODE((tmp_path / "content").stat().st_mode) == 0o444


def test_kill_inside_spares_who_works_beside_the_folder(tmp_path: Path) -> None:
    for name in ("slot", "slot beside"):
        (tmp_path / name).mkdir()
    inside = subprocess.Popen(["sleep", "300"], cwd=tmp_path / "slot")
    beside = subprocess.Popen(["sleep", "300"], cwd=tmp_path / "slot beside")
    kill_inside(tmp_path / "slot")
    assert inside.wait(20) == -signal.SIGKILL
    assert beside.poll() is None
    beside.kill()
    beside.wait()


def test_what_a_killed_launcher_left_running_ends_with_its_scratch(tmp_path: Path) -> None:
    (tmp_path / ".minipach/tmp.abc/pfs").mkdir(parents=True)
    command = subprocess.Popen(["sleep", "300"], cwd=tmp_path)
    clear_scratch(tmp_path)
    assert command.wait(20) == -signal.SIGKILL
    assert os.listdir(tmp_path / ".minipach") == []


# --- crash_cleanup.py --------------------------------------------------------------------------------------------


def litter(repo: Repo) -> list[Path]:
    """What killed processes leave in a repo's git folder."""
    git = repo.common_dir
    (git / "minipach-image.abc").mkdir()
    (git / "minipach-image.abc/image").touch()
    (git / "annex").mkdir()
    crash = git / "fast_import_crash_1"
    crash.write_text("fast-import crash report:\n  refs/minipach/build/branch\n")
    locks = [git / name for name in ("index.lock", "HEAD.lock", "refs/heads/main.lock", "annex/index.lock")]
    files = [*locks, git / "minipach-index.1", git / "minipach-index.1.lock", git / "minipach-config.x"]
    for file in files:
        file.touch()
    repo.git("update-ref", "refs/minipach/build/branch", "HEAD")
    return [*files, crash, git / "minipach-image.abc"]


def test_what_a_kill_left_is_cleared(repo: Repo) -> None:
    crash_cleanup.begin(repo)
    left = litter(repo)
    crash_cleanup.clear(repo)
    assert [path for path in left if path.exists()] == []
    assert repo.refs("refs/minipach/") == {}
    (repo.path / "a").write_text("works again")
    repo.git("commit", "--quiet", "--all", "-m", "works again")


def test_nothing_is_cleared_where_all_was_finished(repo: Repo) -> None:
    crash_cleanup.begin(repo)
    crash_cleanup.end(repo)
    left = litter(repo)
    crash_cleanup.clear(repo)
    assert [path for path in left if not path.exists()] == []


def test_a_lock_from_before_and_a_crash_of_somebody_else_stay(repo: Repo) -> None:
    lock, crash = repo.common_dir / "index.lock", repo.common_dir / "fast_import_crash_7"
    lock.touch()
    os.utime(lock, (1_000_000_000, 1_000_000_000))
    crash.write_text("refs/heads/import")
    crash_cleanup.begin(repo)
    crash_cleanup.clear(repo)
    assert lock.exists()
    assert crash.exists()


def test_the_lock_of_a_git_that_still_works_is_waited_for(repo: Repo) -> None:
    crash_cleanup.begin(repo)
    lock = repo.common_dir / "index.lock"
    editor = repo.path.parent / "editor"
    editor.write_text(f'#!/bin/sh\ntouch "{editor}.open"\nsleep 1\necho message >"$1"\n')
    editor.chmod(0o755)
    (repo.path / "a").write_text("mine")
    env = {**os.environ, "GIT_EDITOR": str(editor)}
    commit = subprocess.Popen(["git", "commit", "--quiet", "--all"], cwd=repo.path, env=env)  # locks, then asks
    until("the editor is open", lambda: Path(f"{editor}.open").exists())
    assert lock.exists()
    crash_cleanup.clear(repo)
    assert commit.wait(20) == 0
    assert repo.line("log", "-1", "--format=%s") == "message"
    assert repo.line("status", "--porcelain") == ""


def git_in(slot: Slot, *wishes: str) -> subprocess.Popen[bytes]:
    """A git that works in a slot, and has the locks which its wishes need."""
    git = subprocess.Popen(
        ["git", "update-ref", "--stdin"], cwd=slot.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert git.stdin is not None and git.stdout is not None
    git.stdin.write("".join(f"{wish}\n" for wish in ("start", *wishes, "prepare")).encode())
    git.stdin.flush()
    assert (git.stdout.readline(), git.stdout.readline()) == (b"start: ok\n", b"prepare: ok\n")
    return git


def test_the_lock_of_a_set_that_goes_on_is_waited_for(repo: Repo, slot: Slot) -> None:
    crash_cleanup.begin(repo)
    git = git_in(slot, "create refs/heads/mine HEAD")
    assert (repo.common_dir / "refs/heads/mine.lock").exists()
    later = threading.Timer(0.5, git.communicate, [b"commit\n"])
    later.start()
    crash_cleanup.clear(repo)
    later.join()
    assert git.returncode == 0
    assert repo.resolve("mine") == repo.head()


def test_the_lock_of_a_worker_that_moves_a_ref_is_waited_for(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves refs without a git."""
    head = repo.head() or ""
    crash_cleanup.begin(repo)
    left, lock = repo.common_dir / "refs/heads/main.lock", repo.common_dir / "refs/heads/mine.lock"
    left.touch()
    lock.write_text(f"{head}\n")
    sleep = time.sleep

    def moving(seconds: float) -> None:
        if lock.exists():
            lock.replace(lock.with_suffix(""))
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", moving)
    crash_cleanup.clear(repo)
    assert repo.resolve("refs/heads/mine") == head
    assert not left.exists()


def test_a_lock_that_a_kill_left_goes_while_sets_go_on(repo: Repo, slot: Slot) -> None:
    crash_cleanup.begin(repo)
    git = git_in(slot)
    lock = repo.common_dir / "refs/heads/main.lock"
    lock.touch()
    crash_cleanup.clear(repo, patience=0.2)
    assert not lock.exists()
    git.communicate()


def test_a_slots_branch_is_seen_by_nobody_else(repo: Repo, slot: Slot) -> None:
    """git-annex is slow where HEAD is on no branch."""
    before = repo.refs("refs/")
    slot.repo.git("commit", "--quiet", "--allow-empty", "-m", "in the slot")
    assert slot.repo.line("symbolic-ref", "HEAD") == "refs/worktree/minipach"
    assert slot.repo.line("rev-parse", "HEAD") != repo.line("rev-parse", "HEAD")
    assert repo.refs("refs/") == before
    slot.reset("HEAD~1")
    assert slot.repo.line("rev-parse", "HEAD") == repo.line("rev-parse", "HEAD")


def test_what_was_just_checked_out_is_not_looked_into_and_a_change_is_seen(repo: Repo, tmp_path: Path) -> None:
    """Git distrusts what is as young as its index; git-annex's filter would be started for it."""
    looked = tmp_path / "looked"
    repo.git("config", "filter.spy.clean", f"tee -a '{looked}'")
    (repo.path / ".gitattributes").write_text("a filter=spy\n")
    repo.git("add", ".gitattributes")
    repo.git("commit", "--quiet", "-m", "a filter")
    owner = Owner(repo)
    slot = Slot(repo, slots_dir(repo) / f"{owner.name}.0")
    try:
        slot.reset("HEAD")
        looked.unlink(missing_ok=True)
        assert slot.repo.git("status", "--porcelain") == b""
        assert not looked.exists()
        (slot.path / "a").write_text("b")  # as long as it was, and in the same second
        assert slot.repo.line("status", "--porcelain").split() == ["M", "a"]
    finally:
        slot.remove()
        owner.release()


def test_the_slots_of_one_owner_have_places_that_differ(repo: Repo) -> None:
    places = [Slot(repo, slots_dir(repo) / f"minipach-1-abc.{number}").place for number in range(3)]
    assert [place - places[0] for place in places] == [0, 1, 2]
    assert Slot(repo, slots_dir(repo) / "minipach-1-abc.tmp").place == places[0]


def test_a_process_that_ends_while_all_are_looked_through_is_passed_over(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked about a process that has just ended, /proc answers ESRCH, which pathlib does not take for an absence."""
    exists, own = Path.exists, Path(f"/proc/{os.getpid()}/cwd")

    def ended(path: Path) -> bool:
        if path == own:
            raise ProcessLookupError(3, "No such process", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", ended)
    assert crash_cleanup._gits_in(repo) == (False, False)
