"""`minipach.publish.egress`: files under their names elsewhere; new ones first, the manifest, then deletions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from minipach.project.project import Project, find_project
from minipach.publish.egress import MANIFEST, Exported, egress
from minipach.support.errors import Problem, UserError
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.projects import Study
from tests.fixtures.repos import Files
from tests.fixtures.s3_servers import SECRET, S3Server, juicefs, seaweedfs
from tests.fixtures.secret_search import files_with, watched_processes
from tests.fixtures.ssh_servers import sshd

pytestmark = pytest.mark.slow

__all__ = ["root"]
SIZE = 5_000


@pytest.fixture
def images(root: Files) -> Files:
    """A dataset with three contents and a file in git."""
    made = repo(root, "images")
    made.git("annex", "init", "--quiet")
    for name in ("a", "b", "deep/c"):
        made.put(name, b"")
        (made.path / name).unlink()
        (made.path / name).write_bytes(os.urandom(SIZE))
        made.stage(name)
    made.in_git("notes.txt", "plain\n")
    made.commit()
    return made


def sent(images: Files, place: Path | str) -> Exported:
    project: Project = find_project(images.path.parent)
    return egress(project, "images", str(place))


def files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def counts(done: Exported) -> tuple[int, int, int, int]:
    return done.new, done.size, done.renamed, done.gone


def test_new_renamed_and_gone(images: Files, tmp_path: Path) -> None:
    place = tmp_path / "out"
    assert counts(sent(images, place)) == (4, 3 * SIZE + 6, 0, 0)
    assert files(place) == ["a", "b", "deep/c", MANIFEST, "notes.txt"]
    assert (place / "a").read_bytes() == (images.path / "a").read_bytes()
    assert counts(sent(images, place)) == (0, 0, 0, 0), "nothing goes twice"
    images.git("mv", "a", "moved")
    images.git("rm", "--quiet", "b")
    images.put("new", b"x" * 10)
    images.commit()
    assert counts(sent(images, place)) == (1, 10, 1, 1)
    assert files(place) == ["deep/c", MANIFEST, "moved", "new", "notes.txt"]
    manifest = json.loads((place / MANIFEST).read_text())
    assert sorted(manifest["files"]) == ["deep/c", "moved", "new", "notes.txt"]
    assert (manifest["schema"], manifest["commit"]) == (1, images.head())


def test_it_continues_after_a_failure(images: Files, tmp_path: Path) -> None:
    place = tmp_path / "out"
    sent(images, place)
    before = (place / MANIFEST).read_bytes()
    images.git("rm", "--quiet", "b")
    images.put("new", b"x" * 10)
    images.put("other", b"y" * 10)
    images.commit()
    key = images.line("annex", "lookupkey", "new")
    images.git("annex", "drop", "--quiet", "--force", "new")
    with pytest.raises(UserError) as caught:
        sent(images, place)
    assert caught.value.problems[0].code == "egress.incomplete" and "\n" not in str(caught.value)
    assert (place / "b").is_file() and (place / MANIFEST).read_bytes() == before, "deletions come last"
    (tmp_path / "new").write_bytes(b"x" * 10)
    images.git("annex", "setkey", key, str(tmp_path / "new"))
    sent(images, place)
    assert files(place) == ["a", "deep/c", MANIFEST, "new", "notes.txt", "other"]


@pytest.mark.parametrize("below", ["", ".", "..", "../..", "images", "images/new", "other"])
def test_no_place_among_the_files_of_the_project(images: Files, below: str) -> None:
    root = images.path.parent
    for place in (f"{root}/{below}", f"file://{root}/{below}") if below else ("",):
        with pytest.raises(UserError) as caught:
            sent(images, place)
        assert caught.value.problems[0].code == "egress.unusable"
    assert not (root / "other").exists() and not (root / "images/new").exists()


def test_a_place_may_be_named_as_in_a_spec(images: Files, tmp_path: Path) -> None:
    assert counts(sent(images, f"file://{tmp_path}/out")) == (4, 3 * SIZE + 6, 0, 0)
    assert counts(sent(images, tmp_path / "out")) == (0, 0, 0, 0), "it is the same place"


@pytest.mark.parametrize("place", ["ftp://h/x", "/dev/null/x", "ssh://-oProxyCommand=x/y", "\udcff"])
def test_no_place(images: Files, place: str) -> None:
    with pytest.raises(UserError) as caught:
        sent(images, place)
    assert caught.value.problems[0].code in ("egress.unusable", "store.bad-address")


def test_a_server_that_nobody_has_named_is_asked_for(images: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting, a bucket is one of Amazon's: the likely mistake is that it is not."""

    def no_answer(*_: object) -> None:
        raise UserError(Problem("bucket.no-store", "https://s3.amazonaws.com/b", "no object store answers"))

    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr("minipach.publish.egress.make_bucket", no_answer)
    with pytest.raises(UserError) as caught:
        sent(images, "s3://b/edges")
    (problem,) = caught.value.problems
    assert problem.code == "bucket.no-store" and problem.fix.startswith("git config minipach.egress-endpoint URL")


def with_egress(study: Study, url: str) -> None:
    spec = study.root / "edges/spec.yml"
    spec.write_text(spec.read_text().rstrip() + f"\negress: {{URL: '{url}'}}\n")
    study.save("edges")


