"""Stores that fail: what is pushed is stored, what is lost is found, and the next push continues."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex
from minipach.git.tree_entries import FILE, SYMLINK, TreeEntry
from minipach.model.repo_layout import RESULT_REFS, RESULTS_FILE
from minipach.project.project import Project, find_project
from minipach.publish import fold_results, results_exchange
from minipach.publish.fold_results import PlacesAhead
from minipach.publish.push_pull import RepoExchange, push
from minipach.storage.places import note_places
from minipach.storage.setup import add
from minipach.storage.store import Store
from minipach.support.errors import UserError
from tests.fixtures.faulty_links import FaultyLink, faulty_link
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files
from tests.fixtures.s3_servers import S3Server, juicefs
from tests.fixtures.small_disks import small_disk

__all__ = ["root"]
SIZE = 300_000


def quiet(_: str) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with juicefs(tmp_path_factory.mktemp("s3") / "server") as running:
        yield running


def prepare(root: Files, place: Path) -> Files:
    """Make the repos of a project, with remotes that keep no contents; return its dataset."""
    config = root.path / ".datalad/config"
    config.write_text(config.read_text() + '[datalad "dataset"]\n\tid = study-1\n')
    images = repo(root, "images")
    images.put(".datalad/config", (images.path / ".datalad/config").read_text().replace("id = x", "id = images-1"))
    for files, name in ((images, "images"), (root, "top")):
        files.git("init", "--quiet", "--bare", str(place / f"{name}.git"))
        files.git("remote", "add", "origin", str(place / f"{name}.git"))
        files.git("config", "remote.origin.annex-ignore", "true")
        files.git("annex", "init", "--quiet")
        files.commit()
    root.git("add", "images")
    root.commit()
    return images


@dataclass
class Stage:
    """A project with a dataset of three contents, and a store behind a link that fails on demand."""

    project: Project
    images: Files
    link: FaultyLink
    server: S3Server
    bucket: str
    bare: Path

    @property
    def pushed(self) -> str | None:
        """The commit that others see."""
        return Repo(self.bare).resolve("main")

    def save(self, *names: str) -> None:
        """Commit new contents."""
        for name in names:
            (self.images.path / name).write_bytes(os.urandom(SIZE))
            self.images.git("annex", "add", "--quiet", name)
        self.images.commit()

    def objects(self) -> list[str]:
        """The objects of the dataset in the store."""
        found = self.server.client.list_objects(self.bucket, prefix="images-1/", recursive=True)
        return [str(one.object_name) for one in found if "SHA256E" in str(one.object_name)]

    def push(self, verify: int = 0) -> RepoExchange:
        """Push; the outcome for the dataset. Its problems take one line each."""
        moved = {one.repo: one for one in push(self.project, None, quiet, verify=verify)}
        for one in moved.values():
            assert all("\n" not in str(problem) for problem in one.problems)
        if moved["images"].problems and self.pushed is None:
            assert [p.code for p in moved["."].problems] == ["push.held"]
        return moved["images"]


@pytest.fixture
def stage(root: Files, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(results_exchange, "pause", lambda _attempt: None)
    images = prepare(root, tmp_path)
    with faulty_link(int(server.url.rpartition(":")[2])) as link:
        project = find_project(root.path)
        bucket = f"b{os.urandom(6).hex()}"
        add(project, Store("lab", "s3", f"http://127.0.0.1:{link.port}", bucket), quiet)
        made = Stage(project, images, link, server, bucket, tmp_path / "images.git")
        made.save("a", "b", "c")
        yield made


@pytest.mark.slow
def test_a_store_that_dies_in_the_middle_of_a_push(stage: Stage) -> None:
    stage.link.fail_after(sent=SIZE + SIZE // 2)
    (problem,) = stage.push().problems
    assert problem.code == "push.content-not-sent" and "to lab" in problem.message
    assert results_exchange.passes(problem.message), problem.message
    assert stage.pushed is None
    before = len(stage.objects())
    assert before < 3, "it died in the middle"
    stage.link.mend()
    moved = stage.push()
    assert (moved.problems, stage.pushed) == ((), stage.images.head())
    assert len(stage.objects()) == 3
    stage.images.git("annex", "fsck", "--quiet", "--from=lab")


@pytest.mark.slow
def test_a_store_that_dies_in_the_middle_of_a_fetch(stage: Stage) -> None:
    stage.push()
    stage.images.git("annex", "drop", "--quiet", ".")
    stage.link.fail_after(answered=SIZE // 2)
    with pytest.raises(GitError):
        annex(stage.images, "get", "--quiet", ".")
    stage.link.mend()
    annex(stage.images, "get", "--quiet", ".")
    annex(stage.images, "fsck", "--quiet", ".")


@pytest.mark.slow
def test_a_slow_store_is_waited_for(stage: Stage) -> None:
    stage.link.delay = 0.02
    assert (stage.push(verify=1).problems, stage.pushed) == ((), stage.images.head())


@pytest.mark.slow
def test_a_lost_and_a_damaged_object_are_found(stage: Stage) -> None:
    stage.push()
    lost, damaged, _ = stage.objects()
    stage.server.client.remove_object(stage.bucket, lost)
    stage.server.put(stage.bucket, damaged, "x" * SIZE)
    (problem,) = stage.push(verify=3).problems
    assert problem.code == "push.content-damaged"
    with pytest.raises(GitError):
        annex(stage.images, "fsck", "--quiet", "--from=lab", ".")  # the other one
    moved = stage.push(verify=3)
    assert (moved.problems, moved.contents) == ((), 2), "what was lost goes again"
    stage.images.git("annex", "fsck", "--quiet", "--from=lab")


@pytest.mark.slow
def test_places_are_learnt_from_the_store_alone(stage: Stage) -> None:
    keys = {stage.images.line("annex", "lookupkey", name) for name in ("a", "b")}
    stage.push()
    stage.images.git("annex", "drop", "--quiet", ".")
    uuid = stage.images.config("remote.lab.annex-uuid")
    for key in keys:
        stage.images.git("annex", "setpresentkey", key, str(uuid), "0")
    nowhere = "SHA256E-s3--" + "a" * 64
    stage.link.fail_after(sent=0)
    with pytest.raises(UserError) as caught:
        note_places(stage.images, {*keys, nowhere})
    assert caught.value.problems[0].code == "store.no-answer"
    stage.link.mend()
    assert note_places(stage.images, {*keys, nowhere}) == {nowhere}
    assert stage.images.line("annex", "find", "--in=lab").split() == ["a", "b", "c"]


@pytest.mark.slow
def test_a_store_that_is_full(root: Files, tmp_path: Path) -> None:
    images = prepare(root, tmp_path)
    (images.path / "a").write_bytes(os.urandom(SIZE))
    images.git("annex", "add", "--quiet", "a")
    images.commit()
    project = find_project(root.path)
    with small_disk(tmp_path / "disk", "300k") as disk:
        with refused("store.unusable", None, "not enough free space"):
            add(project, Store("disk", "dir", str(disk.folder)), quiet)
        disk.grow("200m")
        add(project, Store("disk", "dir", str(disk.folder)), quiet)
        disk.grow("50m")  # git-annex leaves 100 MB free
        moved = {one.repo: one for one in push(project, None, quiet)}
        (problem,) = moved["images"].problems
        assert problem.code == "push.content-not-sent" and "\n" not in str(problem)
        assert Repo(tmp_path / "images.git").resolve("main") is None
        disk.grow("200m")
        assert [one.problems for one in push(project, None, quiet)] == [(), ()]
        assert Repo(tmp_path / "images.git").resolve("main") == images.head()
        images.git("annex", "fsck", "--quiet", "--from=disk")


@pytest.mark.slow
def test_a_store_that_is_back_within_the_call(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.link.fail_after(sent=SIZE + SIZE // 2)
    pauses = []

    def mend(attempt: int) -> None:
        pauses.append(len(stage.objects()))
        stage.link.mend()

    monkeypatch.setattr(results_exchange, "pause", mend)
    moved = stage.push()
    assert (moved.problems, moved.contents, stage.pushed) == ((), 3, stage.images.head())
    assert pauses and pauses[0] < 3, "it died in the middle, and the same push went on"


@pytest.mark.slow
def test_a_server_that_is_killed(root: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in the middle of a push, and of a fetch; the server starts again on the same data."""
    monkeypatch.setattr(results_exchange, "pause", lambda _attempt: None)
    images = prepare(root, tmp_path)
    project = find_project(root.path)
    with juicefs(tmp_path / "s3") as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        with faulty_link(int(server.url.rpartition(":")[2])) as link:
            add(project, Store("lab", "s3", f"http://127.0.0.1:{link.port}", "killed"), quiet)
            stage = Stage(project, images, link, server, "killed", tmp_path / "images.git")
            stage.save("a", "b", "c")
            link.on_sent(SIZE + SIZE // 2, server.kill)
            (problem,) = stage.push().problems
            assert problem.code == "push.content-not-sent" and stage.pushed is None
            server.start()
            moved = stage.push()
            assert (moved.problems, stage.pushed, len(stage.objects())) == ((), images.head(), 3)
            images.git("annex", "drop", "--quiet", ".")
            link.on_answered(SIZE // 2, server.kill)
            with pytest.raises(GitError):
                annex(images, "get", "--quiet", ".")
            server.start()
            annex(images, "get", "--quiet", ".")
            annex(images, "fsck", "--quiet", ".")
            images.git("annex", "fsck", "--quiet", "--from=lab")


def test_places_of_pending_results_are_noted_while_others_run(
    root: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the end of a pass does not wait for the answers of a store, content by content."""
    edges = prepare(root, tmp_path)
    (tmp_path / "store").mkdir()
    edges.git("annex", "initremote", "lab", "type=directory", f"directory={tmp_path / 'store'}", "encryption=none")
    edges.put("a", os.urandom(SIZE))
    edges.git("annex", "add", "--quiet", "a")
    edges.commit()
    there = Repo(edges.path)
    key = there.line("annex", "lookupkey", "a")
    there.git("annex", "move", "--quiet", "--to=lab", "a")
    there.git("annex", "setpresentkey", key, there.config("remote.lab.annex-uuid") or "", "0")
    link = there.hash_blob(f".git/annex/objects/xx/yy/{key}/{key}".encode())
    row = dict.fromkeys(("name", "dest", "author", "record", "code_tree"), "a")
    results = [{**row, "id": "0" * 64, "files": [["a", SYMLINK, link]]}, {"id": "of an unknown version"}]
    blob = there.hash_blob(json.dumps({"results": results}).encode())
    commit = there.commit_tree(there.write_tree([TreeEntry(FILE, blob, RESULTS_FILE)]), "a", [])
    there.update_refs([f"update {RESULT_REFS}one {commit}"])

    ahead = PlacesAhead(edges.path)
    ahead.look()
    ahead.end()
    assert there.line("annex", "find", "--in=lab", "--format=${file}") == "", "one content is no work worth the start"
    monkeypatch.setattr(fold_results, "_MANY", 1)
    ahead.look()
    ahead.end()

    assert there.line("annex", "find", "--in=lab", "--format=${file}") == "a"
