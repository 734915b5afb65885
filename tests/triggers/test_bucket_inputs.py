"""Buckets as inputs, with two independent servers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipach.project.project import Project
from minipach.storage import private_store
from minipach.storage.private_store import write_ports
from minipach.storage.s3 import Credentials, bucket, describe, prove
from minipach.triggers import bucket_inputs
from tests.fixtures.passes import Kept, wait_until_quiet
from tests.fixtures.projects import PATIENCE, Study
from tests.fixtures.receivers import Serving, heard, serving
from tests.fixtures.refusals import refused
from tests.fixtures.s3_servers import ACCESS, SECRET, S3Server, juicefs, seaweedfs, yes_man


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """MinIO's server code: no versions."""
    with juicefs(tmp_path_factory.mktemp("juicefs") / "store") as server:
        yield server


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS: with versions."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs") / "store") as server:
        yield server


def add(study: Study, server: S3Server, name: str, *options: str, code: int = 0) -> str:
    done = study.minipach("input", "add", name, "--s3", server.url, *options, env=server.env)
    assert done.code == code, done.err
    assert SECRET not in done.out + done.err
    return done.err


def update(study: Study) -> list[str]:
    kept = Kept()
    assert bucket_inputs.update(Project(study.root), kept) == ()
    return [event.as_json()["text"] for event in kept.events]


def files(study: Study, repo: str) -> set[str]:
    names = study.git(repo, "ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")
    return {name for name in names if name and not name.startswith((".datalad", ".gitattributes"))}


def test_what_is_no_store_is_refused(study: Study, minio: S3Server) -> None:
    key = Credentials(ACCESS, SECRET)
    with yes_man() as url, refused("bucket.no-store"):
        prove(bucket(url, "raw", ""), key)
    with refused("bucket.no-store", "http://127.0.0.1:9/raw"):
        prove(bucket("http://127.0.0.1:9", "raw", ""), key)
    with refused("bucket.bad-name", "b"):
        prove(bucket(minio.url, "b", ""), key)
    with refused("bucket.refused", f"{minio.url}/nothing", "NoSuchBucket"):
        prove(bucket(minio.url, "nothing", ""), key)
    with refused("bucket.refused", f"{minio.url}/ready", "SignatureDoesNotMatch"):
        prove(bucket(minio.url, "ready", ""), Credentials(ACCESS, "wrong-secret"))
    for url in ("ftp://x", "http://", "http://u:p@x", "http://x/path", "http://x:y", "x"):
        with refused("bucket.bad-url") as found:
            bucket(url, "raw", "")
        assert "u:p" not in str(found.problem)
    for name, prefix in (("", ""), ("a\n", ""), ("a", "/b")):
        with refused("bucket.bad-name"):
            bucket("http://x", name, prefix)
    assert repr(key) == "Credentials()"


def test_bad_input_is_one_line_and_changes_nothing(study: Study, minio: S3Server) -> None:
    before = study.git(".", "rev-parse", "HEAD")
    for name in ("images", "../x", ".", ".git/x", "/tmp/x"):
        line = add(study, minio, name, "--bucket", "ready", code=2)
        assert len(line.splitlines()) == 1
    done = study.minipach("input", "add", "raw", "--s3", minio.url, "--bucket", "ready")
    assert (done.code, done.refusals) == (2, [("bucket.no-credentials", "S3")])
    assert study.minipach("input", "remove", "raw").reports("input.unknown", "raw")
    assert study.git(".", "rev-parse", "HEAD") == before and study.git(".", "status", "--porcelain") == ""


def test_update_by_hand(study: Study, minio: S3Server) -> None:
    done = study.minipach("input", "update")
    assert (done.code, done.out) == (0, "no input is a bucket; minipach input add\n")
    done = study.minipach("input", "update", "raw")
    assert done.code == 2 and done.refusals == [("input.unknown", "raw")]
    for key, value in (("url", "http://127.0.0.1:9"), ("name", "raw")):
        study.git(".", "config", f"minipach.bucket.images.{key}", value)
    done = study.minipach("input", "update", env=minio.env)
    assert done.code == 2 and done.err.count("\n") == 1 and "127.0.0.1:9: Connection refused" in done.err


