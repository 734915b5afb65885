"""`minipach.publish.erasure`: data and all that was computed from it go from every copy that is known."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.project.project import find_project
from minipach.publish.egress import MANIFEST, egress
from minipach.publish.erasure import erase, find, write_report
from minipach.storage.setup import add, remove
from minipach.storage.store import Store
from minipach.support.errors import UserError
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.projects import Study
from tests.fixtures.repos import Files

pytestmark = pytest.mark.slow

__all__ = ["root"]


def quiet(_: str) -> None:
    """Tell nobody."""


@pytest.fixture
def raw(root: Files, tmp_path: Path) -> Files:
    """A dataset with two subjects, an earlier version, a shared content, a file in git, and a store."""
    made = repo(root, "raw")
    made.git("annex", "init", "--quiet")
    made.put("sub-1/scan", b"one")
    made.commit()
    (made.path / "sub-1/scan").unlink()
    made.put("sub-1/scan", b"one again")
    made.put("sub-1/blank", b"blank")
    made.put("sub-2/blank", b"blank")
    made.put("sub-10/scan", b"ten")
    made.in_git("sub-1/notes.txt", "a note")
    made.commit()
    (tmp_path / "disk").mkdir()
    made.git("annex", "initremote", "disk", "type=directory", f"directory={tmp_path}/disk", "encryption=none")
    made.git("annex", "copy", "--quiet", "--all", "--to=disk")
    return made


def contents(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*/SHA256E-*") if path.is_file()}


def test_an_erasure_that_was_killed_before_it_was_noted(root: Files, raw: Files) -> None:
    """Else the copy here would be reported as left, each time."""
    (found,) = find(find_project(root.path), "raw:sub-10")
    (key,) = found.keys
    content = raw.path / raw.line("annex", "contentlocation", key)
    content.parent.chmod(0o755)
    content.unlink()
    erase(find_project(root.path), [found], "raw:sub-10", quiet)
    assert found.left == []
    assert str(raw.config("annex.uuid")) not in raw.git("annex", "whereis", f"--key={key}", ok=(0, 1)).decode()


def test_every_version_goes_from_every_copy(root: Files, raw: Files, tmp_path: Path) -> None:
    project = find_project(root.path)
    (found,) = find(project, "raw:sub-1")
    assert found.paths == {"sub-1/scan", "sub-1/blank", "sub-1/notes.txt"}
    assert (len(found.keys), len(found.shared), found.in_git) == (2, 1, {"sub-1/notes.txt"})
    head, everything = raw.head(), {b"one", b"one again", b"blank", b"ten"}
    assert contents(tmp_path / "disk") == contents(raw.path / ".git/annex") == everything, "to look changes nothing"
    erase(project, [found], "raw:sub-1", quiet)
    assert contents(tmp_path / "disk") == contents(raw.path / ".git/annex") == {b"blank", b"ten"}
    assert (found.dropped, found.left, raw.head()) == ({"here": 2, "disk": 2}, [], head)


def test_a_store_that_does_not_answer_is_reported(root: Files, raw: Files, tmp_path: Path) -> None:
    (tmp_path / "disk").rename(tmp_path / "away")
    project = find_project(root.path)
    found = find(project, "raw:sub-1[0-9]")
    erase(project, found, "raw:sub-1[0-9]", quiet)
    assert found[0].dropped["here"] == 1
    assert any("disk" in line for line in found[0].left)


@pytest.fixture
def out(root: Files, raw: Files, tmp_path: Path) -> Path:
    """A folder to which `egress` has sent the dataset."""
    egress(find_project(root.path), "raw", str(tmp_path / "out"))
    return tmp_path / "out"


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_goes_from_a_place_of_egress(root: Files, raw: Files, out: Path, tmp_path: Path) -> None:
    assert {"sub-1/scan", "sub-1/notes.txt", "sub-1/blank"} < names(out)
    project = find_project(root.path)
    (found,) = find(project, "raw:sub-1")
    erase(project, [found], "raw:sub-1", quiet)
    assert names(out) == {"sub-10/scan", "sub-2/blank", MANIFEST}
    assert set(json.loads((out / MANIFEST).read_text())["files"]) == names(out) - {MANIFEST}
    assert contents(tmp_path / "disk") == {b"blank", b"ten"}
    assert (found.left, found.commands) == ([], [])


def test_a_place_of_egress_that_is_away_stops_nothing(root: Files, raw: Files, out: Path, tmp_path: Path) -> None:
    out.rename(tmp_path / "away")
    project = find_project(root.path)
    (found,) = find(project, "raw:sub-1")
    erase(project, [found], "raw:sub-1", quiet)
    assert contents(tmp_path / "disk") == contents(raw.path / ".git/annex") == {b"blank", b"ten"}
    assert [line for line in found.left if "egress-" in line] and "minipach erase raw:sub-1" in found.commands[0]
    (tmp_path / "away").rename(out)
    (found,) = find(project, "raw:sub-1")
    erase(project, [found], "raw:sub-1", quiet)
    assert not any(name.startswith("sub-1/") for name in names(out)) and found.left == []


def test_a_removal_that_failed_is_not_forgotten(
    root: Files, raw: Files, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minipach.publish.egress._need_answer", lambda *_: None)  # it stops answering a moment later
    out.rename(tmp_path / "away")
    project = find_project(root.path)
    for _ in range(2):
        (found,) = find(project, "raw:sub-1")
        erase(project, [found], "raw:sub-1", quiet)
        assert (tmp_path / "away/sub-1/scan").exists() or (out / "sub-1/scan").exists()
        assert [line for line in found.left if "egress-" in line]
        if not out.exists():
            (tmp_path / "away").rename(out)


def test_a_store_that_was_removed_is_named_with_the_commands(root: Files, raw: Files, tmp_path: Path) -> None:
    project = find_project(root.path)
    store = Store("lab", "dir", str(tmp_path / "lab"))
    add(project, store, quiet)
    raw.git("annex", "copy", "--quiet", "--all", "--to=lab")
    remove(project, "lab", quiet)
    raw.git("remote", "remove", "disk")
    (found,) = find(project, "raw:sub-1")
    erase(project, [found], "raw:sub-1", quiet)
    assert contents(raw.path / ".git/annex") == {b"blank", b"ten"}
    assert {line.split(",")[0] for line in found.left} == {"2 contents in lab", "2 contents in disk"}
    again = "minipach erase raw:sub-1"
    assert f"minipach store add lab --dir {store.url} && {again} && minipach store remove lab" in found.commands
    add(project, store, quiet)
    (found,) = find(project, "raw:sub-1")
    erase(project, [found], "raw:sub-1", quiet)
    assert contents(tmp_path / "lab") == {b"blank", b"ten"}
    report = write_report(tmp_path / "report", "raw:sub-1", [found], dry=False).read_text()
    assert all(command in report for command in found.commands) and "lab" not in "".join(found.left)


def test_a_remote_that_git_annex_cannot_speak_to_stops_nothing(root: Files, raw: Files, tmp_path: Path) -> None:
    raw.git("config", "remote.disk.annex-externaltype", "no-such-program")
    raw.git("annex", "initremote", "other", "type=directory", f"directory={tmp_path}/disk", "encryption=none")
    raw.git("config", "remote.away.url", str(tmp_path / "nowhere"))
    raw.git("config", "remote.away.annex-uuid", "00000000-0000-0000-0000-00000000000a")
    project = find_project(root.path)
    (found,) = find(project, "raw:sub-1")
    erase(project, [found], "raw:sub-1", quiet)
    assert contents(raw.path / ".git/annex") == {b"blank", b"ten"} == contents(tmp_path / "disk")
    assert any(" in away (" in line for line in found.left)


_HOSTILE = ("glob:*", "*", ":(glob)*", "line\nbreak", "a==>b", "#note", "regex:.", "literal:x", "end\r", "a.b\n+")


@pytest.mark.parametrize("name", _HOSTILE)
def test_the_commands_of_the_report_remove_the_named_file_alone(root: Files, raw: Files, name: str) -> None:
    """A name may look like a pattern: `git rm` and `git filter-repo` must not take it for one."""
    for other in (*_HOSTILE, "line", "break", "other"):
        raw.put(other, other)
    raw.commit()
    project = find_project(root.path)
    pattern = "".join(f"[{char}]" if char in "*?[" else char for char in name)
    found = find(project, f"raw:{pattern}")
    report = write_report(root.path / "report", f"raw:{pattern}", found, dry=True)
    assert report.read_text().splitlines()[1] == "", "a line break in a name begins no line"
    command = next(line.strip("` ") for line in report.read_text().splitlines() if " rm -r " in line)
    before = set(os.fsdecode(raw.git("ls-files", "-z")).split("\0"))
    subprocess.run(command, shell=True, cwd=root.path, check=True, capture_output=True)
    assert before - set(os.fsdecode(raw.git("ls-files", "-z")).split("\0")) == {name}
    (line,) = (root.path / "report/paths-0").read_bytes().splitlines()
    kind, _, value = os.fsdecode(line).partition(":")
    assert kind in ("literal", "regex") and "==>" not in value, "git filter-repo reads it so"
    matches = {one for one in before if (one == value if kind == "literal" else re.search(value, one))}
    assert matches == {name}


@pytest.mark.parametrize("word", ["raw", "raw:", "raw:sub-3", "nowhere:x"])
def test_no_such_data(root: Files, raw: Files, word: str) -> None:
    with pytest.raises(UserError):
        find(find_project(root.path), word)


@pytest.mark.slow
def test_what_was_computed_goes_too(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for name in ("a", "b"):
        study.put(f"images/{name}.dat", f"{name}\0" * 100, save=name == "b")
    study.copier("edges")
    study.copier("more", repo="edges")
    study.schedule()
    study.remove("images/a.dat")
    study.schedule()  # the results of it stay known
    before = {path: study.git(path, "rev-parse", "HEAD") for path in (".", "images", "edges", "more")}
    done = study.minipach("erase", "images:a.dat", "--dry-run", "--json")
    assert done.code == 0, done.err
    rows = {row["repo"]: (len(row["keys"]), row["results"]) for row in done.json["repos"]}
    assert {path: number for path, (number, _) in rows.items()} == {"images": 1, "edges": 1, "more": 1}
    assert len(rows["edges"][1]) == len(rows["more"][1]) == 1
    assert "Nothing was changed" in Path(done.json["report"]).read_text()
    done = study.minipach("erase", "images:a.dat")
    assert done.code == 0, done.err
    objects = [p for p in study.root.rglob("annex/objects/*/*/*/*") if p.is_file()]
    assert objects and not any(p.read_bytes().startswith(b"a\0") for p in objects)
    assert before == {path: study.git(path, "rev-parse", "HEAD") for path in before}
    report = Path(done.out.rpartition("report: ")[2].strip()).read_text()
    assert "filter-repo" in report and "What remains" in report
    assert Repo(study.root / "images").git("annex", "fsck", "--quiet", "b.dat") == b""


@pytest.mark.parametrize("word", ["data:deep/a", ".:data/deep/a", "data/deep:a"])
def test_results_from_a_plain_folder_go_too(tmp_path: Path, word: str) -> None:
    study = Study.create(tmp_path / "study")
    study.put("data/deep/a", "alpha", save=False)
    study.put("data/b", "beta", save=False)
    study.copier(repo="data")
    (study.root / "edges/code/copy.sh").write_text('cp -RL "$data" "$PFS/out/"\n')
    study.save(".")
    study.schedule()
    found = {one.repo: (one.paths, len(one.keys)) for one in find(find_project(study.root), word)}
    assert found == {".": ({"data/deep/a"}, 1), "edges": ({"deep/a"}, 1)}
