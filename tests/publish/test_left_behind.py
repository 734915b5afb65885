"""`minipach.publish.left_behind`: what a plain push leaves behind is said, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from minipach.git.repo import Repo
from minipach.model.repo_layout import RESULTS_BRANCH
from minipach.project.project import find_project
from minipach.publish.left_behind import left_behind
from tests.fixtures.clones import add_result, small_project


def test_results_that_a_plain_push_left_behind(tmp_path: Path) -> None:
    study, files = small_project(tmp_path / "study")
    repo = Repo(files.path)

    def said() -> list[tuple[str, str, str]]:
        return [(one.code, one.location, one.fix) for one in left_behind(find_project(study.root))]

    add_result(files, "a")
    assert said() == [], "nothing was pushed yet"
    for name in ("forge", "other/deep"):
        Repo(tmp_path).git("init", "--quiet", "--bare", str(tmp_path / name))
        repo.git("remote", "add", name, str(tmp_path / name))
        repo.git("push", "--quiet", name, "HEAD")
    where = files.path.name
    assert said() == [("push.results-left", where, f"minipach push {name}") for name in ("forge", "other/deep")]
    for name in ("forge", "other/deep"):
        repo.git("push", "--quiet", name, RESULTS_BRANCH)
    assert said() == []
    add_result(files, "b")
    assert [row[2] for row in said()] == ["minipach push forge", "minipach push other/deep"]
    files.put("notes", "x")
    files.commit()
    assert said() == [], "its branch has commits that are not pushed either"
