"""Settings of git are read once, and again as soon as one of their files is another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.git.repo import Repo


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    for name in [n for n in os.environ if n.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_", "EMAIL"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "personal"))
    (tmp_path / "home").mkdir()
    (tmp_path / "personal").write_text("[user]\n\tname = A B\n\temail = a@example.org\n")
    found = Repo(tmp_path / "repo")
    found.path.mkdir()
    found.git("init", "--quiet")
    return found


@pytest.fixture
def calls(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    made: list[tuple[str, ...]] = []
    git = Repo.git

    def counting(self: Repo, *args: str, **options: object) -> bytes:
        made.append(args)
        return git(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Repo, "git", counting)
    return made


def test_many_questions_are_one_process(repo: Repo, calls: list[tuple[str, ...]]) -> None:
    assert repo.config("core.bare") == "false"
    assert Repo(repo.path).config("CORE.Bare") == "false"
    assert repo.config("minipach.limits") is None
    assert len(calls) == 1


def test_a_change_is_seen(repo: Repo, tmp_path: Path) -> None:
    assert repo.config("minipach.jobs") is None
    repo.git("config", "minipach.jobs", "3")
    assert repo.config("minipach.jobs") == "3"
    repo.git("config", "--unset", "minipach.jobs")
    assert repo.config("minipach.jobs") is None
    (tmp_path / "personal").write_text("[minipach]\n\tjobs = 44\n")
    assert repo.config("minipach.jobs") == "44"


def test_a_change_of_an_included_file_is_seen(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "more").write_text("[minipach]\n\tjobs = 5\n")
    repo.git("config", "include.path", str(tmp_path / "more"))
    assert repo.config("minipach.jobs") == "5"
    (tmp_path / "more").write_text("[minipach]\n\tjobs = 66\n")
    assert repo.config("minipach.jobs") == "66"


@pytest.mark.parametrize("text", [None, "", "[minipach]\n\tlimits = 1\n"])
@pytest.mark.parametrize("where", ["repo/.git/more", "home/more"])
def test_an_included_file_that_gets_a_setting_later_is_seen(
    repo: Repo, tmp_path: Path, where: str, text: str | None
) -> None:
    """It is missing, empty, or has others."""
    if text is not None:
        (tmp_path / where).write_text(text)
    repo.git("config", "include.path", "more" if where.startswith("repo") else "~/more")
    assert repo.config("minipach.jobs") is None
    (tmp_path / where).write_text("[minipach]\n\tjobs = 66\n")
    assert repo.config("minipach.jobs") == "66"


def test_a_branch_that_includes_a_file_is_seen(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "more").write_text("[minipach]\n\tjobs = 5\n")
    repo.git("config", "includeIf.onbranch:other.path", str(tmp_path / "more"))
    assert repo.config("minipach.jobs") is None
    repo.git("symbolic-ref", "HEAD", "refs/heads/other")
    assert repo.config("minipach.jobs") == "5"


def test_variables_of_git_count(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repo.config("minipach.jobs") is None
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "minipach.jobs")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "7")
    assert repo.config("minipach.jobs") == "7"


def test_subsections_keep_their_case(repo: Repo) -> None:
    repo.git("config", "remote.Big.Name.annex-uuid", "1")
    assert repo.config("remote.Big.Name.annex-UUID") == "1"
    assert repo.config("remote.big.name.annex-uuid") is None


def test_settings_that_git_cannot_read_are_none(repo: Repo) -> None:
    assert repo.config("core.bare") == "false"
    (repo.path / ".git/config").write_text("[core\n")
    assert repo.config("core.bare") is None


def test_who_commits_is_asked_once_and_again_after_a_change(repo: Repo, calls: list[tuple[str, ...]]) -> None:
    first = repo.ident("AUTHOR")
    assert first.startswith("A B <a@example.org> ")
    asked = [c for c in calls if c[0] == "var"]
    assert repo.ident("AUTHOR").rpartition(">")[0] == first.rpartition(">")[0]
    assert [c for c in calls if c[0] == "var"] == asked
    assert repo.ident("COMMITTER").rsplit(" ", 1)[1] == repo.line("var", "GIT_COMMITTER_IDENT").rsplit(" ", 1)[1]
    repo.git("config", "user.name", "C D")
    assert repo.ident("AUTHOR").startswith("C D <a@example.org> ")


def test_a_fixed_date_is_kept(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.ident("AUTHOR")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "@1700000000 +0100")
    assert repo.ident("AUTHOR") == "A B <a@example.org> 1700000000 +0100"


def test_nobody_who_commits_is_an_error(repo: Repo, tmp_path: Path) -> None:
    repo.ident("AUTHOR")
    (tmp_path / "personal").write_text("[user]\n\tuseConfigOnly = true\n")
    with pytest.raises(GitError):
        repo.ident("AUTHOR")


def test_plain_settings_of_further_repositories_need_no_process(
    repo: Repo, tmp_path: Path, calls: list[tuple[str, ...]]
) -> None:
    assert repo.config("core.bare") == "false"
    other = Repo(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    other.git("config", "remote.Big.Name.annex-uuid", "1")
    calls.clear()
    found = dict(other.settings())
    assert calls == []
    assert found["remote.Big.Name.annex-uuid"] == "1"
    assert found["user.name"] == "A B"
    listed = other.git("config", "-z", "--list").decode().split("\0")[:-1]
    assert found == dict(row.partition("\n")[::2] for row in listed)


@pytest.mark.parametrize(
    "more",
    [
        '[include]\n\tpath = "../more"\n',
        "[include]\n\tpath = ../more\n",
        "[extensions]\n\tworktreeconfig = true\n",
        "[minipach]\n\tjobs = 4 # of 8\n",
        '[minipach]\n\tjobs = "4"\n',
        "[MiniPach]\n\tJobs = 4\n",
    ],
)
def test_other_settings_are_asked_of_git(repo: Repo, tmp_path: Path, more: str) -> None:
    assert repo.config("core.bare") == "false"
    other = Repo(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    (other.path / "more").write_text("[minipach]\n\tjobs = 4\n")
    (other.path / ".git/config.worktree").write_text("[minipach]\n\tjobs = 4\n")
    with (other.path / ".git/config").open("a") as file:
        file.write(more)
    assert other.config("minipach.jobs") == "4"


def test_the_personal_file_of_a_home_that_is_a_repository_counts_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    home, other = Repo(tmp_path / "home"), Repo(tmp_path / "other")
    for found in (home, other):
        found.path.mkdir()
        found.git("init", "--quiet")
    (home.path / ".gitconfig").write_text("[minipach]\n\tjobs = 4\n")
    assert home.config("minipach.jobs") == "4"
    assert other.config("minipach.jobs") == "4"
    (home.path / ".gitconfig").write_text("[minipach]\n\tjobs = 55\n")
    assert other.config("minipach.jobs") == "55"
