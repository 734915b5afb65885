"""One record for each result: what becomes of one datum breaks the rerun of no other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minipach.model.repo_layout import PUBLISHED_REF
from tests.fixtures import reruns
from tests.fixtures.projects import Study, run
from tests.fixtures.reruns import clone, datum_records, rerun

without_minipach = reruns.without_minipach

NAMES = ("a", "b", "c", "d", "e", "f")
SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/two.sh]}\ndatum_set_spec: {number: 3}\n'
# two outputs for each, one of them in a folder that all share
TWO = 'cp "$images" "$PFS/out/"\nmkdir "$PFS/out/all"\nwc -c <"$images" >"$PFS/out/all/$MINIPACH_DATUM"\n'
FLAT = "import minipach.publish.publisher as p\np._TREE_BYTES = 0\nfrom minipach.cli import program\nprogram()\n"


def schedule(study: Study) -> None:
    study.schedule()


def schedule_as_if_large(study: Study) -> None:
    """As where a branch has so many entries that a commit for each datum would cost too much."""
    done = run(sys.executable, "-c", FLAT, "schedule", cwd=study.root)
    assert done.code == 0, done.err


@pytest.mark.slow
@pytest.mark.parametrize("publish", [schedule, schedule_as_if_large])
def test_a_renamed_changed_or_deleted_member_breaks_no_others_rerun(
    publish: Callable[[Study], None], tmp_path: Path, without_minipach: dict[str, str]
) -> None:
    study = Study.create(tmp_path / "study")
    for name in NAMES:
        study.put(f"images/{name}.txt", f"content of {name}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC, two=TWO)
    publish(study)
    found = datum_records(study, "edges")
    assert len({commit for commit, _ in found.values()}) == len(NAMES), "a commit for each"
    for name, (_, record) in found.items():
        assert sorted(record["outputs"]) == sorted([f"all/{name}", name])
        assert [datum["name"] for datum in record["minipach"]["datums"]] == [name]
    assert len({record["minipach"]["set"] for _, record in found.values()}) == 2

    study.git("images", "mv", "a.txt", "renamed.txt")
    study.git("images", "rm", "-q", "d.txt")
    study.put("images/e.txt", "changed\n", save=False)
    study.save("images")
    publish(study)
    now = datum_records(study, "edges")
    assert sorted(study.outputs("edges")) == sorted(
        f"{folder}{name}.txt" for name in ("b", "c", "e", "f", "renamed") for folder in ("", "all/")
    )
    alone = clone(study, "edges", tmp_path / "alone", without_minipach)
    for name in ("b.txt", "c.txt", "f.txt", "e.txt", "renamed.txt"):
        rerun(alone, ".", now[name][0], without_minipach)
    assert study.minipach("audit", "--all").code == 0
    study.git("edges", "update-ref", "-d", PUBLISHED_REF)
    study.git("edges", "branch", "-D", "minipach")  # then the datum_records tell which outputs are whose
    study.git("images", "rm", "-q", "b.txt")
    study.save("images")
    study.schedule()
    assert "b.txt" not in study.outputs("edges") and "all/b.txt" not in study.outputs("edges")
    assert "c.txt" in study.outputs("edges")
