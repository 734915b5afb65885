"""`minipach.storage.setup`: a store for all repos of a project, proved before it is used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minipach.git.repo import Repo, annex
from minipach.project.project import Project, find_project
from minipach.publish.push_pull import RepoExchange, push
from minipach.storage.s3 import Bucket, Credentials, listing
from minipach.storage.setup import add, check, remove, remove_here, states
from minipach.storage.store import Kind, Store, committed, is_confirmed, stores
from minipach.support.errors import UserError
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.projects import Study, need
from tests.fixtures.repos import Files
from tests.fixtures.s3_servers import ACCESS, SECRET, S3Server, juicefs, seaweedfs, yes_man
from tests.fixtures.ssh_servers import SshServer, sshd

pytestmark = pytest.mark.slow

__all__ = ["root"]


def quiet(_: str) -> None:
    """Tell nobody."""


def annexed(files: Files, name: str) -> Files:
    """Make a repo annexed, with a dataset id and one content."""
    files.put(".datalad/config", (files.path / ".datalad/config").read_text().replace("id = x", f"id = {name}"))
    files.git("annex", "init", "--quiet")
    (files.path / "a.dat").write_bytes(os.urandom(2000))
    files.git("annex", "add", "--quiet", "a.dat")
    files.commit()
    return files


@pytest.fixture
def project(root: Files) -> Project:
    """A project with two datasets that have an annex, one below the other."""
    config = root.path / ".datalad/config"
    config.write_text(config.read_text() + '[datalad "dataset"]\n\tid = study-1\n')
    one = annexed(repo(root, "images"), "images-1")
    annexed(repo(root, "raw", holder=one), "raw-1")
    root.git("annex", "init", "--quiet")
    root.commit()
    return find_project(root.path)


class Cut(BaseException):
    """The end of a process between two commands of git."""


def cut(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> bool:
    """Do something, and end it before so many commands of git. Return whether it was ended."""
    left = [number]
    plain = Repo.git

    def git(self: Repo, *words: str, **more: Any) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise Cut
        return plain(self, *words, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Repo, "git", git)
        try:
            act()
        except Cut:
            return True
    return False


def test_a_store_is_added_and_removed_in_spite_of_kills(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command is ended before its first, second, third ... command of git, and the same one again goes on."""
    monkeypatch.setattr("minipach.storage.setup.prove", lambda *_: None)
    store = Store("disk", "dir", str(tmp_path / "disk"))
    number = 0
    while cut(monkeypatch, number, partial(add, project, store, quiet)):
        number += 1
    assert number > 10
    assert committed(project) == stores(project) == {"disk": store}
    assert project.repo.line("status", "--porcelain", "--", ".datalad") == ""
    assert {row.path: row.enabled for row in states(project, store)} == {"images/raw": True, "images": True, ".": True}
    number = 0
    while cut(monkeypatch, number, partial(remove, project, "disk", quiet)):
        number += 1
    assert number > 5
    assert committed(project) == stores(project) == {}
    assert project.repo.line("status", "--porcelain", "--", ".datalad") == ""
    assert all("disk" not in repo.line("remote") for repo in (project.repo, Repo(project.root / "images")))


