"""`minipach.executors.rq.private_store`: an S3 server of the project's own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from minio import Minio

from minipach.executors.rq.private_store import service, start, stop
from minipach.git.repo import Repo, annex
from minipach.project.project import Project, find_project
from minipach.publish.push_pull import push
from minipach.storage.private_store import read_credentials, read_ports
from minipach.storage.s3 import bucket, client
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


def written(project: Project, name: str) -> bool:
    """Put an object; the server acknowledges it."""
    found = store_client(project).put_object("contents", name, io.BytesIO(name.encode()), len(name))
    return found.object_name == name


def has(project: Project, name: str) -> bool:
    answer = store_client(project).get_object("contents", name)
    try:
        return bool(answer.data == name.encode())
    finally:
        answer.close()


def store_client(project: Project) -> Minio:
    ports, key = read_ports(project.local), read_credentials(project.local)
    assert ports is not None and key is not None
    return client(bucket(f"http://127.0.0.1:{ports['s3']}", "contents", ""), key)


@pytest.mark.soak
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
        acknowledged = [name for name in map(str, range(50)) if written(project, name)]
        assert stop(project)
        assert Repo(late.path).git("annex", "get", "--quiet", "a.dat", ok=(0, 1)) == b""
        assert not (late.path / "a.dat").exists()
        start(project, quiet)
        assert {name for name in acknowledged if not has(project, name)} == set()
        annex(late, "get", "--quiet", "a.dat")
        assert (late.path / "a.dat").read_bytes() == b"some content"
        secret = (project.local.store / "key").read_text().split()[1]
        assert (project.local.store / "key").stat().st_mode & 0o77 == 0
        command = Path(f"/proc/{service(project).pid()}/cmdline").read_bytes()
        assert secret.encode() not in command, "who lists processes sees no secret"
        assert secret not in (root.path / ".git/config").read_text()
    finally:
        stop(project)
    assert service(project).pid() is None


def test_a_store_of_that_name_elsewhere(root: Files) -> None:
    need("weed")
    config = root.path / ".datalad/config"
    config.write_text(config.read_text() + '[minipach-store "local"]\n\tkind = s3\n\turl = http://h:1\n')
    with pytest.raises(UserError) as caught:
        start(find_project(root.path), quiet)
    assert caught.value.problems[0].code == "store.exists"
    assert service(find_project(root.path)).pid() is None
