"""The main job: from `spec.yml` to recorded results, and what a change makes necessary."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.fixtures.projects import Study
from tests.fixtures.stories import SKY, UPPER, counts, duplicate, records, sky, spec


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The sky, computed. Only to look at."""
    study = sky(tmp_path_factory.mktemp("sky") / "study")
    reports = study.schedule("-j", "2")
    assert reports["edges"]["counts"] == {
        "ran": 3,
        "reused": 0,
        "current": 0,
        "removed": 0,
        "recovered": 0,
        "failed": 0,
    }
    assert reports["montage"]["counts"]["ran"] == 1
    return study


@pytest.fixture
def study(done: Study, tmp_path: Path) -> Study:
    """The sky, computed, in a copy of one's own."""
    return duplicate(done, tmp_path / "study")


# What a first schedule leaves


def test_outputs_are_the_commands_own(done: Study) -> None:
    assert sorted(done.outputs("edges")) == sorted(SKY)
    assert done.read("edges/star.txt") == b"FAR\n"
    assert all(meta.startswith("120000 ") for meta in done.outputs("edges").values())


def test_a_pipeline_downstream_follows_and_sees_outputs_only(done: Study) -> None:
    assert done.read("montage/sheet").decode() == "./comet.txt\nLATE\n./moon.txt\nPALE\n./star.txt\nFAR\n"


def test_each_datum_has_a_record_with_its_image_and_inputs(done: Study) -> None:
    found = records(done, "edges")
    assert found.keys() == SKY.keys()
    for name, (commit, record) in found.items():
        assert record["extra_inputs"] == [".datalad/environments/host/image"]
        assert record["inputs"] == [f"inputs/images/{name}"]
        assert record["outputs"] == [name]
        assert record["dsid"] == done.git("edges", "config", "--file", ".datalad/config", "datalad.dataset.id")
        assert record["cmd"].startswith("sh .minipach/launch .datalad/environments/host/image ")
        assert record["minipach"]["datums"][0]["name"] == name
        changed = done.git("edges", "diff-tree", "-r", "--no-commit-id", "--name-only", commit)
        assert changed == name
        assert len(done.git("edges", "rev-list", "--parents", "-1", commit).split()) == 2


def test_the_superdataset_pins_the_whole_state(done: Study) -> None:
    for repo in ("images", "edges", "montage"):
        pinned = done.git(".", "rev-parse", f"HEAD:{repo}")
        assert pinned == done.git(repo, "rev-parse", "HEAD")
        assert done.git(repo, "status", "--porcelain") == ""
    assert done.git("edges", "rev-parse", "HEAD:inputs/images") == done.git("images", "rev-parse", "HEAD")
    assert done.git(".", "status", "--porcelain") == ""
    assert not list((done.root / "edges" / "inputs" / "images").iterdir())


def test_nothing_is_left_over(done: Study) -> None:
    for repo in ("edges", "montage"):
        assert len(done.git(repo, "worktree", "list").splitlines()) == 1
        refs = done.git(repo, "for-each-ref", "--format=%(refname)").splitlines()
        assert not [r for r in refs if r.startswith("refs/minipach/") and r.split("/")[2] not in ("base", "published")]
        assert "refs/heads/minipach" in refs


def test_a_second_schedule_does_nothing(study: Study) -> None:
    heads = [study.git(repo, "rev-parse", "HEAD") for repo in (".", "edges", "montage")]
    logs = sorted((study.root / ".git/minipach/logs").rglob("*"))
    again = study.minipach("schedule")
    assert (again.code, again.out) == (0, "nothing to do\n")
    assert heads == [study.git(repo, "rev-parse", "HEAD") for repo in (".", "edges", "montage")]
    assert logs == sorted((study.root / ".git/minipach/logs").rglob("*")), "something ran"
    # for scripts: which job made what is current, whether this machine remembers it or not
    jobs = {row["pipeline"]: row["id"] for row in study.minipach("jobs", "--json").json["jobs"]}
    assert {name: row["job"] for name, row in study.schedule().items()} == jobs
    (study.root / ".git/minipach/ledger.sqlite").unlink()
    assert {name: row["job"] for name, row in study.schedule().items()} == jobs


# What a change makes necessary


