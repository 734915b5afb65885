"""A command that writes to its inputs, as root: the source never changes, whichever runtime is used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.fixtures.container_images import Images, images, need
from tests.fixtures.projects import Study

__all__ = ["images"]

WAYS = {
    "bubblewrap host": (("bwrap",), ""),
    "none host": ((), ""),
    "bubblewrap squashfs": (("bwrap", "unsquashfs"), "squashfs"),
    "charliecloud squashfs": (("ch-run", "unsquashfs"), "squashfs"),
    "podman archive": (("podman", "runc"), "docker-archive"),
}
# Overwrites, changes modes and deletes, through every name that its inputs and its code have; says what it managed.
ATTACK = r"""
try() {
  chmod 666 "$1" 2>/dev/null && echo "$1: mode changed"
  if (echo hacked >"$1") 2>/dev/null; then echo "$1: written"; else echo "$1: write denied"; fi
  if rm -f "$1" 2>/dev/null && [ ! -e "$1" ]; then echo "$1: deleted"; else echo "$1: delete denied"; fi
}
cp "$images" "$PFS/out/"
try "$images"
try "$PFS/images/a.txt"
try "$PFS/images/../images/a.txt"
try code/helper.sh
try code/blob.bin
echo "end of the attack"
"""


@pytest.mark.parametrize("way", [pytest.param(w, marks=pytest.mark.slow) if k[1] else w for w, k in WAYS.items()])
def test_what_a_command_does_to_its_inputs_stays_with_it(
    way: str, study: Study, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write where it can: then it was a copy, or a try that fails and is told in the datum's log."""
    programs, kind = WAYS[way]
    need(*programs)
    for name, value in images.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MINIPACH_RUNTIME", way.split(maxsplit=1)[0])
    study.put("images/a.txt", "alpha")
    image = ""
    if kind:
        shutil.copy(images.squashfs() if kind == "squashfs" else images.docker_archive(), study.root / "image")
        image = "image: image, "
    study.pipeline(
        "edges",
        f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform: {{{image}cmd: [sh, code/attack.sh]}}\n',
        attack=ATTACK.replace("$images", "$PFS/images/a.txt"),
        helper="echo helper\n",
    )
    binary = bytes(range(256)) * 8
    study.put("edges/code/blob.bin", binary, save=False)
    content = Path(os.path.realpath(study.root / "images" / "a.txt"))
    before = content.stat()

    done = study.minipach("schedule", "--json")

    assert study.read("images/a.txt") == b"alpha"
    assert (content.stat().st_mode, content.stat().st_ino) == (before.st_mode, before.st_ino)
    study.ok("git", "annex", "fsck", cwd=study.root / "images")
    assert study.git("images", "status", "--porcelain") == ""
    assert study.git("edges", "status", "--porcelain") == ""
    assert study.read("edges/code/helper.sh") == b"echo helper\n"
    assert study.read("edges/code/blob.bin") == binary, "annexed code is the same for the next datum"
    study.ok("git", "annex", "fsck", cwd=study.root / "edges")
    log = study.minipach("logs", "edges", "a.txt")
    assert "end of the attack" in log.out, log.out + done.err
    shares = way != "none host"
    assert ("images/a.txt: write denied" in log.out) == shares, log.out
    assert ("code/helper.sh: write denied" in log.out) == shares, log.out
    told = "datum: a.txt: the command changed its copy of images/a.txt; the source is as it was"
    assert (told in log.out) != shares, log.out
    assert (done.code, study.read("edges/a.txt")) == (0, b"alpha"), done.err


@pytest.mark.soak
@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_annexed_code_is_the_same_for_the_next_datum(
    runtime: str, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(*["bwrap"] * (runtime == "bubblewrap"))
    monkeypatch.setenv("MINIPACH_RUNTIME", runtime)
    study.put("images/a.txt", "alpha")
    study.ok("datalad", "create", "--force", "-d", ".", "edges")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/attack.sh]}\n',
        attack='chmod 666 code/model.bin; echo hacked >code/model.bin; cp code/model.bin "$PFS/out/"; true\n',
    )
    study.put("edges/code/model.bin", "weights")
    assert (study.root / "edges/code/model.bin").is_symlink(), "a plain `datalad create` annexes all"
    study.minipach("schedule")
    assert study.read("edges/code/model.bin") == b"weights"
    study.ok("git", "annex", "fsck", cwd=study.root / "edges")


@pytest.mark.slow
def test_no_datum_reads_what_another_of_its_set_has_written(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a container and without bubblewrap each datum of a set has copies of its own."""
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")
    for name in "abc":
        study.put(f"images/{name}.txt", name)
    study.ok("datalad", "create", "-d", ".", "models")
    study.put("models/model.txt", "weights")
    study.pipeline(
        "edges",
        "input: {cross: [{pfs: {repo: images, glob: '/*'}}, {pfs: {repo: models, glob: /}}]}\n"
        "transform: {cmd: [sh, code/spoil.sh]}\ndatum_set_spec: {number: 3}\n",
        spoil='cp "$PFS/models/model.txt" "$PFS/out/$(basename "$images").of"; echo spoilt >"$PFS/models/model.txt"\n'
        "echo 'exit 3' >code/spoil.sh\n",
    )
    study.schedule()
    assert [study.read(f"edges/{name}.txt.of") for name in "abc"] == [b"weights"] * 3
    names = [d["name"] for d in study.minipach("datums", "edges", "--json").json["datums"]]
    log = study.minipach("logs", "edges", names[1])
    assert "the command changed its copy of models/model.txt; the source is as it was" in log.out


@pytest.mark.slow
def test_a_command_that_writes_to_its_code_changes_a_copy_where_nothing_stops_it(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a container and without bubblewrap the code is a copy that can be written; it is no output."""
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")
    study.put("images/a.txt", "alpha")
    study.copier()
    (study.root / "edges/code/copy.sh").write_text('echo hacked >code/helper.sh; cp "$images" "$PFS/out/"\n')
    study.put("edges/code/helper.sh", "echo helper\n", save=False)
    study.schedule()
    log = study.minipach("logs", "edges", "a.txt")
    assert "the command changed its copy of edges/code/helper.sh; the source is as it was" in log.out
    assert study.read("edges/code/helper.sh") == b"echo helper\n"
    assert set(study.outputs("edges")) == {"a.txt"}
