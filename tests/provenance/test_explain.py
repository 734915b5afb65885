"""`minipach explain`: where a file comes from, from git alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minipach.model.run_record import compose
from minipach.provenance.locate import locate
from minipach.provenance.text import lines
from minipach.provenance.trace import Tracer
from minipach.support.errors import Problem, UserError
from tests.fixtures.projects import Study

UPPER = 'tr a-z A-Z <"$images" >"$PFS/out/$MINIPACH_DATUM"\n'
EDGES = """\
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/upper.sh, "{images.stem}"], env: {LEVEL: "3"}}
"""
ALL = """\
input: {pfs: {repo: edges, glob: "/"}}
transform: {cmd: [sh], stdin: ["cat /pfs/edges/*.txt >/pfs/out/all.txt"]}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two pipelines, one after the other. Then a comment in the script: other ids, and the same bytes."""
    study = Study.create(tmp_path_factory.mktemp("explain") / "study")
    study.put("images/moon.txt", "moon\n", save=False)
    study.put("images/sun.txt", "sun\n")
    study.pipeline("edges", EDGES, upper=UPPER)
    study.pipeline("all", ALL)
    study.schedule()
    study.put("edges/code/upper.sh", "# louder\n" + UPPER)
    study.schedule()
    return study


def explain(study: Study, name: str, at: str | None = None, *, upstream: bool = False, folder: str = ".") -> Any:
    """What `minipach explain --json` shows, less its schema."""
    found = locate(name, study.root / folder, at)
    tracer = Tracer(found.root)
    try:
        lineage = tracer.trace(found.repo, found.at, found.paths, upstream=upstream)
        assert list(lines(lineage)) and list(lines(lineage, verbose=True))
        return json.loads(json.dumps(lineage.as_json()))
    finally:
        tracer.close()


def problem(study: Study, name: str, at: str | None = None) -> Problem:
    """The one problem of a name."""
    with pytest.raises(UserError) as caught:
        explain(study, name, at)
    (found,) = caught.value.problems
    return found


def test_a_computed_file_has_its_whole_recipe(study: Study) -> None:
    found = explain(study, "edges/moon.txt")
    (file_key,) = found["wanted"]
    file = next(f for f in found["files"] if f["key"] == file_key)
    (made,) = found["computations"]
    assert (file["origin"], file["computation"], file["size"]) == ("computed", made["key"], 5)
    assert (made["pipeline"], made["datum"]) == ("edges", "moon.txt")
    assert made["command"] == ["sh", "code/upper.sh", "moon"]
    assert made["variables"]["LEVEL"] == "3"
    assert made["environment"]["kind"] == "host" and "python3: " in made["environment"]["fingerprint"]
    assert made["record"]["author"] == "A Tester" and made["record"]["email"] == "tester@example.org"
    assert made["record"]["when"].endswith("Z")
    assert 0 < made["seconds"] < 600
    assert made["outputs"] == ["moon.txt"]
    (use,) = made["inputs"]
    assert use["at"] == study.git("images", "rev-parse", "HEAD")
    source = next(f for f in found["files"] if f["key"] == use["file"])
    assert (source["repo"], source["path"], source["origin"]) == ("images", "moon.txt", "committed")
    assert source["content"].startswith("MD5--") and source["change"]["subject"] == "test"


def test_the_record_repeats_the_file(study: Study) -> None:
    (made,) = explain(study, "edges/moon.txt")["computations"]
    record = study.git("edges", "log", "-1", "--format=%B", made["record"]["commit"])
    assert made["datum_id"] in record and made["repeat"] == f"datalad rerun -d edges {made['record']['commit'][:10]}"


def test_equal_bytes_of_newer_code_have_the_newer_recipe(study: Study) -> None:
    made = explain(study, "edges/moon.txt")["computations"][0]
    state = study.git("edges", "grep", "-h", "moon.txt", "HEAD", "--", ".minipach/state")
    assert json.loads(state)[1] == made["datum_id"]
    assert made["code"]["commit"] == study.git("edges", "log", "-1", "--format=%H", "--", "code")
    assert made["code"]["changed_since"] is False


def test_an_earlier_state_has_the_earlier_recipe(study: Study) -> None:
    jobs = [j for j in study.git("edges", "log", "--reverse", "--format=%B").splitlines() if j.startswith("job: ")]
    (made,) = explain(study, "edges/moon.txt", jobs[0].removeprefix("job: "))["computations"]
    assert made["code"]["changed_since"] is True
    assert made["code"]["diff"].startswith(f"git -C {study.root}/edges diff ")
    shown = subprocess.run(made["code"]["diff"], shell=True, capture_output=True, text=True, check=True).stdout
    assert "+# louder" in shown


def test_a_commit_of_the_project_names_a_state_of_each_dataset(study: Study) -> None:
    commit = study.git(".", "log", "-1", "--format=%H", "--", "edges")
    assert explain(study, "edges/moon.txt", commit) == explain(study, "edges/moon.txt")


def test_upstream_explains_all_to_the_end(study: Study) -> None:
    found = explain(study, "all/all.txt", upstream=True)
    assert [c["pipeline"] for c in found["computations"]] == ["all", "edges", "edges"]
    roots = sorted(f["path"] for f in found["files"] if f["origin"] == "committed")
    assert roots == ["moon.txt", "sun.txt"]
    assert len(explain(study, "all/all.txt")["computations"]) == 1


@pytest.mark.parametrize(
    ("name", "folder"), [("moon.txt", "edges"), ("../../edges/moon.txt", "edges/code"), ("edges/moon.txt", "images")]
)
def test_a_name_is_found_from_any_folder(study: Study, name: str, folder: str) -> None:
    assert explain(study, name, folder=folder) == explain(study, "edges/moon.txt")


def test_a_file_below_inputs_is_that_of_its_repo(study: Study) -> None:
    assert explain(study, "edges/inputs/images/moon.txt") == explain(study, "images/moon.txt")


def test_a_folder_is_all_its_data(study: Study) -> None:
    found = explain(study, "edges")
    assert sorted(key.rpartition(":")[2] for key in found["wanted"]) == ["moon.txt", "sun.txt"]


def test_code_is_explained_by_its_commit(study: Study) -> None:
    found = explain(study, "edges/code/upper.sh")
    assert [f["origin"] for f in found["files"]] == ["committed"] and found["computations"] == []


def test_a_clone_without_contents_and_job_database_knows_the_same(study: Study, tmp_path: Path) -> None:
    clone = Study(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", study.root, clone.root], check=True)
    for name in ("images", "edges", "all"):
        subprocess.run(["git", "clone", "-q", study.root / name, clone.root / name], check=True)
    there, here = (json.dumps(explain(s, "all/all.txt", upstream=True)) for s in (clone, study))
    assert there.replace(str(clone.root), "ROOT") == here.replace(str(study.root), "ROOT")


def test_a_pipeline_alone_says_what_is_not_here(study: Study, tmp_path: Path) -> None:
    clone = Study(tmp_path / "alone")
    subprocess.run(["git", "clone", "-q", study.root / "edges", clone.root], check=True)
    found = explain(clone, "moon.txt", upstream=True)
    (made,) = found["computations"]
    assert made["command"] == ["sh", "code/upper.sh", "moon"] and made["repeat"].startswith("datalad rerun -d . ")
    assert made["notes"] == ["input images: inputs/images is not installed here"]
    (use,) = made["inputs"]
    (away,) = (f for f in found["files"] if f["key"] == use["file"])
    assert (away["origin"], away["path"]) == ("unknown", "moon.txt")


def test_a_change_by_hand_is_named_as_that(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    other.put("edges/moon.txt", "edited\n")
    (file,) = explain(other, "edges/moon.txt")["files"]
    assert (file["origin"], file["note"]) == (
        "committed",
        "minipach published this file, and this commit changed it afterwards",
    )


def test_a_datalad_run_of_somebody_has_its_command(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    other.put("images/new.txt", "new\n", save=False)
    other.save("images")
    message = compose("make new", {"cmd": "echo new > new.txt", "exit": 0, "chain": []})
    other.git("images", "commit", "-q", "--amend", "-m", message)
    (file,) = explain(other, "images/new.txt")["files"]
    assert (file["origin"], file["command"]) == ("committed", "echo new > new.txt")


def test_a_commit_on_a_forge_has_a_link_and_a_local_one_has_none(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    other.git("edges", "remote", "add", "origin", "https://me:hunter2@github.com/lab/edges.git")
    assert explain(other, "edges/moon.txt")["computations"][0]["code"]["url"] is None
    head = other.git("edges", "rev-parse", "HEAD")
    other.git("edges", "update-ref", "refs/remotes/origin/main", head)
    made = explain(other, "edges/moon.txt")["computations"][0]
    assert made["code"]["url"] == f"https://github.com/lab/edges/commit/{made['code']['commit']}"
    assert "hunter2" not in json.dumps(made)


@pytest.mark.parametrize(
    "ours",
    [
        '{"minipach": 7}',
        '{"minipach": {"datums": 7}}',
        '{"minipach": {"datums": [7, {"outputs": 7}]}, "cmd": 7}',
        "{",
        "[]",
    ],
)
def test_a_record_of_somebody_else_is_a_plain_commit(study: Study, tmp_path: Path, ours: str) -> None:
    other = study.duplicate(tmp_path / "study")
    other.put("edges/moon.txt", "x\n")
    message = compose("edges: moon", {}).replace("{}", ours)
    other.git("edges", "commit", "-q", "--amend", "-m", message)
    (file,) = explain(other, "edges/moon.txt")["files"]
    assert file["origin"] == "committed"


def test_a_hostile_record_runs_nothing(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    other.put("edges/moon.txt", "x\n")
    datum = {"name": "$(touch pwned)\x1b[31m", "id": "../../x"}
    record = {"cmd": "rm -rf / # {0.__class__}", "minipach": {"datums": [datum], "reused_from": 3, "job": []}}
    other.git("edges", "commit", "-q", "--amend", "-m", compose("edges: x", record | {"chain": 5, "extra_inputs": {}}))
    (made,) = explain(other, "edges/moon.txt")["computations"]
    assert made["command"] == ["rm -rf / # {0.__class__}"]
    assert made["notes"] == ["the command of the record is not one of minipach's launcher"]
    shown = other.minipach("explain", "edges/moon.txt")
    assert shown.code == 0 and "\x1b" not in shown.out


def test_names_that_lead_nowhere_have_a_fix(study: Study) -> None:
    assert problem(study, "edges/mon.txt").fix == 'use "moon.txt"'
    unknown = problem(study, "edges/moon.txt", "nowhere")
    assert unknown.code == "history.unknown" and "edges" in unknown.message
    assert problem(study, "/proc/self/status").code == "project.not-found"
    (study.root / "images/draft.txt").write_text("x")
    assert problem(study, "images/draft.txt").code == "explain.not-committed"
    (study.root / "images/draft.txt").unlink()


def test_a_removed_file_is_found_before_its_removal(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    other.remove("images/moon.txt")
    at = problem(other, "images/moon.txt").fix.rpartition("--at ")[2]
    assert explain(other, "images/moon.txt", at) == explain(study, "images/moon.txt")


def test_it_shows_lines_and_json(study: Study) -> None:
    shown = study.minipach("explain", "all/all.txt", "--upstream")
    assert shown.code == 0
    assert "\nall: datum /\n" in shown.out and "\nedges: datum moon.txt\n" in shown.out
    assert "  command  sh code/upper.sh sun\n" in shown.out and "  env      LEVEL=3\n" in shown.out
    done = study.minipach("explain", "all/all.txt", "--json")
    assert done.json == {"schema": 1, **explain(study, "all/all.txt")}
    wrong = study.minipach("explain", "all/al.txt")
    assert (wrong.code, wrong.out) == (2, "") and len(wrong.err.splitlines()) == 1