def test_one_file_added_runs_one_datum(study: Study) -> None:
    study.put("images/cloud.txt", "low\n")
    plan = study.plan()
    assert [d["name"] for d in plan["edges"]["datums"] if d["action"] == "run"] == ["cloud.txt"]
    reports = study.schedule()
    assert counts(reports["edges"]) == {"ran": 1, "current": 3}
    assert counts(reports["montage"]) == {"ran": 1}
    assert b"./cloud.txt\nLOW\n" in study.read("montage/sheet")


@pytest.mark.slow
def test_one_file_removed_takes_its_output_away(study: Study) -> None:
    before = study.git("edges", "rev-parse", "HEAD")
    study.remove("images/star.txt")
    reports = study.schedule()
    assert counts(reports["edges"]) == {"current": 2, "removed": 1}
    assert sorted(study.outputs("edges")) == ["comet.txt", "moon.txt"]
    assert not os.path.lexists(study.root / "edges/star.txt")
    assert "star.txt" in study.git("edges", "ls-tree", "--name-only", before).splitlines()
    study.git("edges", "merge-base", "--is-ancestor", before, "HEAD")
    assert b"star" not in study.read("montage/sheet")


@pytest.mark.slow
def test_one_file_renamed_is_reused_under_its_new_name(study: Study) -> None:
    old = study.outputs("edges")["star.txt"]
    study.git("images", "mv", "star.txt", "nova.txt")
    study.save("images")
    reports = study.schedule()
    assert counts(reports["edges"]) == {"reused": 1, "current": 2, "removed": 1}
    assert sorted(study.outputs("edges")) == ["comet.txt", "moon.txt", "nova.txt"]
    assert study.outputs("edges")["nova.txt"] == old
    _, record = records(study, "edges")["nova.txt"]
    assert record["inputs"] == ["inputs/images/nova.txt"]
    assert record["outputs"] == ["nova.txt"]
    assert record["minipach"]["reused_from"]["name"] == "star.txt"


@pytest.mark.soak
def test_a_name_that_is_written_is_the_neutral_one(study: Study) -> None:
    study.put("edges/code/upper.sh", 'basename "$images" >"$PFS/out/$MINIPACH_DATUM"\n')
    study.schedule()
    study.git("images", "mv", "star.txt", "nova.txt")
    study.save("images")
    assert counts(study.schedule()["edges"]) == {"reused": 1, "current": 2, "removed": 1}
    assert study.read("edges/nova.txt") == b"datum.txt\n"


@pytest.mark.soak
def test_two_files_of_one_content_are_computed_once(study: Study) -> None:
    study.put("images/cloud.txt", "low\n", save=False)
    study.put("images/fog.txt", "low\n")
    actions = {d["name"]: (d["action"], d["reason"]) for d in study.plan()["edges"]["datums"]}
    assert actions["fog.txt"] == ("reuse", "same content as cloud.txt")
    assert counts(study.schedule()["edges"]) == {"ran": 1, "reused": 1, "current": 3}
    assert study.outputs("edges")["fog.txt"] == study.outputs("edges")["cloud.txt"]


def test_edited_code_runs_that_pipeline_and_stops_where_nothing_changed(study: Study) -> None:
    study.put("edges/code/upper.sh", "# the same, said otherwise\n" + UPPER)
    plan = study.plan()["edges"]
    assert {(d["action"], d["reason"]) for d in plan["datums"]} == {("run", "code/upper.sh changed")}
    montage = study.git("montage", "rev-parse", "HEAD")
    reports = study.schedule()
    assert counts(reports["edges"]) == {"ran": 3}
    assert counts(reports["montage"]) == {"current": 1}
    assert montage == study.git("montage", "rev-parse", "HEAD")
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.soak
def test_there_and_back_again_runs_nothing(study: Study) -> None:
    first = study.outputs("edges"), study.outputs("montage")
    study.put("images/star.txt", "near\n")
    assert counts(study.schedule()["edges"]) == {"ran": 1, "current": 2}
    study.put("images/star.txt", SKY["star.txt"])
    reports = study.schedule()
    assert counts(reports["edges"]) == {"reused": 1, "current": 2}
    assert counts(reports["montage"]) == {"reused": 1}
    assert first == (study.outputs("edges"), study.outputs("montage"))


