"""Promise 2: a record reruns in a clone of the pipeline's repo alone, with minipach not installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.fixtures import container_images as builders
from tests.fixtures import reruns
from tests.fixtures.container_images import Images
from tests.fixtures.projects import Study, need
from tests.fixtures.reruns import clone, rerun
from tests.fixtures.stories import records, sky, spec

images = builders.images
without_minipach = reruns.without_minipach


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = sky(tmp_path_factory.mktemp("sky") / "study")
    study.schedule("-j", "3")  # a set for each
    return study


@pytest.mark.slow
def test_in_a_fresh_clone_of_the_pipelines_repo_alone(
    done: Study, tmp_path: Path, without_minipach: dict[str, str]
) -> None:
    found = records(done, "edges")
    alone = clone(done, "edges", tmp_path / "alone", without_minipach)
    assert not (alone.root / "star.txt").exists(), "the content isn't here yet"
    rerun(alone, ".", found["star.txt"][0], without_minipach)
    assert (alone.root / "inputs/images/star.txt").read_text() == "far\n"
    assert not (alone.root / "inputs/images/moon.txt").exists(), "more was fetched than the datum matched"
    assert (alone.root / "star.txt").read_text() == "FAR\n"
    for name in ("moon.txt", "comet.txt"):
        rerun(alone, ".", found[name][0], without_minipach)


@pytest.mark.slow
def test_a_result_that_was_lost_comes_back(done: Study, tmp_path: Path, without_minipach: dict[str, str]) -> None:
    key = done.git("edges", "annex", "lookupkey", "star.txt")
    alone = clone(done, "edges", tmp_path / "alone", without_minipach)
    alone.git(".", "rm", "--quiet", "star.txt")
    alone.git(".", "commit", "--quiet", "-m", "lost")
    alone.ok("datalad", "rerun", records(done, "edges")["star.txt"][0], env=without_minipach)
    assert alone.git(".", "annex", "lookupkey", "star.txt") == key
    assert alone.git(".", "status", "--porcelain") == ""
    assert alone.git(".", "log", "-1", "--format=%s") == "[DATALAD RUNCMD] edges: star.txt"


@pytest.mark.slow
def test_in_the_projects_own_checkout(done: Study, tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = Study(Path(shutil.copytree(done.root, tmp_path / "study", symlinks=True)))
    for repo, name in (("edges", "star.txt"), ("edges", "moon.txt"), ("montage", "/")):
        rerun(study, repo, records(study, repo)[name][0], without_minipach)
    assert all((study.root / "edges" / name).is_symlink() for name in ("star.txt", "moon.txt", "comet.txt"))
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_a_whole_repo_as_input(done: Study, tmp_path: Path, without_minipach: dict[str, str]) -> None:
    alone = clone(done, "montage", tmp_path / "alone", without_minipach)
    rerun(alone, ".", records(done, "montage")["/"][0], without_minipach)


@pytest.mark.slow
def test_a_copys_own_record(done: Study, tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = Study(Path(shutil.copytree(done.root, tmp_path / "study", symlinks=True)))
    study.git("images", "mv", "star.txt", "nova.txt")
    study.save("images")
    assert study.schedule("edges")["edges"]["counts"]["reused"] == 1
    alone = clone(study, "edges", tmp_path / "alone", without_minipach)
    rerun(alone, ".", records(study, "edges")["nova.txt"][0], without_minipach)
    assert (alone.root / "inputs/images/nova.txt").exists()


@pytest.mark.slow
def test_a_folder_that_has_subdatasets(tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "a\n")
    study.ok("datalad", "create", "-d", "images", "images/more")
    study.ok("datalad", "create", "-d", "images/more", "images/more/deep")
    study.put("images/more/deep/b.txt", "b\n", save=False)
    study.ok("datalad", "save", "-r", "-d", str(study.root), "-m", "nested")
    study.pipeline("edges", spec("images", "/", "list"), list='(cd /pfs/images && find . -type f) >"$PFS/out/list"\n')
    study.schedule()
    ((commit, _),) = records(study, "edges").values()
    alone = clone(study, "edges", tmp_path / "alone", without_minipach)
    rerun(alone, ".", commit, without_minipach)
    assert sorted((alone.root / "list").read_text().split()) == ["./a.txt", "./more/deep/b.txt"]


QUOTED = """
input: {cross: [{pfs: {repo: raw/t1, glob: "/**.txt"}}, {pfs: {repo: images, glob: "/*", lazy: true}}]}
transform:
  cmd: [sh, ../run.sh, "{images}", "{out}", "{t1}", "$HOME and `it` {}"]
  stdin: ["first {line}", "  'second'"]
  env: {GREETING: "it's $5; {x}"}
  accept_return_code: [3]
  working_dir: code/place
