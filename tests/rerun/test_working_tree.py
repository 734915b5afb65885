"""What is tried is what lies there; what is published is what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.container_images import busybox_directory, need
from tests.fixtures.projects import Study

pytestmark = pytest.mark.slow

UPPER = 'tr a-z A-Z <"$images" >"$PFS/out/${images##*/}"\n'
TWICE = 'cat "$images" "$images" >"$PFS/out/${images##*/}"\n'
SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\n'
USED = "edges: uncommitted changes are used (code/run.sh); --committed uses the last commit\n"


def outputs(study: Study, *arguments: str) -> list[tuple[str, str]]:
    """The outputs of a trial of a.txt."""
    done = study.minipach("run-one", "edges:a.txt", "--json", *arguments)
    assert done.code == 0, done.err
    return [(row["path"], row["text"]) for row in done.json["outputs"]]


def refs_and_index(study: Study, repo: str) -> tuple[str, str, str]:
    return (
        study.git(repo, "for-each-ref", "refs/heads", "refs/minipach"),
        study.git(repo, "ls-files", "--stage"),
        study.git(repo, "status", "--porcelain"),
    )


@pytest.fixture
def pictures(study: Study) -> Study:
    study.put("images/a.txt", "words\n")
    study.pipeline("edges", SPEC, run=UPPER)
    return study


@pytest.mark.slow
def test_a_pipeline_is_tried_before_it_is_a_dataset(pictures: Study) -> None:
    before = refs_and_index(pictures, ".")
    assert outputs(pictures) == [("a.txt", "WORDS\n")]
    assert pictures.minipach("datums", "edges").out == "a.txt\n"
    assert pictures.minipach("check").code == 0
    done = pictures.minipach("run-one", "edges:a.txt")
    assert done.err.startswith("edges: ") and done.err.count("\n") == 1
    done = pictures.minipach("run-one", "--committed", "edges:a.txt")
    assert (done.code, done.out) == (2, "")
    assert done.refusals == [("pipeline.not-a-dataset", "edges")]
    assert not (pictures.root / "edges/.git").exists()
    assert refs_and_index(pictures, ".") == before


@pytest.mark.slow
def test_edits_are_tried_and_only_commits_are_published(pictures: Study) -> None:
    pictures.schedule()
    (pictures.root / "edges/code/run.sh").write_text(TWICE)
    before = refs_and_index(pictures, "edges")
    assert outputs(pictures) == [("a.txt", "words\nwords\n")]
    assert outputs(pictures, "--committed") == [("a.txt", "WORDS\n")]
    assert pictures.minipach("run-one", "edges:a.txt").err == USED
    assert pictures.minipach("datums", "edges").err == USED
    assert pictures.minipach("datums", "--committed", "edges").err == ""
    tried, committed = (
        pictures.minipach("datums", "edges", "--json", *o).json["datums"] for o in ([], ["--committed"])
    )
    assert tried[0]["id"] != committed[0]["id"]
    assert refs_and_index(pictures, "edges") == before
    assert pictures.schedule()["edges"]["state"] == "current"
    pictures.save("edges")
    assert pictures.minipach("datums", "edges", "--json").json["datums"] == tried
    assert pictures.schedule()["edges"]["counts"]["ran"] == 1
    assert (pictures.root / "edges/a.txt").read_text() == "words\nwords\n"


@pytest.mark.slow
def test_new_and_deleted_files_count_in_a_trial(pictures: Study) -> None:
    pictures.put("edges/code/old.sh", "echo old\n", save=False)
    pictures.schedule()
    (pictures.root / "edges/code/old.sh").unlink()
    (pictures.root / "edges/code/more").mkdir()
    (pictures.root / "edges/code/more/new.sh").write_text("echo new\n")
    script = 'for f in code/old.sh code/more/new.sh; do [ ! -e "$f" ] || sh "$f"; done >"$PFS/out/a.txt"\n'
    (pictures.root / "edges/code/run.sh").write_text(script)
    assert outputs(pictures) == [("a.txt", "new\n")]


@pytest.mark.slow
def test_an_uncommitted_spec_is_tried_and_the_committed_one_runs(pictures: Study) -> None:
    pictures.put("images/b.txt", "more\n")
    pictures.schedule()
    spec = pictures.root / "edges/spec.yml"
    spec.write_text(SPEC.replace("/*", "/a*"))
    assert pictures.minipach("datums", "edges").out == "a.txt\n"
    assert pictures.minipach("datums", "--committed", "edges").out == "a.txt\nb.txt\n"
    assert pictures.schedule()["edges"]["state"] == "current"
    spec.write_text(SPEC + "nonsense: 1\n")
    done = pictures.minipach("check")
    assert done.code == 2 and "edges/spec.yml:3:1" in done.err, done.err
    assert "uncommitted specs are used (edges/spec.yml); --committed checks the last commits" in done.err
    assert pictures.minipach("check", "--committed").code == 0
    assert pictures.minipach("plan").code == 0
    downstream = "input: {pfs: {repo: edges, glob: '/*'}}\ntransform: {cmd: [sh, code/run.sh]}\n"
    pictures.pipeline("after", downstream, run=UPPER)
    pictures.pipeline("other", SPEC, run=UPPER)
    spec.write_text(SPEC.replace("/*", "/a*"))
    assert "(edges/spec.yml)" in pictures.minipach("check", "after").err, "of what it needs"
    assert "uncommitted" not in pictures.minipach("check", "other").err, "and of nothing else"
    assert "uncommitted" not in pictures.minipach("check", "other/spec.yml").err


@pytest.mark.slow
def test_a_spec_that_no_commit_has_is_tried_but_never_run(pictures: Study) -> None:
    pictures.ok("datalad", "create", "-d", ".", "late")
    pictures.pipeline("late", SPEC, run=UPPER)
    line = f"late/spec.yml: no commit has it, so it does not run. Fix: datalad save -d {pictures.root}/late\n"
    head = pictures.git("late", "rev-parse", "HEAD")
    for command in ("schedule", "plan", "status"):
        done = pictures.minipach(command)
        assert done.code == 2 and line in done.err, (command, done.err)
        assert "Traceback" not in done.err
    assert pictures.git("late", "rev-parse", "HEAD") == head
    assert pictures.minipach("check").code == 0
    assert pictures.minipach("run-one", "late:a.txt").code == 0
    assert pictures.schedule("edges")["edges"]["state"] == "published", "the others go on, if they are named"
    pictures.save("late")
    assert pictures.schedule()["late"]["state"] == "published"


def test_inputs_are_those_that_are_committed(pictures: Study) -> None:
    pictures.put("images/a.txt", "changed\n", save=False)
    pictures.put("images/b.txt", "new\n", save=False)
    done = pictures.minipach("run-one", "edges:a.txt")
    assert "            | WORDS" in done.out
    assert (
        f"images: uncommitted changes are left out (a.txt, b.txt); datalad save -d {pictures.root}/images" in done.err
    )
    assert pictures.minipach("datums", "edges").out == "a.txt\n"


@pytest.mark.slow
def test_a_spec_that_is_an_unlocked_annexed_file_is_read(pictures: Study) -> None:
    """As annex.addunlocked, or annex.largefiles=anything, has it."""
    pictures.schedule()
    spec = pictures.root / "edges/spec.yml"
    pictures.put("edges/.gitattributes", "* annex.backend=SHA256E\n")
    spec.write_text(SPEC + "description: other\n")
    pictures.ok("git", "-c", "annex.largefiles=anything", "add", "spec.yml", cwd=spec.parent)
    pictures.ok("git", "commit", "-q", "-m", "annexed", cwd=spec.parent)
    assert pictures.git("edges", "show", "HEAD:spec.yml").startswith("/annex/objects/")
    assert pictures.schedule()["edges"]["state"] == "current"
    assert pictures.minipach("check").code == 0


def test_an_image_file_is_used_before_it_is_in_the_dataset(pictures: Study, tmp_path: Path) -> None:
    need("bwrap", "busybox")
    box = busybox_directory(tmp_path / "box", mount_points=True)
    pictures.pipeline("edges", SPEC.replace("cmd:", f"image: {box}, cmd:"), run=UPPER)
    before = refs_and_index(pictures, ".")
    done = pictures.minipach("run-one", "edges:a.txt", "--json", env={"MINIPACH_RUNTIME": "bubblewrap"})
    assert done.code == 0, done.err
    assert [(row["path"], row["text"]) for row in done.json["outputs"]] == [("a.txt", "WORDS\n")]
    assert not list((pictures.root / ".git/minipach/trials").rglob("*SHA256*")), "nothing is taken in"
    assert refs_and_index(pictures, ".") == before
