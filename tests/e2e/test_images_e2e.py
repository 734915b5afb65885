"""`image:` in all its forms, from the spec to a rerun under another runtime."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.container_images import Images, images, need, squashfs
from tests.fixtures.projects import Study, run

__all__ = ["images"]

READ = '(cat "$images" && cat /etc/image-name) >"$PFS/out/${images##*/}"\n'
FORMS = ("registered", "own", "squash", "folder", "docker", "oci", "url")


def spec(image: str) -> str:
    line = f"image: {image}, " if image else ""
    return f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform: {{{line}cmd: [sh, code/read.sh]}}\n'


@pytest.fixture(scope="module", autouse=True)
def _runtimes(images: Images) -> Iterator[None]:
    """Podman's configuration, a cache of our own; and git-annex may read `file:` URLs, which it refuses by itself."""
    before = dict(os.environ)
    os.environ.update(images.env())
    os.environ["GIT_CONFIG_COUNT"] = "1"
    os.environ["GIT_CONFIG_KEY_0"] = "annex.security.allowed-url-schemes"
    os.environ["GIT_CONFIG_VALUE_0"] = "http https file"
    yield
    os.environ.clear()
    os.environ.update(before)


def with_image(study: Study, form: str, images: Images) -> None:
    """The pipeline `edges` with an image in one of its forms; the same busybox in all of them."""
    for programs in (("ch-run", "unsquashfs"), ("bwrap",), ("podman", "runc")):
        need(*programs)
    source = images.squashfs(mount_points=True)
    study.pipeline("edges", spec(form), read=READ)
    match form:
        case "registered":
            study.ok("datalad", "containers-add", "-d", ".", "registered", "--url", str(source))
        case "own":
            study.ok("datalad", "create", "--force", "-d", ".", "edges")
            study.save("edges")
            study.ok("datalad", "containers-add", "-d", "edges", "own", "--url", str(source))
        case "squash":
            shutil.copy(source, study.root / "squash")
        case "folder":
            shutil.copytree(images.directory(), study.root / "folder", symlinks=True)
        case "docker":
            shutil.copy(images.docker_archive(), study.root / "docker")
        case "oci":
            shutil.copy(images.oci_archive(), study.root / "oci")
        case "url":
            (study.root / "edges" / "spec.yml").write_text(spec(f'"file://{source}"'))


def registered_image(study: Study) -> str:
    """The path of the image that datalad-container knows in the pipeline's repo."""
    return study.git("edges", "config", "--blob", "HEAD:.datalad/config", "datalad.containers.minipach.image")


def stand_ins(folder: Path, **then: str) -> tuple[dict[str, str], Path]:
    """A PATH on which programs log their calls and go on as told (default: as themselves), and the log."""
    folder.mkdir()
    log = folder / "log"
    log.touch()
    for name, rest in then.items():
        program = folder / name
        real = shutil.which(program.name)
        what = rest or f'exec "{real}" "$@"'
        program.write_text(f'#!/bin/sh\necho "{program.name} $*" >>"{log}"\n{what}\n')
        program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return {"PATH": path, "MINIPACH_PATH": path}, log


@pytest.mark.parametrize("form", [f if f == "registered" else pytest.param(f, marks=pytest.mark.soak) for f in FORMS])
def test_every_form_of_an_image_runs_is_recorded_and_runs_once(
    form: str, study: Study, images: Images, tmp_path: Path
) -> None:
    study.put("images/a.txt", "alpha ")
    with_image(study, form, images)
    study.schedule()
    assert study.read("edges/a.txt") == b"alpha busybox of the tests\n"

    place = registered_image(study)
    link = study.git("edges", "cat-file", "blob", f"HEAD:{place}")
    assert "/annex/objects/" in link, "the image is annexed"
    if form == "registered":
        of_project = os.readlink(study.root / ".datalad" / "environments" / "registered" / "image")
        assert link.rpartition("/")[2] == of_project.rpartition("/")[2], "imported under the same key"
    record = study.git("edges", "log", "-1", "--format=%B", "--grep=DATALAD RUNCMD")
    assert f'"extra_inputs": [\n  "{place}"\n ]' in record

    env, log = stand_ins(tmp_path / "bin", podman="", unshare="", bwrap="", unsquashfs="")
    assert study.minipach("schedule", env=env).out == "nothing to do\n"
    assert log.read_text() == "", "no container starts"


