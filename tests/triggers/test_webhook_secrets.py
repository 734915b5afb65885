"""Secrets of webhooks: where they may be, and where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.project.project import Project
from minipach.support.errors import UserError
from minipach.triggers.webhook_secrets import access, need_access
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused

ONE, TWO = "one-secret-value", "two-secret-value"


def test_sources_and_several_values(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Project(study.root).repo
    with refused("webhook.no-secret", "webhooks", "MINIPACH_WEBHOOK_GITHUB_SECRET", "git config "):
        need_access(repo)
    for value in (ONE, TWO):
        study.git(".", "config", "--add", "minipach.webhook.gitea.secret", value)
    file = tmp_path / "secrets"
    file.write_text(f"{ONE}\n{TWO}\n")
    file.chmod(0o600)
    study.git(".", "config", "minipach.webhook.github.secret-file", str(file))
    monkeypatch.setenv("MINIPACH_WEBHOOK_S3_SECRET", f"{TWO} {ONE}")
    study.git(".", "config", "minipach.webhook.gitlab.unsigned", "true")
    found = need_access(repo)
    assert found.secrets == {"github": (ONE, TWO), "gitea": (ONE, TWO), "s3": (TWO, ONE)}
    assert found.forges == ["github", "gitea", "gitlab", "s3"]


def test_bad_sources_are_one_line_without_the_secret(study: Study, tmp_path: Path) -> None:
    repo = Project(study.root).repo
    key = "minipach.webhook.github.secret-file"
    file = tmp_path / "secrets"
    file.write_text(ONE)
    file.chmod(0o644)
    study.git(".", "config", key, str(file))
    for problem in (f"others can read this file of secrets. Fix: chmod 600 {file}", "No such file or directory"):
        with pytest.raises(UserError) as found:
            access(repo)
        assert problem in str(found.value) and ONE not in str(found.value)
        study.git(".", "config", key, str(tmp_path / "missing"))
    study.git(".", "config", "--unset", key)
    study.git(".", "config", "minipach.webhook.github.secret", "short")
    with refused("webhook.short-secret", "minipach.webhook.github.secret", " 8 "):
        access(repo)


def test_an_empty_secret_is_not_called_unset(study: Study, tmp_path: Path) -> None:
    repo = Project(study.root).repo
    file = tmp_path / "my secrets"
    file.write_text(" \n")
    file.chmod(0o600)
    study.git(".", "config", "minipach.webhook.github.secret-file", str(file))
    with refused("webhook.empty-secret", str(file), f"openssl rand -hex 16 > '{file}'"):
        need_access(repo)
    study.git(".", "config", "--unset", "minipach.webhook.github.secret-file")
    study.git(".", "config", "minipach.webhook.github.secret", "")
    with refused("webhook.empty-secret", "minipach.webhook.github.secret", "git config minipach.webhook.github.secret"):
        need_access(repo)


@pytest.mark.parametrize("included", [False, True])
def test_committed_settings_are_refused(study: Study, included: bool) -> None:
    file = ".gitconfig-shared" if included else ".datalad/config"
    study.git(".", "config", "--file", file, "minipach.webhook.github.secret", ONE)
    if included:
        study.git(".", "config", "include.path", f"../{file}")
    with refused("webhook.committed"):
        access(Project(study.root).repo)
