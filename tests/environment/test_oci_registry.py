"""Fetching an image of a registry. The programs are stand-ins: no registry can be reached where the tests run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.environment.oci_registry import Reference, fetch, parse_reference
from minipach.support.errors import UserError
from tests.fixtures.projects import Study

DIGEST = "0123456789abcdef" * 4
CALLS = {
    "skopeo": [
        "inspect --format {{.Digest}} docker://docker.io/library/ubuntu:22.04",
        f"copy --quiet docker://docker.io/library/ubuntu@sha256:{DIGEST} "
        "docker-archive:TARGET:docker.io/library/ubuntu:22.04",
    ],
    "podman": [
        "pull --quiet docker.io/library/ubuntu:22.04",
        "image inspect --format {{.Digest}} docker.io/library/ubuntu:22.04",
        "save --quiet --format docker-archive --output TARGET docker.io/library/ubuntu:22.04",
    ],
    "docker": [
        "pull --quiet docker.io/library/ubuntu:22.04",
        'image inspect --format {{join .RepoDigests " "}} docker.io/library/ubuntu:22.04',
        "save --output TARGET docker.io/library/ubuntu:22.04",
    ],
    "apptainer": ["pull TARGET docker://docker.io/library/ubuntu:22.04"],
    "singularity": ["pull TARGET docker://docker.io/library/ubuntu:22.04"],
}
# Writes the file that is asked for, and the digest where one is asked for.
STAND_IN = """\
#!/bin/sh
echo "$*" >>"$0.log"
case " $* " in *" inspect "*) echo "some/name@sha256:%s" ;; esac
for word; do
  file=${word#docker-archive:}
  case $file in /*) printf "%%s" "$0" >"${file%%%%:*}" ;; esac
done
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH but for a shell's own programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("MINIPACH_RUNTIME", raising=False)
    return folder


def stand_in(folder: Path, name: str, text: str = STAND_IN % DIGEST) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def ubuntu() -> Reference:
    found = parse_reference("ubuntu:22.04")
    assert found is not None
    return found


@pytest.mark.parametrize("program", CALLS)
def test_each_program_is_asked_in_its_own_words(program: str, programs: Path, tmp_path: Path) -> None:
    stand_in(programs, program)
    target = tmp_path / "image"
    digest = fetch(ubuntu(), target)
    assert digest == ("" if program in ("apptainer", "singularity") else DIGEST)
    assert target.read_text() == str(programs / program)
    log = (programs / f"{program}.log").read_text().replace(str(target), "TARGET")
    assert log.splitlines() == CALLS[program]


def test_the_next_program_is_tried(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "docker", "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    stand_in(programs, "apptainer")
    fetch(ubuntu(), tmp_path / "image")
    assert (tmp_path / "image").read_text() == str(programs / "apptainer")


def test_the_runtime_that_is_asked_for_comes_first(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CALLS:
        stand_in(programs, name)
    monkeypatch.setenv("MINIPACH_RUNTIME", "apptainer")
    fetch(ubuntu(), tmp_path / "image")
    assert (tmp_path / "image").read_text() == str(programs / "apptainer")


def test_a_digest_that_is_given_is_asked_for(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "podman")
    reference = parse_reference(f"example.org/x:1@sha256:{'f' * 64}")
    assert reference is not None
    assert fetch(reference, tmp_path / "image") == "f" * 64
    assert (programs / "podman.log").read_text().startswith(f"pull --quiet example.org/x@sha256:{'f' * 64}\n")


def test_without_any_program_the_line_names_them(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(ubuntu(), tmp_path / "image")
    assert [problem.code for problem in caught.value.problems] == ["image.no-fetcher"]


def test_a_fetch_that_fails_is_one_line(study: Study, tmp_path: Path) -> None:
    study.put("images/a.txt", "alpha")
    study.copier(more="")
    spec = study.root / "edges" / "spec.yml"
    spec.write_text(spec.read_text().replace("{cmd", "{image: 'user/name:tag', cmd"))
    for name in ("skopeo", "podman", "docker", "apptainer", "singularity"):
        stand_in(tmp_path, name, "#!/bin/sh\necho warning >&2\necho 'manifest unknown' >&2\nexit 1\n")
    done = study.minipach("schedule", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.code == 2
    image = "image docker.io/user/name:tag"
    assert done.reports("image.fetch-failed", image, "skopeo: manifest unknown; podman: ")
    assert "edges: fetching the image user/name:tag" in done.err.splitlines()
    assert not (study.root / "edges" / "a.txt").exists()


def at_moved_tag(study: Study, folder: Path, program: str, digest: str, content: str) -> dict[str, str]:
    """The environment in which a tag names this image."""
    folder.mkdir(exist_ok=True)
    fetched = f"""#!/bin/sh
echo "$*" >>"$0.log"
case " $* " in *" inspect "*) echo "some/name@sha256:{digest}" ;; esac
for word; do
  file=${{word#docker-archive:}}
  case $file in /*) echo {content} >"${{file%%:*}}" ;; esac
done
"""
    stand_in(folder, program, fetched)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "MINIPACH_RUNTIME": program}


@pytest.mark.slow
@pytest.mark.parametrize("program", ["skopeo", "apptainer"])
def test_lock_fetches_a_tag_that_has_moved(program: str, study: Study, tmp_path: Path) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    spec = study.root / "edges" / "spec.yml"
    spec.write_text(spec.read_text().replace("{cmd", "{image: 'user/name:tag', cmd"))
    env = at_moved_tag(study, tmp_path / "bin", program, "1" * 64, "first")
    assert study.minipach("lock", "edges", env=env).reports(
        "pipeline.not-a-dataset", "edges", "minipach schedule edges"
    )
    study.ok("datalad", "create", "-d", ".", "--force", "edges")
    study.save("edges")
    ids = []
    for digest, content in (("1" * 64, "first"), ("2" * 64, "second")):
        env = at_moved_tag(study, tmp_path / "bin", program, digest, content)
        if ids:
            head = study.git("edges", "rev-parse", "HEAD")
            assert study.plan()["edges"]["datums"][0]["id"] == ids[0], "nobody asked for the tag again"
            assert study.git("edges", "rev-parse", "HEAD") == head
        done = study.minipach("lock", "edges", env=env)
        assert done.code == 0, done.err
        assert "user/name:tag " in done.out
        assert study.git("edges", "log", "-1", "--format=%s") == "minipach: fetch the image user/name:tag again"
        assert study.read("edges/.datalad/environments/user-name-tag/image") == f"{content}\n".encode()
        assert study.git("edges", "status", "--porcelain") == ""
        ids.append(study.plan()["edges"]["datums"][0]["id"])
    assert len(set(ids)) == 2, "another image is another identity"
    head = study.git("edges", "rev-parse", "HEAD")
    same = study.minipach("lock", "edges", env=env)
    assert (same.code, same.out) == (0, "edges: the environment on record is the one of now; nothing to do\n")
    assert study.git("edges", "rev-parse", "HEAD") == head
    if program == "skopeo":
        assert study.git("edges", "show", "HEAD:.datalad/environments/user-name-tag/digest") == f"sha256:{'2' * 64}"


def test_lock_refuses_a_digest(study: Study) -> None:
    study.copier()
    spec = study.root / "edges" / "spec.yml"
    spec.write_text(spec.read_text().replace("{cmd", f"{{image: 'user/name@sha256:{'a' * 64}', cmd"))
    done = study.minipach("lock", "edges")
    assert done.code == 2
    assert done.reports("image.pinned-by-digest", "edges/spec.yml:2:20")