def test_a_typo_is_one_line_with_a_suggestion(study: Study, images: Images) -> None:
    study.put("images/a.txt", "alpha")
    with_image(study, "registered", images)
    (study.root / "edges" / "spec.yml").write_text(spec("Registred"))
    for command in ("plan", "schedule"):
        done = study.minipach(command)
        assert done.code == 2
        assert done.reports("image.unknown", "edges/spec.yml:2:20", '"Registred"', 'use "registered"')


SKOPEO = """\
case $1 in
  inspect) echo sha256:%s ;;
  copy) target=${4#docker-archive:}; cp "%s" "${target%%%%:*}" ;;
esac
"""


@pytest.mark.slow
def test_an_image_of_a_registry_is_fetched_once_and_known_by_its_digest(
    study: Study, images: Images, tmp_path: Path
) -> None:
    need("podman", "runc")
    study.put("images/a.txt", "alpha ")
    study.pipeline("edges", spec("team/opencv:1.0"), read=READ)
    digest = "d" * 64
    # skopeo is a stand-in, since no registry can be reached here; podman, which runs the image, is the real one
    env, log = stand_ins(tmp_path / "bin", skopeo=SKOPEO % (digest, images.docker_archive()))
    done = study.minipach("schedule", env=env)
    assert done.code == 0, done.err
    assert study.read("edges/a.txt") == b"alpha busybox of the tests\n"
    asked = log.read_text().splitlines()
    assert asked[0] == "skopeo inspect --format {{.Digest}} docker://docker.io/team/opencv:1.0"
    assert asked[1].startswith(f"skopeo copy --quiet docker://docker.io/team/opencv@sha256:{digest} docker-archive:")
    place = registered_image(study)
    assert place == ".datalad/environments/team-opencv-1-0/image"
    assert "/annex/objects/" in study.git("edges", "cat-file", "blob", f"HEAD:{place}")
    assert (
        study.git("edges", "cat-file", "blob", "HEAD:.datalad/environments/team-opencv-1-0/digest")
        == f"sha256:{digest}"
    )

    assert study.minipach("schedule", env=env).out == "nothing to do\n"
    study.put("images/b.txt", "beta ")
    (study.root / "edges" / "spec.yml").write_text(spec(f"team/opencv:1.0@sha256:{digest}"))
    study.save("edges")
    assert {d["action"] for d in study.plan()["edges"]["datums"]} == {"current", "run"}, "the digest is the identity"
    assert len(log.read_text().splitlines()) == 2, "fetched once"


