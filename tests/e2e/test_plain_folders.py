"""Plain folders of the superdataset as inputs: results, records that rerun, and no pass that causes another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import reruns
from tests.fixtures.projects import Study
from tests.fixtures.reruns import clone, datum_records, rerun

pytestmark = pytest.mark.slow
without_minipach = reruns.without_minipach

LIST = """\
input: {pfs: {repo: ., glob: "/"}}
transform: {cmd: [sh], stdin: ["cd $PFS/project && find . -type f > ../out/l"]}
"""
LINK = 'input: {pfs: {repo: "Meine Dätä/tief", glob: "/*"}}\ntransform: {cmd: [ln, -s, "{tief}", "{out}"]}\n'


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("folders") / "study")
    study.put("data/a.txt", "alpha\n", save=False)
    study.put("data/deep/b.txt", "beta\n", save=False)
    study.put("data/.gitattributes", "*.git annex.largefiles=nothing\n", save=False)
    study.put("data/small.git", "small\n", save=False)
    study.put("Meine Dätä/tief/ü 1.txt", "gamma\n", save=False)
    study.pipeline("lister", LIST)
    study.pipeline("linker", LINK)
    study.copier(repo="data")
    (study.root / "edges/code/copy.sh").write_text('cp -RL "$data" "$PFS/out/"\n')
    study.save(".")
    study.schedule()
    return study


def test_a_pass_ends(done: Study) -> None:
    head = done.git(".", "rev-parse", "HEAD")
    assert done.minipach("schedule").out == "nothing to do\n"
    assert done.git(".", "rev-parse", "HEAD") == head
    assert {row["state"] for row in done.minipach("status", "--json").json["pipelines"]} == {"current"}
    assert done.git(".", "status", "--porcelain") == ""


def test_the_commands_saw_the_files(done: Study) -> None:
    assert done.read("edges/deep/b.txt") == b"beta\n" and done.read("edges/small.git") == b"small\n"
    assert sorted(done.outputs("edges")) == ["a.txt", "deep/b.txt", "small.git"]
    assert done.read("linker/ü 1.txt") == b"gamma\n"
    seen = sorted(done.read("lister/l").decode().split("\n")[:-1])
    files = [
        "./Meine Dätä/tief/ü 1.txt",
        "./data/.gitattributes",
        "./data/a.txt",
        "./data/deep/b.txt",
        "./data/small.git",
    ]
    assert seen == files, "neither pipelines nor datasets nor housekeeping"


def test_where_a_file_comes_from(done: Study) -> None:
    said = done.minipach("explain", "--json", "linker/ü 1.txt").json
    assert [f["path"] for f in said["files"] if f["repo"] == "."] == ["Meine Dätä/tief/ü 1.txt"]


def test_every_record_reruns_in_a_clone(done: Study, tmp_path: Path, without_minipach: dict[str, str]) -> None:
    for pipeline, name in (("edges", "deep"), ("linker", "ü 1.txt"), ("lister", "/")):
        alone = clone(done, pipeline, tmp_path / pipeline, without_minipach)
        rerun(alone, ".", datum_records(done, pipeline)[name][0], without_minipach)
    assert not (tmp_path / "edges/inputs/data/data/a.txt").exists(), "more was fetched than the datum matched"


def test_only_changes_in_the_folder_run_datums(done: Study, tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = done.duplicate(tmp_path / "study")
    old = datum_records(study, "edges")["deep"][0]
    study.put("other.txt", "other\n", save=False)
    study.save(".")
    assert {name: row["counts"]["ran"] for name, row in study.schedule().items() if row["counts"]["ran"]} == {
        "lister": 1
    }
    study.put("data/deep/b.txt", "changed\n", save=False)
    (line,) = [row for row in study.minipach("plan").err.splitlines() if row.startswith("data: ")]
    assert "data/deep/b.txt" in line and f"datalad save -d {study.root}" in line
    study.save(".")
    planned = {d["name"]: d["action"] for d in study.plan("edges")["edges"]["datums"]}
    assert planned == {"a.txt": "current", "deep": "run", "small.git": "current"}
    assert study.schedule()["edges"]["counts"]["ran"] == 1
    (moved,) = study.minipach("diff", "edges", f"{old}~2", "HEAD", "--json").json["inputs"]
    assert (moved["repo"], moved["paths"]["changed"]) == ("data", ["deep/b.txt"])
    alone = clone(study, "edges", tmp_path / "alone", without_minipach)
    alone.ok("datalad", "rerun", "--onto", f"{old}^", old, env=without_minipach)
    assert alone.read("deep/b.txt") == b"beta\n"
    assert study.minipach("schedule").out == "nothing to do\n"
    study.ok("git", "annex", "drop", "--quiet", "--force", "data")
    assert study.minipach("get", "data").refusals == [("contents.not-get", "data")]
    assert study.minipach("get", "dat").refusals == [("project.no-such-pipeline", "dat")]