@pytest.mark.soak
def test_code_there_and_back_again_runs_nothing(study: Study) -> None:
    first = study.outputs("edges")
    study.put("edges/code/upper.sh", UPPER.replace("A-Z", "b-za"))
    assert counts(study.schedule()["edges"]) == {"ran": 3}
    assert study.outputs("edges") != first
    study.put("edges/code/upper.sh", UPPER)
    assert counts(study.schedule()["edges"]) == {"reused": 3}
    assert study.outputs("edges") == first


@pytest.mark.soak
def test_one_pipeline_named_runs_it_and_what_is_downstream(study: Study) -> None:
    study.pipeline("other", spec("images", "/", "count"), count='ls "$PFS/images" | wc -l >"$PFS/out/n"\n')
    study.put("images/cloud.txt", "low\n")
    assert set(study.schedule("edges")) == {"edges", "montage"}
    assert not (study.root / "other" / ".git").exists()
    assert counts(study.schedule("other")["other"]) == {"ran": 1}
    assert study.read("other/n").strip() == b"4"


@pytest.mark.slow
def test_losing_all_local_state_loses_nothing(study: Study) -> None:
    shutil.rmtree(study.root / ".git/minipach")
    for repo in ("edges", "montage"):
        shutil.rmtree(study.root / repo / ".git/minipach")
        study.git(repo, "update-ref", "-d", "refs/minipach/base")
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_an_uncommitted_change_is_neither_used_nor_lost(study: Study) -> None:
    study.put("images/draft.txt", "not yet\n", save=False)
    study.put("edges/star.txt", "mine\n", save=False)
    study.remove("images/moon.txt")  # `datalad save` takes the draft in, too
    study.put("images/sketch.txt", "not yet either\n", save=False)
    done = study.minipach("schedule", "edges")
    assert done.code == 0, done.err
    assert "images: uncommitted changes are left out (sketch.txt)" in done.err
    assert "edges: uncommitted changes are left out (star.txt)" in done.err
    assert study.read("edges/star.txt") == b"mine\n"
    assert sorted(study.outputs("edges")) == ["comet.txt", "draft.txt", "star.txt"]


@pytest.mark.slow
def test_an_uncommitted_change_in_the_way_stops_only_the_publishing(study: Study) -> None:
    before = study.git("edges", "rev-parse", "HEAD")
    study.put("images/star.txt", "near\n")
    study.put("edges/star.txt", "mine\n", save=False)
    stopped = study.minipach("schedule", "edges")
    assert stopped.code == 2
    assert stopped.reports("publish.changes-in-the-way", "edges", "(star.txt)")
    assert (before, b"mine\n") == (study.git("edges", "rev-parse", "HEAD"), study.read("edges/star.txt"))
    (study.root / "edges/star.txt").unlink()
    study.git("edges", "checkout", "--", "star.txt")
    assert counts(study.schedule("edges")["edges"]) == {"reused": 1, "current": 2}
    assert study.read("edges/star.txt") == b"NEAR\n"


# What specs can say. One project with a pipeline for each; the tests look.

VARIETY = {
    "folders": (
        "input: {pfs: {repo: images, glob: '/*'}}",
        "minipach: {out: '{name}/'}",
        'cat "$images" >"$PFS/out/o"',
    ),
    "pairs": (
        "input: {cross: [{pfs: {repo: images, glob: '/*'}}, {pfs: {repo: more, glob: '/*.cfg'}}]}",
        "minipach: {out: '{images.stem}-{more.stem}'}",
        'cat "$images" "$more" >"$PFS/out/both"',
    ),
    "empty": ("input: {pfs: {repo: images, glob: '/*'}}", "", "true"),
    "links": (
        "input: {pfs: {repo: images, glob: '/*'}}",
        "",
        'mkdir "$PFS/out/d"; ln -s "$images" "$PFS/out/d/"; ln -s d/"$MINIPACH_DATUM" "$PFS/out/"',
    ),
    "steps/deep": (
        "input: {pfs: {repo: raw/t1, glob: '/**.txt'}}",
        "",
        'mkdir -p "$PFS/out/x"; cp "$t1" "$PFS/out/x/"',
    ),
    "kinds": ("input: {pfs: {repo: more, glob: '/(plain|unlocked|annexed|tool)'}}", "", 'cp "$more" "$PFS/out/"'),
    "none": ("input: {pfs: {repo: images, glob: '/*.nii'}}", "", "exit 1"),
    "names": ("input: {pfs: {repo: images, name: pics, glob: /moon.txt}}", "", 'cp "$pics" "$PFS/out/"'),
}
SETTINGS = """
input: {pfs: {repo: images, glob: /moon.txt}}
transform:
  cmd: [sh, ../run.sh, "{images}", "{out}", "$HOME and `it`"]
  stdin: ["first line", "  'second'"]
  env: {GREETING: "it's $5; {x}", B: two}
  accept_return_code: [3]
  working_dir: code/place
"""
SETTINGS_SH = """
exec >"$2/all"
cat; echo "$GREETING|$B"; basename "$PWD"; cat "$1"; echo "$3"
env | grep -E '^(PPS|PACH|MINI|images)' | sort
exit 3
"""