@pytest.mark.slow
def test_objects_come_change_and_go(study: Study, minio: S3Server) -> None:
    minio.bucket("plain", **{"in/a": "a", "in/sub/b c+ü": "b", "other": "x"})
    add(study, minio, "raw", "--bucket", "plain", "--prefix", "in")
    assert files(study, "raw") == {"a", "sub/b c+ü"}
    assert study.read("raw/sub/b c+ü") == b"b"
    assert update(study) == []  # nothing has changed
    head = study.git("raw", "rev-parse", "HEAD")
    minio.put("plain", "in/a", "a2")
    minio.put("plain", "in/new", "n")
    minio.client.remove_object("plain", "in/sub/b c+ü")
    study.put("raw/README", "mine")
    assert study.minipach("input", "update", env=minio.env).err == "raw: 3 object(s) changed in plain\n"
    assert study.minipach("input", "update", "raw", env=minio.env).out == "nothing has changed\n"
    assert files(study, "raw") == {"a", "new", "README"} and study.read("raw/a") == b"a2"
    assert study.git("raw", "rev-parse", "HEAD") == study.git(".", "rev-parse", "HEAD:raw") != head
    assert study.git(".", "status", "--porcelain") == ""
    everything = study.git("raw", "log", "-p", "--all") + study.git(".", "log", "-p", "--all")
    assert SECRET not in everything and ACCESS not in everything
    listed = study.minipach("input", "list", "--json").json
    assert listed["inputs"][0] | {"s3": ""} == {
        "name": "raw", "s3": "", "bucket": "plain", "prefix": "in/", "versions": False, "listen": False,
    }  # fmt: skip
    rows = study.minipach("triggers", "--json").json["triggers"]
    assert [(r["kind"], r["name"]) for r in rows if r["kind"] == "bucket"] == [("bucket", "raw")]

    other = study.root.parent / "other"
    study.ok("git", "clone", "-q", "raw", str(other))
    log = study.git("raw", "show", "git-annex:remote.log").replace("host=127.0.0.1", "host=evil.example")
    study.git("raw", "worktree", "add", "-q", str(other / "w"), "git-annex")
    (other / "w" / "remote.log").write_text(log)
    study.ok("git", "commit", "-q", "--no-verify", "-am", "x", cwd=other / "w")
    minio.put("plain", "in/later", "l")
    (problem,) = bucket_inputs.update(Project(study.root), Kept())
    assert problem.code == "input.other-store" and files(study, "raw") == {"a", "new", "README"}

    assert study.minipach("input", "remove", "raw").code == 0
    assert update(study) == [] and bucket_inputs.bucket_inputs(Project(study.root)) == []


@pytest.mark.slow
def test_bucket_with_versions_fetches_contents_when_a_datum_needs_them(study: Study, weed: S3Server) -> None:
    weed.bucket("kept", versions=True, **{"a.txt": "a", "b.dat": "b" * 50, "gone.txt": "g"})
    add(study, weed, "raw", "--bucket", "kept")
    assert study.git("raw", "annex", "find", "--in=here") == ""
    weed.client.remove_object("kept", "gone.txt")
    weed.put("kept", "a.txt", "a2")
    assert update(study) == ["raw: 2 object(s) changed in kept"]
    assert files(study, "raw") == {"a.txt", "b.dat"}
    study.copier(repo="raw", glob="/*.txt")
    study.schedule()
    assert study.read("edges/a.txt") == b"a2"
    assert "b.dat" not in study.git("raw", "annex", "find", "--in=here")  # nothing has asked for it


@pytest.mark.slow
def test_an_upload_to_the_private_server_starts_a_pass(study: Study, weed: S3Server, tmp_path: Path) -> None:
    """The input is added while `minipach serve` runs, without credentials, a bucket or an option."""
    local = Project(study.root).local
    local.store.mkdir(parents=True)
    write_ports(local, weed.ports)
    (local.store / "key").write_text(f"{ACCESS}\n{SECRET}\n")
    study.copier(repo="raw")
    with serving(study, tmp_path / "log", "--every", "0", env={}) as found:
        done = study.minipach("input", "add", "raw", "--s3", weed.url, "--bucket", "private-new")
        assert done.code == 0 and SECRET not in done.out + done.err, done.err

        def listening() -> list[str]:
            return processes("filer.meta.tail", "/buckets/private-new/")

        wait_for(lambda: len(listening()) == 1, found)
        weed.put("private-new", "second", "2")
        wait_for(lambda: "second" in study.outputs("edges"), found)
        wait_until_quiet(study)
        assert study.minipach("input", "remove", "raw").code == 0
        wait_for(lambda: not listening(), found)
        assert found.process.poll() is None


def processes(*words: str) -> list[str]:
    """The command lines that have all of these words."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if all(word in line for word in words)]


def wait_for(condition: Callable[[], bool], found: Serving) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert found.process.poll() is None and time.monotonic() < deadline, found.log.read_text()
        time.sleep(0.1)


def test_events_of_the_private_server_are_described() -> None:
    def said(line: bytes) -> str:
        return private_store._described(line, "/buckets/scans/")

    assert (
        said(b'{"directory": "/buckets/scans/2026", "eventNotification": {"newEntry": {"name": "a b"}}}') == "2026/a b"
    )
    assert said(b'{"directory": "/buckets/scans", "eventNotification": {"oldEntry": {"name": "x"}}}') == "x"
    for line in (b"", b"[]", b"\xff", b'{"directory": 7, "eventNotification": {"newEntry": [1]}}', b"[" * 100_000):
        said(line)


@pytest.mark.slow
def test_listener_starts_a_pass(study: Study, minio: S3Server, tmp_path: Path) -> None:
    minio.bucket("events", first="1")
    add(study, minio, "raw", "--bucket", "events", "--listen")
    study.copier(repo="raw")
    study.schedule()
    with serving(study, tmp_path / "log", "--every", "0", env={}) as found:
        assert "listens to the buckets of: raw" in found.log.read_text()
        wait_until_quiet(study)
        minio.put("events", "second", "2")
        deadline = time.monotonic() + PATIENCE
        while "second" not in study.outputs("edges"):
            assert found.process.poll() is None and time.monotonic() < deadline, found.log.read_text()
            time.sleep(0.2)
        wait_until_quiet(study)
    assert heard(study) == [] and study.read("edges/second") == b"2"


def test_events_that_a_listener_can_not_read() -> None:
    for event in (None, {}, {"Records": 1}, {"Records": [1]}, {"Records": [{"s3": 1}]}, {"Records": [{"s3": {}}]}):
        assert describe(event)