minipach: {out: "{t1.stem}/{images.stem}"}
"""
QUOTED_SH = '{ cat; echo "$GREETING"; cat "$1" "$3"; echo "$4"; } >"$2/a {b} [c]"; exit 3\n'


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A pipeline in a nested folder, with an input in a nested repo that has a subdataset, and odd names."""
    study = Study.create(tmp_path_factory.mktemp("nested") / "study")
    study.put("images/it's $(here) {x} [y].txt", "odd\n", save=False)
    study.put("images/plain.txt", "plain git\n", save=False)
    study.git("images", "-c", "annex.largefiles=nothing", "add", "plain.txt")
    study.ok("datalad", "create", "-d", ".", "raw/t1")
    study.ok("datalad", "create", "-d", "raw/t1", "raw/t1/sub")
    study.put("raw/t1/sub/there.txt", "lower\n", save=False)
    study.ok("datalad", "save", "-r", "-d", str(study.root), "-m", "nested")
    study.pipeline("steps/deep", QUOTED, run=QUOTED_SH)
    study.put("steps/deep/code/place/.keep", "", save=False)
    assert study.schedule()["deep"]["counts"]["ran"] == 2
    return study


@pytest.mark.soak
def test_nested_inputs_odd_names_and_quoted_words(
    nested: Study, tmp_path: Path, without_minipach: dict[str, str]
) -> None:
    found = records(nested, "steps/deep")
    assert len(found) == 2
    alone = clone(nested, "steps/deep", tmp_path / "alone", without_minipach)
    for commit, _ in found.values():
        rerun(alone, ".", commit, without_minipach)
    assert (alone.root / "inputs/t1/sub/there.txt").read_text() == "lower\n"
    text = (alone.root / "there/plain/a {b} [c]").read_text()
    assert text.splitlines() == [
        "first {line}",
        "  'second'",
        "it's $5; {x}",
        "plain git",
        "lower",
        "$HOME and `it` {}",
    ]
    for commit, _ in found.values():
        rerun(nested, "steps/deep", commit, without_minipach)


@pytest.mark.slow
def test_a_record_reruns_under_a_second_runtime(
    tmp_path: Path, images: Images, without_minipach: dict[str, str]
) -> None:
    need("ch-run")
    need("bwrap")
    study = Study.create(tmp_path / "study")
    study.put("images/star.txt", "far\n")
    study.copy(images.squashfs(mount_points=True), "box.sqfs")
    more = 'cat /etc/image-name "$images" >/pfs/out/"$MINIPACH_DATUM"\n'
    study.pipeline("boxed", spec("images", "/*", "run").replace("{cmd", "{image: box.sqfs, cmd"), run=more)
    variables = {k: v for k, v in images.env().items() if k.startswith(("MINIPACH", "CONTAINERS"))}
    done = study.minipach("schedule", env={**variables, "MINIPACH_RUNTIME": "charliecloud"})
    assert done.code == 0, done.err
    assert study.read("boxed/star.txt") == b"busybox of the tests\nfar\n"
    commit, record = records(study, "boxed")["star.txt"]
    (image,) = record["extra_inputs"]
    assert image.startswith(".datalad/environments/") and image in record["cmd"]
    alone = clone(study, "boxed", tmp_path / "alone", without_minipach)
    for runtime in ("charliecloud", "bubblewrap"):
        rerun(alone, ".", commit, {**variables, **without_minipach, "MINIPACH_RUNTIME": runtime})
    assert (alone.root / "star.txt").read_bytes() == study.read("boxed/star.txt")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["docker_archive", pytest.param("oci_archive", marks=pytest.mark.soak)])
def test_an_archive_runs_and_reruns(
    tmp_path: Path, images: Images, without_minipach: dict[str, str], kind: str
) -> None:
    """The second runtime of a docker archive is docker's command line: a stand-in that hands it all to podman."""
    need("podman")
    study = Study.create(tmp_path / "study")
    study.put("images/star.txt", "far\n")
    study.copy(getattr(images, kind)(), "box.tar")
    text = 'cat /etc/image-name "$images" >/pfs/out/"$MINIPACH_DATUM"\n'
    study.pipeline("boxed", spec("images", "/*", "run").replace("{cmd", "{image: box.tar, cmd"), run=text)
    variables = {k: v for k, v in images.env().items() if k.startswith(("MINIPACH", "CONTAINERS"))}
    done = study.minipach("schedule", env={**variables, "MINIPACH_RUNTIME": "podman"})
    assert done.code == 0, done.err
    assert study.read("boxed/star.txt") == b"busybox of the tests\nfar\n"
    commit, _ = records(study, "boxed")["star.txt"]
    alone = clone(study, "boxed", tmp_path / "alone", without_minipach)
    rerun(alone, ".", commit, {**variables, **without_minipach, "MINIPACH_RUNTIME": "podman"})
    if kind == "docker_archive":
        log = tmp_path / "docker.log"
        docker = tmp_path / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(f'#!/bin/sh\necho "$1" >>"{log}"\nexec {shutil.which("podman")} "$@"\n')
        docker.chmod(0o755)
        path = f"{docker.parent}{os.pathsep}{without_minipach['PATH']}"
        env = {"PATH": path, "MINIPACH_PATH": path, "MINIPACH_RUNTIME": "docker"}
        rerun(alone, ".", commit, {**variables, **without_minipach, **env})
        assert "run" in log.read_text().split()