@pytest.fixture(scope="module")
def variety(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("variety") / "study", "images", "more")
    study.put("images/.gitattributes", "* annex.backend=SHA256E\n.git* annex.largefiles=nothing\n")
    study.put("images/moon.txt", "pale\n", save=False)
    study.put("images/star.txt", "far\n")
    study.put("more/annexed", "in the annex\n", save=False)
    study.put("more/low.cfg", "low\n", save=False)
    study.put("more/high.cfg", "high\n", save=False)
    study.put("more/tool", "#!/bin/sh\n", save=False)
    (study.root / "more/tool").chmod(0o755)
    study.put("more/unlocked", "unlocked in the annex\n", save=False)
    study.save("more")
    study.git("more", "annex", "unlock", "unlocked")
    study.put("more/plain", "plain git\n", save=False)
    study.git("more", "-c", "annex.largefiles=nothing", "add", "plain")
    study.git("more", "commit", "-m", "plain and unlocked", "-a")
    study.ok("datalad", "create", "-d", ".", "raw/t1")
    study.ok("datalad", "create", "-d", "raw/t1", "raw/t1/sub")
    study.put("raw/t1/here.txt", "upper\n", save=False)
    study.put("raw/t1/sub/there.txt", "lower\n", save=False)
    study.ok("datalad", "save", "-r", "-d", str(study.root), "-m", "nested")
    for name, (what, more, script) in VARIETY.items():
        study.pipeline(name, f"{what}\ntransform: {{cmd: [sh, code/run.sh]}}\n{more}\n", run=script + "\n")
    study.pipeline("settings", SETTINGS, run=SETTINGS_SH)
    study.put("settings/code/place/.keep", "", save=False)
    study.schedule("-j", "3")
    return study


def tree(study: Study, repo: str) -> dict[str, str]:
    """The outputs in a checkout with their text."""
    return {path: (study.root / repo / path).read_text() for path in study.outputs(repo)}


@pytest.mark.slow
def test_out_may_be_a_folder_for_each_datum(variety: Study) -> None:
    assert tree(variety, "folders") == {"moon.txt/o": "pale\n", "star.txt/o": "far\n"}


@pytest.mark.slow
def test_a_cross_of_two_repos(variety: Study) -> None:
    assert tree(variety, "pairs") == {
        "moon-high/both": "pale\nhigh\n",
        "moon-low/both": "pale\nlow\n",
        "star-high/both": "far\nhigh\n",
        "star-low/both": "far\nlow\n",
    }
    _, record = records(variety, "pairs")["star.txt~low.cfg"]
    assert record["inputs"] == ["inputs/images/star.txt", "inputs/more/low.cfg"]


@pytest.mark.slow
def test_a_datum_without_output_is_done_all_the_same(variety: Study) -> None:
    assert variety.outputs("empty") == {}
    assert counts(variety.schedule("empty")["empty"]) == {"current": 2}


@pytest.mark.slow
def test_a_job_of_no_datums_succeeds(variety: Study) -> None:
    assert variety.outputs("none") == {}
    assert variety.schedule("none")["none"]["counts"]["ran"] == 0
    status = variety.minipach("status", "--json").json["pipelines"]
    assert {p["state"] for p in status} == {"current"}


