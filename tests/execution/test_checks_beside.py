"""Large inputs are verified while the command runs; nothing comes of what it made of a damaged one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from minipach.execution.checks_beside import ChecksBeside, DamagedInputError
from minipach.execution.staging import LONG, Unverified
from minipach.git.annex_checksums import not_verified
from minipach.git.repo import Repo
from tests.fixtures.projects import Study

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\n'
COUNT = 'echo "begins $images"\nwc -c <"$images" >"$PFS/out/${images##*/}.size"\n'


def large(study: Study, name: str = "large.bin") -> Path:
    """A committed content that is worth a thread; its file in the annex."""
    (study.root / "images" / name).write_bytes(b"x" * LONG + name.encode())
    study.save("images")
    return (study.root / "images" / name).resolve()


def damage(content: Path, *, at: int = LONG // 2) -> None:
    os.chmod(content, 0o644)
    with content.open("r+b") as file:
        file.seek(at)
        file.write(b"?")
    os.chmod(content, 0o444)


def verified(study: Study) -> int:
    """How many contents of the images are noted as verified."""
    notes = study.root / "images/.git/minipach/verified.sqlite"
    return int(sqlite3.connect(notes).execute("SELECT count(*) FROM verified").fetchone()[0]) if notes.is_file() else 0


def test_the_first_read_is_verified_and_noted(study: Study) -> None:
    large(study)
    study.pipeline("edges", SPEC, run=COUNT)
    study.schedule()
    assert study.read("edges/large.bin.size").strip() == str(LONG + 9).encode()
    assert verified(study) == 1


@pytest.mark.parametrize("end", ["", "exit 3\n", "sleep 600\n"], ids=["succeeds", "fails", "is ended"])
def test_what_a_command_makes_of_a_damaged_input_is_dropped(study: Study, end: str) -> None:
    content = large(study)
    study.pipeline("edges", SPEC + "datum_tries: 1\n", run=COUNT + end)
    damage(content)
    done = study.minipach("schedule")
    assert done.code == 1
    assert "large.bin" in done.err and "is damaged, and this is the only copy known" in done.err
    assert study.outputs("edges") == {}
    assert study.git("edges", "for-each-ref", "refs/minipach/results") == ""
    assert verified(study) == 0
    assert "what the command made of it is dropped" in study.minipach("logs", "edges:large.bin", "--try", "1").out
    damage_back = content.read_bytes().replace(b"?", b"x")
    os.chmod(content, 0o644)
    content.write_bytes(damage_back)
    os.chmod(content, 0o444)
    if not end:
        assert study.schedule()["edges"]["counts"]["ran"] == 1
        assert verified(study) == 1


def test_a_damaged_input_is_fetched_again_where_a_copy_is(study: Study, tmp_path: Path) -> None:
    content = large(study)
    study.ok("git", "clone", "--quiet", str(study.root / "images"), str(tmp_path / "copy"))
    study.ok("git", "annex", "get", "--quiet", ".", cwd=tmp_path / "copy")
    study.git("images", "remote", "add", "copy", str(tmp_path / "copy"))
    study.git("images", "annex", "sync", "--quiet", "copy")
    damage(content)
    study.pipeline("edges", SPEC, run='echo begins\nmd5sum <"$images" >"$PFS/out/sum"\n')
    study.schedule()
    want = study.ok("md5sum", str(tmp_path / "copy/large.bin")).split()[0]
    assert study.read("edges/sum").split()[0].decode() == want
    study.git("images", "annex", "fsck", "--quiet")


def test_of_a_set_nothing_is_kept_before_all_is_verified(study: Study) -> None:
    contents = [large(study, name) for name in ("a.bin", "b.bin")]
    study.put("images/small", "s")
    damage(contents[1])
    study.pipeline("edges", SPEC + "datum_tries: 1\ndatum_set_spec: {number: 3}\n", run=COUNT)
    report = study.schedule("-j", "1", code=1)["edges"]
    assert [one["name"] for one in report["failed"]] == ["b.bin"]
    assert study.outputs("edges") == {}
    assert study.git("edges", "ls-tree", "-r", "--name-only", "minipach").count("result.json") == 2


def test_a_content_that_became_another_file_does_not_count(study: Study) -> None:
    """The command has read what was staged."""
    content = large(study)
    repo = Repo(study.root / "images")
    [(key, stamp)] = not_verified(repo, {content.name: content}).items()
    again = content.parent / "again"
    again.write_bytes(content.read_bytes())
    os.chmod(content.parent, 0o755)
    os.replace(again, content)
    checks = ChecksBeside([Unverified(repo.path, {key: content}, {key: stamp}, {key: "large.bin"})])
    with pytest.raises(DamagedInputError, match=r"large\.bin"):
        checks.need_sound()


def test_what_cannot_be_read_is_told(study: Study) -> None:
    content = large(study)
    repo = Repo(study.root / "images")
    stamps = not_verified(repo, {content.name: content})
    os.chmod(content.parent, 0o755)
    content.unlink()
    checks = ChecksBeside([Unverified(repo.path, {content.name: content}, stamps, {content.name: "large.bin"})])
    with pytest.raises(FileNotFoundError):
        checks.need_sound()


def test_small_contents_and_those_of_another_size_are_verified_at_once(study: Study) -> None:
    content = large(study)
    repo = Repo(study.root / "images")
    assert not_verified(repo, {content.name: content})
    os.chmod(content, 0o644)
    os.truncate(content, 5)
    assert not_verified(repo, {content.name: content}) == {}