def test_a_url_that_can_not_be_fetched_says_why(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.pipeline("edges", spec("file:///no/such/image"), read=READ)
    done = study.minipach("schedule", "--json")
    assert done.code == 2 and done.json["ok"] is False, "nothing else is on stdout"
    assert done.reports("image.fetch-failed", "image file:///no/such/image")


@pytest.mark.parametrize(
    "form", [pytest.param("squash", marks=pytest.mark.slow), pytest.param("folder", marks=pytest.mark.soak)]
)
def test_a_new_image_concerns_exactly_its_pipeline(form: str, study: Study, images: Images, tmp_path: Path) -> None:
    study.put("images/a.txt", "alpha ")
    study.put("images/b.txt", "beta ")
    with_image(study, form, images)
    study.copier("other")
    study.schedule()
    other = study.git("other", "rev-parse", "HEAD")

    changed = tmp_path / "rootfs"
    shutil.copytree(images.directory(mount_points=True), changed, symlinks=True)
    (changed / "etc" / "image-name").write_text("the second image\n")
    if form == "folder":
        (study.root / "folder" / "etc" / "image-name").write_text("the second image\n")
    else:
        (study.root / "squash").unlink()
        squashfs(changed, study.root / "squash")

    plan = study.plan()
    assert plan["other"]["counts"]["current"] == 2
    assert {s["action"] for s in plan["edges"]["datums"]} == {"run"}
    for step in plan["edges"]["datums"]:
        assert step["reason"].startswith(f"image {form} changed (sha256 ") and " → sha256 " in step["reason"]
    done = study.schedule()
    assert done["edges"]["counts"]["ran"] == 2 and done["other"]["counts"]["ran"] == 0
    assert study.git("other", "rev-parse", "HEAD") == other
    assert study.read("edges/b.txt") == b"beta the second image\n"


def rerun(study: Study, clone: Path, env: dict[str, str]) -> None:
    """Rerun the one record in a fresh clone of the pipeline's repo: the same keys come out."""
    study.ok("datalad", "clone", str(study.root / "edges"), str(clone))
    commit = study.ok("git", "log", "-1", "--format=%H", "--grep=DATALAD RUNCMD", cwd=clone).strip()
    before = study.ok("git", "rev-parse", "HEAD^{tree}", cwd=clone)
    done = run("datalad", "rerun", commit, cwd=clone, env=env)
    assert done.code == 0, done.out + done.err
    assert study.ok("git", "rev-parse", "HEAD^{tree}", cwd=clone) == before
    assert (clone / "a.txt").read_bytes() == study.read("edges/a.txt")


@pytest.mark.slow
def test_a_squashfs_record_reruns_under_charliecloud_and_unpacked_under_bubblewrap(
    study: Study, images: Images, tmp_path: Path
) -> None:
    study.put("images/a.txt", "alpha ")
    with_image(study, "squash", images)
    study.schedule()
    programs, log = stand_ins(tmp_path / "bin", unshare="", bwrap="")
    env = {**programs, "MINIPACH_CACHE": str(tmp_path / "cache")}
    rerun(study, tmp_path / "one", {**env, "MINIPACH_RUNTIME": "charliecloud"})
    # in charliecloud's own /tmp no stand-in is seen: what leads there is
    assert " ch-run " in log.read_text() and "bwrap --args" not in log.read_text()
    log.write_text("")
    rerun(study, tmp_path / "two", {**env, "MINIPACH_RUNTIME": "bubblewrap"})
    assert "bwrap --args" in log.read_text() and " ch-run " not in log.read_text()
    [rootfs] = (tmp_path / "cache" / "images").glob("*/rootfs")
    assert (rootfs / "etc" / "image-name").read_text() == "busybox of the tests\n"


@pytest.mark.slow
def test_an_archives_record_reruns_under_podman_and_with_dockers_command_line(
    study: Study, images: Images, tmp_path: Path
) -> None:
    """Docker is a stand-in on PATH here: it logs docker's command line and hands it to podman, which takes the same."""
    study.put("images/a.txt", "alpha ")
    with_image(study, "docker", images)
    study.schedule()
    podman = shutil.which("podman")
    programs, log = stand_ins(tmp_path / "bin", podman="", docker=f'exec {podman} "$@"')
    env = {**programs, "MINIPACH_CACHE": str(tmp_path / "cache")}
    rerun(study, tmp_path / "one", {**env, "MINIPACH_RUNTIME": "podman"})
    assert "podman run --rm" in log.read_text() and "docker " not in log.read_text()
    log.write_text("")
    rerun(study, tmp_path / "two", {**env, "MINIPACH_RUNTIME": "docker"})
    assert "docker load -q -i" in log.read_text() and "docker run --rm" in log.read_text()
