"""Identity in real projects: a result never carries another datum's name, whatever the command does with names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import reruns
from tests.fixtures.projects import Study
from tests.fixtures.reruns import clone, datum_records, rerun, reused, said
from tests.fixtures.stories import counts

without_minipach = reruns.without_minipach

SUBJECTS = ("sub-01", "sub-02", "sub-03")
# the label without its prefix, plain, in a compressed file and in base64: no search for the name would find it
LABEL = """\
label=${MINIPACH_DATUM#sub-}
mkdir "$PFS/out/$MINIPACH_DATUM"
cd "$PFS/out/$MINIPACH_DATUM"
{ echo "subject $label"; cat "$events"/*.tsv; } >label.txt
gzip -nc label.txt >label.txt.gz
base64 label.txt >label.b64
rm -f none
"""


def with_equal_events(tmp_path: Path, identity: str) -> Study:
    """Three subjects with the same file, and a pipeline that writes their labels."""
    study = Study.create(tmp_path / "study", "events")
    for subject in SUBJECTS:
        study.put(f"events/{subject}/{subject}_events.tsv", "onset\n1\n", save=False)
    study.save("events")
    spec = 'input: {pfs: {repo: events, glob: "/*"}}\ntransform: {cmd: [sh, code/label.sh]}\n'
    study.pipeline("labels", spec + identity, label=LABEL)
    return study


@pytest.mark.slow
def test_each_subject_is_published_with_its_own_label(tmp_path: Path) -> None:
    study = with_equal_events(tmp_path, "")
    plan = study.minipach("plan").out
    hint = '2 datums have the same content as others; with "identity: content" they would be computed once'
    assert plan.count(hint) == 1
    assert counts(study.schedule()["labels"]) == {"ran": 3}
    for subject in SUBJECTS:
        text = f"subject {subject[4:]}\nonset\n1\n".encode()
        assert study.read(f"labels/{subject}/label.txt") == text
    assert len({study.read(f"labels/{s}/label.txt.gz") for s in SUBJECTS}) == 3
    assert len({study.read(f"labels/{s}/label.b64") for s in SUBJECTS}) == 3
    assert study.minipach("audit", "--all").code == 0


@pytest.mark.slow
def test_with_content_one_runs_and_none_knows_a_name(tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = with_equal_events(tmp_path, "minipach: {identity: content}\n")
    assert said(study, "labels") == {
        "sub-01": ("run", "new content"),
        "sub-02": ("reuse", "same content as sub-01"),
        "sub-03": ("reuse", "same content as sub-01"),
    }
    assert counts(study.schedule()["labels"]) == {"ran": 1, "reused": 2}
    for subject in SUBJECTS:
        assert study.read(f"labels/{subject}/label.txt") == b"subject datum\nonset\n1\n"
    assert reused(study, "labels") == {"sub-02": "sub-01", "sub-03": "sub-01"}
    audit = study.minipach("audit", "--all")
    assert audit.code == 0, f"{audit.out}\n{audit.err}"
    alone = clone(study, "labels", tmp_path / "alone", without_minipach)
    for subject in SUBJECTS:
        rerun(alone, ".", datum_records(study, "labels")[subject][0], without_minipach)
    # a renamed subject costs nothing, and a new name gets its own outputs
    study.git("events", "mv", "sub-03/sub-03_events.tsv", "sub-03/sub-04_events.tsv")
    study.git("events", "mv", "sub-03", "sub-04")
    study.save("events")
    assert counts(study.schedule()["labels"]) == {"reused": 1, "current": 2, "removed": 1}
    assert sorted(study.outputs("labels"))[-1] == "sub-04/label.txt.gz"


@pytest.mark.slow
def test_the_project_chooses_its_default_once(tmp_path: Path) -> None:
    study = with_equal_events(tmp_path, "")
    study.git(".", "config", "--file", ".datalad/config", "minipach.identity", "content")
    assert study.plan()["labels"]["counts"]["run"] == 3, "not committed yet"
    study.git(".", "commit", "-qam", "choose")
    assert study.plan()["labels"]["counts"]["run"] == 1
    study.git(".", "config", "minipach.identity", "path")
    assert study.plan()["labels"]["counts"]["run"] == 3, "this clone's setting goes before"
    study.git(".", "config", "minipach.identity", "paths")
    done = study.minipach("plan")
    assert done.code == 2
    assert done.reports("setting.bad-value", "minipach.identity", '"paths"', "git config minipach.identity path")


@pytest.mark.slow
def test_where_names_stay_visible_the_plan_says_so_once(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "events")
    for number in "12":
        study.put(f"events/{number}/page-{number}.txt", "same", save=False)
    study.save("events")
    study.copier(repo="events", more="minipach: {identity: content}\n")
    plan = study.minipach("plan").out
    assert plan.count("2 datums with visible names, which count: 1: ") == 1
    assert {d["visible"] for d in study.plan()["edges"]["datums"]} == {
        f'"{n}" is in {n}/page-{n}.txt, and elsewhere, in more than one position' for n in "12"
    }
    assert study.plan()["edges"]["counts"]["run"] == 2
    rows = study.minipach("datums", "edges", "--json").json["datums"]
    assert rows[0]["visible"].startswith('"1" is in 1/page-1.txt')


@pytest.mark.slow
def test_a_link_to_an_empty_file_publishes_its_content(tmp_path: Path) -> None:
    """Pachyderm's shuffle example: names alone are seen, contents are moved."""
    study = Study.create(tmp_path / "study", "fruits")
    sizes = {"apple.jpg": 23, "banana.jpg": 5098, "cherry.jpg": 22, "kiwi.jpg": 7198}
    for name, size in sizes.items():
        study.put(f"fruits/{name}", "x" * size, save=False)
    study.save("fruits")
    spec = 'input: {pfs: {repo: fruits, glob: "/*", empty_files: true}}\ntransform: {cmd: [sh, code/shuffle.sh]}\n'
    script = '[ ! -s "$fruits" ]\nmkdir "$PFS/out/x" && ln -s "$fruits" "$PFS/out/x/"\n'
    study.pipeline("shuffle", spec, shuffle=script)
    study.schedule()
    assert {name: len(study.read(f"shuffle/x/{name}")) for name in sizes} == sizes
    study.put("fruits/kiwi.jpg", "other")
    assert counts(study.schedule()["shuffle"]) == {"ran": 1, "current": 3}
    assert study.read("shuffle/x/kiwi.jpg") == b"other"