def test_a_schedule_sends_what_the_spec_says(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for name in ("a", "b"):
        study.put(f"images/{name}", f"content of {name}", save=False)
    study.save("images")
    study.copier()
    study.schedule()
    place = tmp_path / "out"
    with_egress(study, f"file://{place}")
    done = study.minipach("schedule")
    assert done.code == 0 and f"edges: file://{place} " in done.err
    assert "ran 0" not in done.err and not place.exists(), "a spec alone writes nowhere"
    assert study.plan()["edges"]["counts"]["run"] == 0, "the place is no part of the identity of a datum"
    done = study.minipach("egress", "edges")
    assert (done.code, done.out) == (0, "edges: 2 new (24 B), 0 renamed (0 B), 0 gone\n"), done.err
    assert "edges: " not in study.minipach("schedule").err.replace("edges: current", ""), "nothing is said twice"
    study.git("images", "mv", "a", "moved")
    study.git("images", "rm", "--quiet", "b")
    study.put("images/c", "content of c")
    commit = place.rename(tmp_path / "away")
    place.write_text("no folder")
    done = study.minipach("schedule")
    assert done.code == 2 and done.reports("egress.incomplete"), done.err
    assert sorted(study.outputs("edges")) == ["c", "moved"], "the publish stays"
    place.unlink()
    commit.rename(place)
    done = study.minipach("schedule")
    assert done.code == 0 and "edges: 1 new (12 B), 1 renamed (0 B), 1 gone" in done.err, done.err
    assert files(place) == ["c", MANIFEST, "moved"]
    with_other = study.root / "edges/spec.yml"
    with_other.write_text(with_other.read_text().replace("/out'", "/elsewhere'"))
    study.save("edges")
    assert "not confirmed here" in study.minipach("schedule").err and not (tmp_path / "elsewhere").exists()


def test_a_pipeline_without_a_place(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a", "content of a")
    study.copier()
    study.schedule()
    done = study.minipach("egress", "edges")
    assert (done.code, done.refusals) == (2, [("egress.no-place", "edges")])


def _first(tmp_path: Path, url: str) -> Study:
    """A pipeline with one output, whose spec names a place."""
    study = Study.create(tmp_path / "study")
    study.put("images/a", "content of a")
    study.copier()
    with_egress(study, url)
    done = study.minipach("schedule")
    assert done.code == 0 and f"edges: {url} " in done.err, done.err
    return study


def _second(study: Study) -> None:
    """Rename the output, and add another."""
    study.git("images", "mv", "a", "moved")
    study.put("images/b", "content of b")
    done = study.minipach("schedule")
    assert done.code == 0 and "edges: 1 new (12 B), 1 renamed (0 B), 0 gone" in done.err, done.err
    assert "edges: 1 new" not in study.minipach("schedule").err, "nothing goes twice"


@pytest.mark.parametrize("server", [juicefs, pytest.param(seaweedfs, marks=pytest.mark.soak)])
def test_a_bucket_gets_what_the_spec_says(
    tmp_path: Path, server: Callable[[Path], AbstractContextManager[S3Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _first(tmp_path, "s3://results/edges")
    with server(tmp_path / "s3") as there:
        for name, value in {**there.env, "AWS_ENDPOINT_URL": there.url}.items():
            monkeypatch.setenv(name, value)
        with watched_processes(SECRET) as shown:
            done = study.minipach("egress", "edges")
            assert (done.code, done.out) == (0, "edges: 1 new (12 B), 0 renamed (0 B), 0 gone\n"), done.err
            _second(study)
        assert shown == [] and SECRET not in done.out + done.err
        assert files_with(SECRET, study.root, tmp_path / "s3") == [], (
            "the manifest has no credentials, and nothing else"
        )
        names = {one.object_name for one in there.client.list_objects("results", prefix="edges/", recursive=True)}
        assert names == {"edges/moved", "edges/b", f"edges/{MANIFEST}"}
        with there.client.get_object("results", "edges/b") as sent:
            assert sent.read() == b"content of b"

        there.kill()
        study.put("images/c", "content of c")
        done = study.minipach("schedule")
        assert done.code == 2 and done.reports("egress.incomplete") and "Traceback" not in done.err, done.err
        assert "c" in study.outputs("edges"), "the publish stays"
        there.start()
        assert "edges: 1 new (12 B)" in study.minipach("schedule").err


def test_a_host_gets_what_the_spec_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "there/deep"
    study = _first(tmp_path, f"ssh://lab{place}")
    with sshd(tmp_path / "ssh") as host:
        monkeypatch.setenv("PATH", host.path)
        done = study.minipach("egress", "edges")
        assert (done.code, done.out) == (0, "edges: 1 new (12 B), 0 renamed (0 B), 0 gone\n"), done.err
        _second(study)
    assert files(place) == ["b", MANIFEST, "moved"]
    assert (place / "b").read_bytes() == b"content of b"
    study.put("images/c", "content of c")
    done = study.minipach("schedule")
    assert done.code == 2 and done.reports("egress.incomplete") and "Traceback" not in done.err, done.err
    assert files(place) == ["b", MANIFEST, "moved"]
