"""`minipach.executors.rq.private_store`: an S3 server of the project's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.executors.rq.private_store import service, start
from minipach.git.repo import Repo, annex
from minipach.project.project import find_project
from minipach.publish.project_exchange import push
from minipach.support.errors import UserError
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.projects import need
from tests.fixtures.repos import Files
from tests.fixtures.secret_search import files_with, watched_processes

__all__ = ["root"]


def quiet(_: str) -> None:
    """Tell nobody."""


def annexed(files: Files, name: str) -> None:
    files.put(".datalad/config", (files.path / ".datalad/config").read_text().replace("id = x", f"id = {name}"))
    files.git("annex", "init", "--quiet")
    files.commit()
    (files.path / "a.dat").write_bytes(b"some content")
    files.git("annex", "add", "--quiet", "a.dat")
    files.commit()


@pytest.mark.soak  # a stop of the server takes 15 s
def test_data_stay_while_it_is_down(root: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    need("weed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "")  # they are put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(root.path.parent))
    config = root.path / ".datalad/config"
    config.write_text(config.read_text() + '[datalad "dataset"]\n\tid = study-1\n')
    root.git("annex", "init", "--quiet")
    root.commit()
    project = find_project(root.path)
    try:
        start(project, quiet)
        late = repo(root, "late")  # its credentials are those of the superdataset
        annexed(late, "late-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        project = find_project(root.path)
        assert {one.repo: one.contents for one in push(project, "local", quiet)} == {"late": 1, ".": 0}
        key = project.local.store / "key"
        secret = key.read_text().split()[1]
        with watched_processes(secret) as shown:
            annex(late, "drop", "--quiet", "a.dat")
        assert shown == [] and files_with(secret, root.path) == [str(key)] and key.stat().st_mode & 0o077 == 0
        assert service(project).stop()
        assert Repo(late.path).git("annex", "get", "--quiet", "a.dat", ok=(0, 1)) == b""
        assert not (late.path / "a.dat").exists()
        start(project, quiet)
        annex(late, "get", "--quiet", "a.dat")
        assert (late.path / "a.dat").read_bytes() == b"some content"
        secret = (project.local.store / "key").read_text().split()[1]
        assert (project.local.store / "key").stat().st_mode & 0o77 == 0
        command = Path(f"/proc/{service(project).pid()}/cmdline").read_bytes()
        assert secret.encode() not in command, "who lists processes sees no secret"
        assert secret not in (root.path / ".git/config").read_text()
    finally:
        service(project).stop()
    assert service(project).pid() is None


def test_a_store_of_that_name_elsewhere(root: Files) -> None:
    need("weed")
    config = root.path / ".datalad/config"
    config.write_text(config.read_text() + '[minipach-store "local"]\n\tkind = s3\n\turl = http://h:1\n')
    with pytest.raises(UserError) as caught:
        start(find_project(root.path), quiet)
    assert caught.value.problems[0].code == "store.exists"
    assert service(find_project(root.path)).pid() is None
