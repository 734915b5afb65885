"""`minipach.publish.contents`: contents come and go by pipeline and datum; the last copy stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from minipach.git import crash_cleanup
from minipach.git.repo import Repo
from minipach.project.project import Project, find_project
from minipach.publish.contents import keep_within_limit, move_contents, trim
from minipach.support.errors import UserError
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.projects import Study
from tests.fixtures.repos import Files

pytestmark = pytest.mark.slow

__all__ = ["root"]
SIZE = 10_000


@pytest.fixture
def images(root: Files, tmp_path: Path) -> Files:
    """A dataset with three contents; `a` and `b` are in another folder, too, and `a` was used before `b`."""
    made = repo(root, "images")
    made.git("annex", "init", "--quiet")
    for name in ("a", "b", "c"):
        (made.path / name).write_bytes(os.urandom(SIZE))
    made.git("annex", "add", "--quiet", ".")
    made.commit()
    (tmp_path / "disk").mkdir()
    made.git("annex", "initremote", "disk", "type=directory", f"directory={tmp_path}/disk", "encryption=none")
    made.git("annex", "copy", "--quiet", "--to=disk", "a", "b")
    for age, name in enumerate("bac"):
        when = time.time() - 1000 * age
        os.utime(made.path / name, (when, when))
    return made


def here(files: Files) -> list[str]:
    return files.line("annex", "find", "--in=here").split()


def project_of(files: Files) -> Project:
    return find_project(files.path.parent)


def test_the_last_copy_stays(images: Files) -> None:
    (moved,) = move_contents(project_of(images), "drop", ["images"])
    assert (moved.contents, moved.size, moved.kept) == (2, 2 * SIZE, 1)
    assert [problem.code for problem in moved.problems] == ["contents.not-drop"]
    assert here(images) == ["c"]
    (moved,) = move_contents(project_of(images), "get", ["images"])
    assert (moved.contents, moved.problems) == (2, ())
    assert here(images) == ["a", "b", "c"]


@pytest.mark.parametrize("act", ["drop", "trim"])
def test_a_drop_that_was_killed_before_it_was_noted(images: Files, act: str) -> None:
    """Else git-annex counts a copy here that is gone, and says so to others."""
    key, identity = images.line("annex", "lookupkey", "a"), str(images.config("annex.uuid"))
    crash_cleanup.begin(images)
    (images.path / images.line("annex", "contentlocation", key)).parent.chmod(0o755)
    (images.path / images.line("annex", "contentlocation", key)).unlink()
    (images.common_dir / "annex/index.lock").touch()
    assert identity in images.line("annex", "whereis", f"--key={key}")
    if act == "drop":
        move_contents(project_of(images), "drop", ["images"])
    else:
        trim(project_of(images), 0)
    assert identity not in images.line("annex", "whereis", f"--key={key}")
    assert here(images) == ["c"]


def test_what_only_an_unconfirmed_store_has(images: Files) -> None:
    project = project_of(images)
    config = project.root / ".datalad/config"
    for name in ("lab", "other"):
        place = f'[minipach-store "{name}"]\n\tkind = s3\n\turl = http://127.0.0.1:9\n\tbucket = study\n'
        config.write_text(config.read_text() + place)
    images.git("annex", "drop", "--quiet", "a")
    images.git("config", "remote.disk.annex-directory", str(images.path.parent / "nowhere"))
    (moved,) = move_contents(project, "get", ["images"])
    (problem,) = moved.problems
    assert (moved.kept, problem.code) == (1, "contents.not-get")
    assert "minipach store add lab" in (problem.fix or "") and "other" in (problem.fix or "")


def test_what_is_required_here_stays(images: Files) -> None:
    images.git("annex", "required", "here", "include=a")
    move_contents(project_of(images), "drop", ["images"])
    assert here(images) == ["a", "c"]


def test_what_was_not_used_for_longest_goes(images: Files) -> None:
    project = project_of(images)
    assert trim(project, 3 * SIZE) == (0, 0)
    assert trim(project, 2 * SIZE + 1) == (1, SIZE)
    assert here(images) == ["b", "c"], "c was not used for longest, and is nowhere else"
    assert trim(project, 0) == (1, SIZE)
    assert here(images) == ["c"]


def test_the_number_of_copies_that_a_file_wants(images: Files) -> None:
    images.put(".gitattributes", "a annex.numcopies=2\n")
    images.commit()
    assert trim(project_of(images), 0) == (1, SIZE)
    assert here(images) == ["a", "c"]


def test_the_setting(images: Files) -> None:
    project = project_of(images)
    assert keep_within_limit(project) == (0, 0)
    project.repo.git("config", "minipach.cache-size", "20k")
    assert keep_within_limit(project) == (1, SIZE)
    project.repo.git("config", "minipach.cache-size", "much")
    with pytest.raises(UserError) as caught:
        keep_within_limit(project)
    assert caught.value.problems[0].code == "setting.bad-value"


def test_an_unknown_name(images: Files) -> None:
    with pytest.raises(UserError) as caught:
        move_contents(project_of(images), "get", ["imgaes"])
    assert caught.value.problems[0].code == "project.no-such-pipeline"


def outputs_here(edges: Repo) -> list[str]:
    found = edges.line("annex", "find", "--in=here", "--exclude=.*/*").split()
    return sorted(Path(path).name.partition(".")[0] for path in found)


@pytest.mark.slow
def test_outputs_of_a_datum(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for name in ("a", "b"):
        study.put(f"images/{name}.dat", name * SIZE, save=name == "b")
    study.copier()
    study.schedule()
    edges = Repo(study.root / "edges")
    store = tmp_path / "disk"
    assert study.minipach("store", "add", "disk", "--dir", str(store)).code == 0
    assert study.minipach("push", "disk").code == 0
    done = study.minipach("drop", "edges:a*", "--json")
    assert (done.code, done.json["repos"][0]["contents"]) == (0, 1), done.err
    assert outputs_here(edges) == ["b"]
    assert study.minipach("get", "edges:a*").code == 0
    assert outputs_here(edges) == ["a", "b"]
    # the setting holds after a schedule, too
    study.git(".", "config", "minipach.cache-size", "1")
    study.put("images/c.dat", "c")
    assert "for minipach.cache-size" in study.minipach("schedule").err
    assert outputs_here(edges) in ([], ["c"])
    assert study.minipach("drop", "edges:zzz").code == 2