@pytest.mark.slow
def test_a_link_to_an_input_is_that_file_and_the_same_key(variety: Study) -> None:
    assert tree(variety, "links") == {n: t for k, t in SKY.items() if k != "comet.txt" for n in (k, f"d/{k}")}
    for name in ("moon.txt", "star.txt"):
        key = variety.git("images", "annex", "lookupkey", name)
        assert variety.git("links", "annex", "lookupkey", name, f"d/{name}").split() == [key, key]


@pytest.mark.slow
def test_nested_repos_and_pipelines_and_a_subdataset_in_an_input(variety: Study) -> None:
    assert tree(variety, "steps/deep") == {"x/here.txt": "upper\n", "x/there.txt": "lower\n"}
    modules = variety.git("steps/deep", "config", "--file", ".gitmodules", "submodule.inputs/t1.url")
    assert modules == "../../raw/t1"
    assert (variety.root / "steps" / ".git").exists() is False


@pytest.mark.slow
def test_input_files_of_every_kind(variety: Study) -> None:
    assert tree(variety, "kinds") == {
        "annexed": "in the annex\n",
        "plain": "plain git\n",
        "tool": "#!/bin/sh\n",
        "unlocked": "unlocked in the annex\n",
    }
    listed = variety.git("more", "annex", "find", "--unlocked").split()
    assert listed == ["unlocked"], "the source is as it was"


@pytest.mark.slow
def test_what_the_command_gets(variety: Study) -> None:
    text = (variety.root / "settings/all").read_text()
    rows = text.splitlines()
    assert rows[:6] == ["first line", "  'second'", "it's $5; {x}|two", "place", "pale", "$HOME and `it`"]
    variables = dict(row.split("=", 1) for row in rows[6:])
    assert variables["MINIPACH_DATUM"] == "moon.txt"
    assert variables["PPS_PIPELINE_NAME"] == "settings"
    assert variables["images"].endswith("/images/moon.txt")
    assert variables["images_COMMIT"] == variety.git("images", "rev-parse", "HEAD")
    datums = variety.minipach("datums", "settings", "--json").json["datums"]
    assert variables["PACH_DATUM_ID"] == datums[0]["id"]
    assert {"PACH_JOB_ID", "PACH_OUTPUT_COMMIT_ID"} <= variables.keys()


@pytest.mark.soak
def test_an_input_may_have_another_name(variety: Study) -> None:
    assert tree(variety, "names") == {"moon.txt": "pale\n"}
    assert json.dumps(records(variety, "names")["moon.txt"][1]["inputs"]) == '["inputs/images/moon.txt"]'


# The first run of all


@pytest.mark.slow
def test_a_folder_with_a_spec_becomes_a_pipeline_and_runs_once(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha")
    study.put("images/b.txt", "beta")
    study.copier()
    first = study.schedule()["edges"]
    assert first["counts"]["ran"] == 2
    assert sorted(study.outputs("edges")) == ["a.txt", "b.txt"]
    assert study.read("edges/b.txt") == b"beta"
    heads = study.git("edges", "rev-parse", "HEAD"), study.git(".", "rev-parse", "HEAD")
    second = study.minipach("schedule")
    assert (second.code, second.out) == (0, "nothing to do\n")
    assert heads == (study.git("edges", "rev-parse", "HEAD"), study.git(".", "rev-parse", "HEAD"))


@pytest.mark.slow
def test_a_subdataset_that_is_not_installed_is_named_where_it_matters(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.ok("datalad", "create", "-d", "images", "images/sub")
    study.put("images/sub/in.txt", "inner\n", save=False)
    study.put("images/top.txt", "outer\n", save=False)
    study.ok("datalad", "save", "-r", "-d", str(study.root), "-m", "nested")
    shutil.rmtree(study.root / "images/sub")
    (study.root / "images/sub").mkdir()
    study.pipeline("reaches", spec("images", "/**", "run"), run="true\n")
    study.pipeline("passes", spec("images", "/top*", "run"), run='cp "$images" "$PFS/out/"\n')
    refused = study.minipach("schedule", "reaches")
    assert refused.code == 2
    assert refused.reports("input.subdataset-not-installed", "images", "/**", "datalad get -n ")
    assert counts(study.schedule("passes")["passes"]) == {"ran": 1}