@pytest.fixture(scope="module", params=[juicefs, pytest.param(seaweedfs, marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server."""
    with request.param(tmp_path_factory.mktemp("s3") / "server") as running:
        yield running


def code_of(error: pytest.ExceptionInfo[UserError]) -> str:
    return error.value.problems[0].code


def exercise(project: Project, store: Store) -> None:
    """What holds of every kind of store."""
    add(project, store, quiet)
    assert stores(project) == {store.name: store}
    assert Repo(project.root).line("status", "--porcelain", "--untracked-files=no") == ""
    assert {row.path: (row.enabled, row.missing.number) for row in states(project, store)} == {
        "images/raw": (True, 1),
        "images": (True, 1),
        ".": (True, 0),
    }
    for path in ("images/raw", "images"):
        here = Repo(project.root / path)
        annex(here, "copy", "--quiet", f"--to={store.name}", "a.dat")
        annex(here, "drop", "--quiet", "a.dat")  # only if the store has it
        annex(here, "get", "--quiet", "a.dat")
    before = Repo(project.root).head()
    add(project, store, quiet)
    assert Repo(project.root).head() == before, "doing it again does nothing"
    assert [row.missing.number for row in check(project, store.name)] == [0, 0, 0]


def test_a_folder(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    exercise(project, Store("disk", "dir", str(place)))
    assert sorted(path.name for path in place.iterdir()) == ["images-1", "raw-1", "study-1"], "no canary is left"
    assert list(project.local.canaries.iterdir()) == []


@pytest.mark.slow
def test_a_bucket(project: Project, server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    bucket = f"study-{os.getpid()}"
    exercise(project, Store("lab", "s3", server.url, bucket, "deep/"))
    names = listing(Bucket(server.url, bucket, ""), Credentials(ACCESS, SECRET)).names
    assert {name.split("/")[1] for name in names} == {"images-1", "raw-1", "study-1"}
    for where in (project.root, project.root / "images"):
        held = Repo(where).git("grep", "-I", SECRET, "HEAD", "git-annex", ok=(0, 1))
        assert held == b"", "no credential gets into git"
        assert SECRET not in (where / ".git/config").read_text()
    with pytest.raises(UserError) as caught:
        add(project, Store("lab2", "s3", server.url, "Not_a_name"), quiet)
    assert code_of(caught) == "bucket.bad-name"
    for name in server.env:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # without ~/.aws/credentials
    assert [row.enabled for row in check(project, "lab")] == [True, True, True], "git-annex has the credentials"
    for other in (Store("lab2", "s3", server.url, bucket, "deep/"), Store("lab2", "s3", server.url, bucket)):
        with pytest.raises(UserError) as caught:
            add(project, other, quiet)
        assert code_of(caught) == "bucket.no-credentials", "which go to no store that nobody has confirmed"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A host with SSH."""
    with sshd(tmp_path_factory.mktemp("ssh") / "server") as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("address", ["ssh://127.0.0.1:{port}{}", pytest.param("lab:{}", marks=pytest.mark.soak)])
def test_a_folder_on_a_host(
    project: Project, host: SshServer, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", host.path)
    place = tmp_path / "there/deep"
    exercise(project, Store("lab", "ssh", address.format(place, port=host.port)))
    assert sorted(path.name for path in place.iterdir()) == ["images-1", "raw-1", "study-1"], "no canary is left"


@pytest.mark.slow
@pytest.mark.parametrize(
    "address", ["ria+file://{}", pytest.param("ria+ssh://127.0.0.1:{port}{}", marks=pytest.mark.soak)]
)
def test_a_ria_store(
    project: Project, host: SshServer, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", host.path)
    place = tmp_path / "ria"
    exercise(project, Store("ria", "ria", address.format(place, port=host.port)))
    assert sorted(path.name for path in place.iterdir()) == ["error_logs", "ima", "raw", "ria-layout-version", "stu"]
    assert list((place / "ima/ges-1/annex/objects").rglob("*.dat")), "where DataLad looks for it"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """A store behind rclone, which git-annex enables in a clone by itself."""
    need("rclone")
    (tmp_path / "cloud").mkdir()
    (tmp_path / "rclone.conf").write_text(f"[cloud]\ntype = alias\nremote = {tmp_path}/cloud\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    return Store("cloud", "rclone", "cloud:deep")


@pytest.mark.slow
def test_new_clones_do_not_enable_a_removed_store(project: Project, cloud: Store) -> None:
    """An unconfirmed remote blocks all that a clone sends."""
    images = Repo(project.root / "images")

    def enabled() -> str:
        rows = images.line("show", "git-annex:remote.log").splitlines()
        (last,) = (row.split() for row in rows if " name=cloud " in row)
        return next(word.partition("=")[2] for word in last if word.startswith("autoenable="))

    add(project, cloud, quiet)
    assert enabled() == "true"
    remove(project, "cloud", quiet)
    assert enabled() == "false"
    add(project, cloud, quiet)
    assert enabled() == "true"


@pytest.mark.slow
def test_a_remote_of_rclone(project: Project, cloud: Store, tmp_path: Path) -> None:
    exercise(project, cloud)
    assert sorted(path.name for path in (tmp_path / "cloud/deep").iterdir()) == ["images-1", "raw-1"], (
        "no canary is left"
    )


@pytest.mark.parametrize("kind", ["yes man", "nobody"])
def test_what_is_no_store_is_refused(project: Project, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    before = Repo(project.root).head()
    with yes_man() as url, pytest.raises(UserError) as caught:
        add(project, Store("lab", "s3", url if kind == "yes man" else "http://127.0.0.1:1", "study"), quiet)
    assert code_of(caught) == "bucket.no-store"
    assert (Repo(project.root).head(), stores(project)) == (before, {})
    assert Repo(project.root / "images").line("remote") == ""


@pytest.mark.parametrize(
    ("store", "code"),
    [
        (Store("origin", "dir", "/tmp/x"), "store.bad-name"),
        (Store("-x", "dir", "/tmp/x"), "store.bad-name"),
        (Store("a b", "dir", "/tmp/x"), "store.bad-name"),
        (Store("a", "dir", "/dev/null/x"), "store.unusable"),
        (Store("a", "dir", "relative"), "store.bad-address"),
        (Store("a", "dir", "/tmp/line\nbreak"), "store.bad-address"),
        (Store("a", "dir", "/tmp/\udcff"), "store.bad-address"),
        (Store("a", "s3", "http://127.0.0.1:1", "bucket", "\udcff/"), "store.bad-address"),
        (Store("a", "ssh", "lab"), "store.bad-address"),
        (Store("a", "ssh", "ssh://-oProxyCommand=x/y"), "store.bad-address"),
        (Store("a", "ssh", "lab:$(touch x)"), "store.bad-address"),
        (Store("a", "ssh", "ssh://127.0.0.1:1/x"), "store.unusable"),
        (Store("a", "ria", "ria+http://lab/x"), "store.bad-address"),
        (Store("a", "ria", "ria+ssh://-oProxyCommand=x/y"), "store.bad-address"),
        (Store("a", "rclone", ":sftp,ssh=x:y"), "store.bad-address"),
        (Store("a", "rclone", "unknown:y"), "store.unusable"),
    ],
)
def test_stores_that_are_refused(project: Project, store: Store, code: str) -> None:
    with pytest.raises(UserError) as caught:
        add(project, store, quiet)
    assert code_of(caught) == code
    assert stores(project) == {}
    problem = caught.value.problems[0]
    assert "store check" not in (problem.fix or ""), "the project has no such store"
    if store.url == "ssh://127.0.0.1:1/x":
        assert "ssh -p 1 127.0.0.1 true" in (problem.fix or "")


@pytest.mark.parametrize("kind", ["dir", "ria"])
@pytest.mark.parametrize("place", [".", "images", ".git/store", "new"])
def test_a_store_in_the_project_is_refused(project: Project, kind: Kind, place: str) -> None:
    there = f"{project.root}/{place}"
    with pytest.raises(UserError) as caught:
        add(project, Store("a", kind, f"ria+file://{there}" if kind == "ria" else there), quiet)
    assert code_of(caught) == "store.bad-address"
    assert stores(project) == {} and not (project.root / "new").exists()


@pytest.mark.parametrize("option", ["--dir", "--s3", "--ssh", "--ria", "--rclone"])
@pytest.mark.parametrize("exists", [False, True])
def test_an_empty_address_is_refused(project: Project, tmp_path: Path, option: str, exists: bool) -> None:
    if exists:  # a variable that is not set must not mean the store that the project has
        add(project, Store("disk", "dir", str(tmp_path / "disk")), quiet)
    done = Study(project.root).minipach("store", "add", "disk", option, "")
    assert (done.code, done.out, done.refusals) == (2, "", [("store.bad-address", option)])


def test_a_dataset_without_an_id_is_found_before_anything_is_set_up(
    root: Files, project: Project, tmp_path: Path
) -> None:
    plain = repo(root, "plain")
    plain.put(".datalad/config", "")
    plain.git("annex", "init", "--quiet")
    plain.commit()
    with pytest.raises(UserError) as caught:
        add(find_project(root.path), Store("disk", "dir", str(tmp_path / "disk")), quiet)
    assert code_of(caught) == "store.no-dataset-id" and str(plain.path) in caught.value.problems[0].fix
    assert Repo(root.path / "images").line("remote") == "" and not (tmp_path / "disk").exists()


def test_a_name_that_a_remote_has(project: Project, tmp_path: Path) -> None:
    Repo(project.root / "images").git("remote", "add", "disk", "/nowhere")
    with pytest.raises(UserError) as caught:
        add(project, Store("disk", "dir", str(tmp_path / "disk")), quiet)
    assert code_of(caught) == "store.name-taken"


def test_a_store_with_the_only_copy_is_not_removed(project: Project, tmp_path: Path) -> None:
    add(project, Store("disk", "dir", str(tmp_path / "disk")), quiet)
    here = Repo(project.root / "images")
    annex(here, "move", "--quiet", "--to=disk", "a.dat")
    with pytest.raises(UserError) as caught:
        remove(project, "disk", quiet)
    assert code_of(caught) == "store.only-copy"
    annex(here, "get", "--quiet", "a.dat")
    remove(project, "disk", quiet)
    assert stores(project) == {}
    assert here.line("remote") == ""
    assert list((tmp_path / "disk/images-1").rglob("*.dat")), "its objects stay"


def test_a_clone_without_the_remote_does_not_remove_a_store_with_the_only_copy(
    project: Project, tmp_path: Path
) -> None:
    add(project, Store("disk", "dir", str(tmp_path / "disk")), quiet)
    here = Repo(project.root / "images")
    annex(here, "move", "--quiet", "--to=disk", "a.dat")
    here.git("rm", "--quiet", "a.dat")
    here.git("commit", "--quiet", "-m", "an earlier version is a content, too")
    copy = clone_of(project, tmp_path / "copy")
    listed = Study(copy.root).minipach("store", "list")
    assert listed.code == 0 and listed.refusals == [("store.not-confirmed", "disk")]
    with pytest.raises(UserError) as caught:
        remove(copy, "disk", quiet)
    assert code_of(caught) == "store.only-copy" and "minipach store add disk" in caught.value.problems[0].fix
    assert set(stores(copy)) == {"disk"}
    annex(here, "get", "--quiet", "--from=disk", "--all")
    Repo(copy.root / "images").git("fetch", "--quiet")
    remove(copy, "disk", quiet)
    known = Repo(copy.root / "images").objects.read("git-annex:remote.log") or b""
    assert b"autoenable=false" in known.splitlines()[-1], "a remote that is not enabled here, too"


@pytest.mark.parametrize(
    "lines",
    [
        "kind = shell\n\turl = x",
        "kind = dir",
        "kind = dir\n\turl = --upload-pack=x",
        "kind = s3\n\turl = https://me:secret@host",
        'kind = dir\n\turl = "a\\nb"',
    ],
)
def test_a_committed_store_that_is_none(project: Project, lines: str) -> None:
    config = project.root / ".datalad/config"
    config.write_text(config.read_text() + f'[minipach-store "lab"]\n\t{lines}\n')
    with pytest.raises(UserError) as caught:
        stores(project)
    assert code_of(caught) == "store.bad-setting"
    assert "secret" not in str(caught.value)


def clone_of(project: Project, place: Path) -> Project:
    """A clone of the project with its datasets, in which git-annex has enabled the store by itself."""
    for path in ("", "images", "images/raw"):
        there = place / path
        Repo(project.root).git("clone", "--quiet", str(project.root / path), str(there))
        Files(there).git("annex", "init", "--quiet")
    for path in ("", "images"):
        shutil.copy(project.root / path / ".gitmodules", place / path)
    return find_project(place)


@pytest.mark.slow
def test_a_store_that_came_with_a_clone_waits_for_confirmation(project: Project, cloud: Store, tmp_path: Path) -> None:
    add(project, cloud, quiet)
    assert is_confirmed(project.repo, cloud)
    copy = clone_of(project, tmp_path / "copy")
    here = Repo(copy.root / "images")
    assert here.config("remote.cloud.annex-uuid") is not None
    told: list[str] = []
    push(copy, "origin", told.append)
    assert any("cloud: cloud:deep" in line and "minipach store add cloud" in line for line in told), told
    assert here.config("remote.cloud.annex-verified") == "automatic"
    assert {row.path: row.enabled for row in states(copy, cloud)} == {"images/raw": False, "images": False, ".": False}
    for act in (lambda: push(copy, "cloud", quiet), lambda: check(copy, "cloud")):
        with pytest.raises(UserError) as caught:
            act()
        assert code_of(caught) == "store.not-confirmed"
    add(copy, cloud, quiet)
    assert here.config("remote.cloud.annex-verified") == "verified"
    (here.path / "b.dat").write_bytes(os.urandom(500))
    here.git("annex", "add", "--quiet", "b.dat")
    here.git("commit", "--quiet", "-m", "more")
    assert [one.contents for one in push(copy, "cloud", quiet) if one.repo == "images"] == [1]


@pytest.mark.slow
def test_a_clone_that_removes_an_unconfirmed_store_sends_to_its_other_remotes(
    project: Project, cloud: Store, tmp_path: Path
) -> None:
    add(project, cloud, quiet)
    copy = clone_of(project, tmp_path / "copy")
    images = Repo(copy.root / "images")
    images.git("init", "--quiet", "--bare", str(tmp_path / "server"))
    Repo(tmp_path / "server").git("annex", "init", "--quiet")
    images.git("remote", "add", "server", str(tmp_path / "server"))
    annex(images, "get", "--quiet", "a.dat")

    def pushed(plan: bool = False) -> RepoExchange:
        return next(one for one in push(copy, "server", quiet, plan=plan) if one.repo == "images")

    for plan in (True, False):  # what the plan says is what happens
        (problem,) = pushed(plan).problems
        assert problem.code == "push.unverified-remote"
        assert problem.fix.endswith("minipach store remove cloud --here")
    told: list[str] = []
    remove_here(copy, "cloud", told.append)
    assert len(told) == 3 and stores(copy) == {"cloud": cloud} and images.config("remote.cloud.annex-uuid") is None
    assert pushed(plan=True).problems == ()
    moved = pushed()
    assert (moved.problems, moved.contents) == ((), 1) and list((tmp_path / "server").rglob("*.dat"))
    assert not list((tmp_path / "cloud").rglob("*.dat")), "nothing goes to a store that is not confirmed"


def test_a_store_whose_address_changed_waits_for_confirmation(project: Project, tmp_path: Path) -> None:
    add(project, Store("disk", "dir", str(tmp_path / "disk")), quiet)
    late = annexed(repo(Files(project.root), "late"), "late-1")
    project.repo.git("config", "--file", ".datalad/config", "minipach-store.disk.url", str(tmp_path / "elsewhere"))
    again = find_project(project.root)
    with pytest.raises(UserError) as caught:
        push(again, "disk", quiet)
    assert code_of(caught) == "store.not-confirmed"
    assert f"{tmp_path}/disk" in str(caught.value)
    assert late.line("remote") == "" and not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_remote_that_is_another_than_the_store(project: Project, cloud: Store, tmp_path: Path) -> None:
    add(project, cloud, quiet)
    there = Files(project.root / "images")
    log = there.read("git-annex", "remote.log").decode()
    there.git("checkout", "--quiet", "git-annex")
    (there.path / "remote.log").write_text(log.replace("deep", "evil"))
    there.git("commit", "--quiet", "-am", "x")
    there.git("checkout", "--quiet", "-")
    copy = clone_of(project, tmp_path / "copy")
    with pytest.raises(UserError) as caught:
        add(copy, cloud, quiet)
    assert code_of(caught) == "store.described-differently"
    assert Repo(copy.root / "images").config("remote.cloud.annex-verified") == "automatic"
