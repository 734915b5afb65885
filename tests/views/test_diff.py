"""`minipach diff`: two states of a pipeline side by side."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from minipach.project.project import find_project
from minipach.views.diff import compare_states
from tests.fixtures.projects import Study

UPPER = 'tr a-z A-Z <"$images" >"$PFS/out/$MINIPACH_DATUM"\n'
SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/upper.sh]}\n'


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three publishes. Second: moon.txt changed, comet.txt gone, star.txt new. Third: a comment in the script."""
    study = Study.create(tmp_path_factory.mktemp("compare") / "study")
    for name in ("moon", "comet", "sun"):
        study.put(f"images/{name}.txt", f"{name}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC, upper=UPPER)
    study.schedule()
    study.put("images/moon.txt", "full moon\n", save=False)
    study.put("images/star.txt", "star\n", save=False)
    study.remove("images/comet.txt")
    study.schedule()
    study.put("edges/code/upper.sh", "# louder\n" + UPPER)
    study.schedule()
    return study


def jobs(study: Study) -> list[str]:
    """The ids of the publishes' jobs, oldest first."""
    lines = study.git("edges", "log", "--reverse", "--format=%B").splitlines()
    return [line.removeprefix("job: ") for line in lines if line.startswith("job: ")]


def diff(study: Study, old: str | None = None, new: str | None = None, *, patch: bool = False) -> dict[str, Any]:
    """What `minipach diff edges --json` shows."""
    return compare_states(find_project(study.root), "edges", old, new, patch=patch).as_json()


def kinds(found: dict[str, Any]) -> dict[str, str]:
    """What became of each datum."""
    return {d["name"]: d["kind"] for d in found["datums"]}


def paths(added: tuple[str, ...] = (), removed: tuple[str, ...] = (), changed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Paths as JSON has them, none of them moved."""
    return {
        "added": list(added),
        "removed": list(removed),
        "changed": list(changed),
        "moved": [],
        "same_content": [],
    }


def test_by_default_the_last_publish_is_compared_with_what_was_before_it(published: Study) -> None:
    found = diff(published)
    assert found["new"] == published.git("edges", "rev-parse", "HEAD")
    assert found["code"] == [{"path": "code/upper.sh", "status": "M"}]
    assert found["inputs"] == [] and found["image"] == []
    assert kinds(found) == {"moon.txt": "changed", "star.txt": "changed", "sun.txt": "changed"}


def test_equal_outputs_are_named_though_their_ids_changed(published: Study) -> None:
    found = diff(published)
    assert all(d["old"]["id"] != d["new"]["id"] and d["outputs"] == "identical" for d in found["datums"])
    assert found["outputs"] == paths()


def test_jobs_are_compared_by_their_ids(published: Study) -> None:
    first, second, _ = jobs(published)
    found = diff(published, first, second[:8])
    assert kinds(found) == {"comet.txt": "removed", "moon.txt": "changed", "star.txt": "added"}
    assert found["datums_unchanged"] == 1
    assert [d["outputs"] for d in found["datums"] if d["name"] == "moon.txt"] == ["changed"]
    assert found["outputs"] == paths(("star.txt",), ("comet.txt",), ("moon.txt",))
    (moved,) = found["inputs"]
    assert moved["repo"] == "images"
    assert moved["new"] == published.git("images", "rev-parse", "HEAD")
    assert moved["paths"] == paths(("star.txt",), ("comet.txt",), ("moon.txt",))


def test_a_job_stands_for_the_state_that_it_left(published: Study) -> None:
    third = jobs(published)[-1]
    found = diff(published, third, "HEAD")
    assert found["old"] == found["new"]
    assert (found["datums"], found["datums_unchanged"]) == ([], 3)


def test_json_says_its_schema(published: Study) -> None:
    found = published.minipach("diff", "edges", "--json").json
    assert found == {"schema": 1, **diff(published)}


def test_with_one_argument_the_other_side_is_head(published: Study) -> None:
    first = jobs(published)[0]
    assert diff(published, first)["new"] == published.git("edges", "rev-parse", "HEAD")


def test_any_commit_will_do_and_the_order_counts(published: Study) -> None:
    first, second, _ = jobs(published)
    old, new = diff(published, first, second)["old"], diff(published, first, second)["new"]
    back = diff(published, new[:12], old)
    assert kinds(back) == {"comet.txt": "added", "moon.txt": "changed", "star.txt": "removed"}


def test_for_people_it_is_short(published: Study) -> None:
    first, second, _ = jobs(published)
    out = published.ok("minipach", "diff", "edges", first, second)
    assert "1 added, 1 removed, 1 changed" in out
    assert "\ndatums: 1 added, 1 removed, 1 changed, 1 as before\nCHANGE   OLD " in out
    assert re.search(r"^removed  [0-9a-f]{10}  - .* comet.txt$", out, re.MULTILINE)
    assert "nothing differs" in published.ok("minipach", "diff", "edges", "HEAD", "HEAD")
    assert "sun.txt" in published.ok("minipach", "diff", "edges")
    assert published.ok("minipach", "diff", "edges").count("  identical ") == 3


def test_patch_shows_the_lines(published: Study) -> None:
    assert "+# louder" not in published.ok("minipach", "diff", "edges")
    assert "+# louder" in published.ok("minipach", "diff", "edges", "--patch")
    assert "\n+# louder\n" in diff(published, patch=True)["patch"]


@pytest.mark.parametrize("word", ["nonsense", "abcdef012345", "-x"])
def test_a_name_that_leads_nowhere_is_an_error(published: Study, word: str) -> None:
    done = published.minipach("diff", "edges", "--", word)
    assert done.code == 2
    assert done.reports("history.unknown", word)


def test_looking_changes_nothing(published: Study) -> None:
    before = published.git("edges", "for-each-ref"), published.git("images", "for-each-ref")
    diff(published)
    assert before == (published.git("edges", "for-each-ref"), published.git("images", "for-each-ref"))


# What needs a project of its own


def test_before_the_first_publish_there_is_nothing_to_compare(study: Study) -> None:
    study.copier()
    done = study.minipach("diff", "edges")
    assert done.code == 2
    assert done.reports("pipeline.not-published", "edges", "minipach schedule edges")


@pytest.mark.slow
def test_after_the_first_publish_it_is_compared_with_nothing(study: Study) -> None:
    study.put("images/moon.txt", "pale\n")
    study.copier()
    study.schedule()
    found = diff(study)
    assert kinds(found) == {"moon.txt": "added"}
    assert [(i["repo"], i["old"]) for i in found["inputs"]] == [("images", None)]
    assert len(found["image"]) == 1


@pytest.mark.slow
def test_a_renamed_output_is_no_new_content(study: Study) -> None:
    study.put("images/moon.txt", "pale\n")
    study.pipeline("edges", SPEC, upper='cp "$images" "$PFS/out/moon.text"\n')
    study.schedule()
    study.put("edges/code/upper.sh", 'cp "$images" "$PFS/out/moon.dat"\n')
    study.schedule()
    found = diff(study)["outputs"]
    assert found == {**paths(), "moved": [{"from": "moon.text", "to": "moon.dat"}]}
    assert "moon.text → moon.dat (same content)" in study.ok("minipach", "diff", "edges")


def test_a_key_with_another_extension_is_the_same_content(published: Study, tmp_path: Path) -> None:
    shutil.copytree(published.root, tmp_path / "study", symlinks=True)
    study = Study(tmp_path / "study")
    target = study.git("edges", "cat-file", "-p", "HEAD:sun.txt")
    (study.root / "edges" / "sun.txt").unlink()
    (study.root / "edges" / "sun.txt").symlink_to(target.replace(".txt", ".dat"))
    study.git("edges", "add", "sun.txt")
    study.git("edges", "commit", "-q", "-m", "another extension", "--no-verify")
    found = diff(study, "HEAD~1", "HEAD")["outputs"]
    assert found == {**paths(), "same_content": ["sun.txt"]}


def test_a_commit_that_is_gone_from_the_input_is_said(published: Study, tmp_path: Path) -> None:
    shutil.copytree(published.root, tmp_path / "study", symlinks=True)
    study = Study(tmp_path / "study")
    shutil.rmtree(study.root / "images" / ".git")
    first, second, _ = jobs(study)
    found = diff(study, first, second)
    assert [i["paths"] for i in found["inputs"]] == [None]
    assert "its commits aren't both here" in study.ok("minipach", "diff", "edges", first, second)
