"""Publishing: results become the next state of a pipeline's branch, or the state before stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.git.annex_keys import relocate
from minipach.model.run_record import parse
from minipach.publish.publisher import _is_large, _Output
from tests.fixtures.projects import Done, Study

KEY = b"SHA256E-s5--aa.txt"
OBJECT = b".git/annex/objects/1a/2b/" + KEY + b"/" + KEY


# Links


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("before", range(4))
def test_an_annexed_link_leads_to_its_object_from_any_depth(before: int, depth: int) -> None:
    assert relocate(b"../" * before + OBJECT, depth) == b"../" * depth + OBJECT


@pytest.mark.parametrize("target", [b"a.txt", b"../a.txt", b"/etc/passwd", b"../../my/annex/objects/notes"])
def test_other_links_stay(target: bytes) -> None:
    assert relocate(target, 3) == target


@given(st.lists(st.sampled_from(["a", "b"]), max_size=4), st.lists(st.sampled_from(["a", "b"]), max_size=4))
def test_a_relocated_link_names_the_same_place(old: list[str], new: list[str]) -> None:
    def place(folders: list[str], target: bytes) -> str:
        return os.path.normpath("/".join(["/repo", *folders, os.fsdecode(target)]))

    target = b"../" * len(old) + OBJECT
    assert place(new, relocate(target, len(new))) == place(old, target)


# How many bytes of trees a commit for each datum would write


class _Branch:
    """As much of an assessment as is asked for."""

    outputs: frozenset[str] = frozenset()


def parts(*paths: str) -> list[Any]:
    return [(None, [_Output(path, "100644", "0" * 40)]) for path in paths]


@pytest.mark.parametrize("form", ["{}.txt", "sub-{}/out.txt", "all/{}.txt"])
def test_a_wide_folder_is_large_wherever_it_is(form: str) -> None:
    branch: Any = _Branch()
    assert not _is_large(branch, parts(*(form.format(n) for n in range(1000))))
    assert _is_large(branch, parts(*(form.format(n) for n in range(3000))))
    branch.outputs = frozenset(form.format(f"old-{n}") for n in range(20000))
    assert not _is_large(branch, parts(form.format("new")))


def test_many_narrow_folders_are_not_large() -> None:
    branch: Any = _Branch()
    assert not _is_large(branch, parts(*(f"{n % 100}/{n}.txt" for n in range(3000))))


# Copies of one result


def writer(study: Study, script: str, more: str = "") -> None:
    """The pipeline `edges`, whose script sees $images (the file) and $name (its name less the suffix)."""
    head = 'name=${images##*/}; name=${name%%.*}; out="$PFS/out"\n'
    spec = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/w.sh]}\n'
    study.pipeline("edges", spec + more, w=head + script)


def images(study: Study, **content: str) -> None:
    for name, text in content.items():
        study.put(f"images/{name}.txt", text, save=False)
    study.save("images")


def counts(study: Study) -> dict[str, int]:
    return {what: n for what, n in study.schedule()["edges"]["counts"].items() if n}


DEEP = """input: {pfs: {repo: images, glob: "/(park|xenon/yard|yolk)-{q/zeta,f,r/y}.txt"}}
transform:
  cmd: [sh, -c, 'out="$PFS/out/${MINIPACH_DATUM%%/*}"; cp "$images" "$out"; tr a-z A-Z <"$images" >"$out.up"']
minipach: {out: "{1}/", identity: content}
"""


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three pictures whose outputs go to folders of different depths, two of them equal. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("copies") / "study")
    for path, text in {"park-q/zeta.txt": "same", "xenon/yard-f.txt": "same", "yolk-r/y.txt": "other"}.items():
        study.put(f"images/{path}", text, save=False)
    study.save("images")
    study.pipeline("edges", DEEP)
    assert counts(study) == {"ran": 2, "reused": 1}
    return study


ONE, COPY = "park/park-q", "xenon/yard/xenon"


def test_a_copy_has_its_own_name_and_place(copies: Study) -> None:
    outputs = {path for out in (ONE, COPY, "yolk/yolk-r") for path in (out, f"{out}.up")}
    assert set(copies.outputs("edges")) == outputs


def test_a_copys_links_lead_to_its_content(copies: Study) -> None:
    assert copies.read(f"edges/{ONE}") == copies.read(f"edges/{COPY}") == b"same"
    assert copies.read(f"edges/{ONE}.up") == copies.read(f"edges/{COPY}.up") == b"SAME"
    links = [os.readlink(copies.root / "edges" / path) for path in (ONE, COPY)]
    assert "../" + links[0] == links[1]
    assert copies.git("edges", "annex", "fsck", "--quiet") == ""


def test_a_copys_record_says_so_and_names_its_own_input(copies: Study) -> None:
    found = {}
    for message in copies.git("edges", "log", "--format=%B%x00").split("\0"):
        if "[DATALAD RUNCMD]" in message:
            record = parse(message.lstrip("\n"))[1]
            found[record["minipach"]["datums"][0]["name"]] = record
    assert found.keys() == {"park-q/zeta.txt", "xenon/yard-f.txt", "yolk-r/y.txt"}
    assert "reused_from" not in found["park-q/zeta.txt"]["minipach"]
    assert found["xenon/yard-f.txt"]["minipach"]["reused_from"]["name"] == "park-q/zeta.txt"
    assert found["xenon/yard-f.txt"]["inputs"] == ["inputs/images/xenon/yard-f.txt"]
    assert sorted(found["xenon/yard-f.txt"]["outputs"]) == [COPY, f"{COPY}.up"]


@pytest.mark.slow
def test_names_come_and_go_and_what_was_computed_stays(study: Study) -> None:
    images(study, p1="red", p2="red", p3="red", p4="blue")
    writer(study, 'cp "$images" "$out/$name.txt"\n', "minipach: {identity: content}\n")
    assert counts(study) == {"ran": 2, "reused": 2}

    # a new name
    (study.root / "images" / "p3.txt").rename(study.root / "images" / "p5.txt")
    study.save("images")
    assert counts(study) == {"reused": 1, "removed": 1, "current": 3}
    assert set(study.outputs("edges")) == {"p1.txt", "p2.txt", "p4.txt", "p5.txt"}

    # two that change names
    images(study, p1="blue", p4="red")
    assert counts(study) == {"reused": 2, "current": 2}
    assert [study.read(f"edges/p{i}.txt") for i in (1, 2, 4, 5)] == [b"blue", b"red", b"red", b"red"]

    # a clone has the history, and need not have the results: then the records tell which outputs are whose
    study.git("edges", "branch", "-D", "minipach")
    study.remove("images/p2.txt")
    assert counts(study) == {"current": 3, "removed": 1}
    assert set(study.outputs("edges")) == {"p1.txt", "p4.txt", "p5.txt"}


@pytest.mark.slow  # the rule itself is tested in test_reuse.py
def test_a_copy_whose_names_would_become_one_runs_for_itself(study: Study) -> None:
    images(study, p1="red", p2="red")
    writer(study, 'mkdir "$out/$name"; cp "$images" "$out/$name/p1"; cp "$images" "$out/$name/p2"\n')
    assert counts(study) == {"ran": 2}
    assert set(study.outputs("edges")) == {"p1/p1", "p1/p2", "p2/p1", "p2/p2"}


# Collisions


def stopped(study: Study) -> Done:
    """What `schedule` ends with when it can't publish; the branch must not have moved."""
    head = study.git("edges", "rev-parse", "HEAD") if (study.root / "edges" / ".git").exists() else ""
    done = study.minipach("schedule", "-j", "2")
    assert done.code == 2, done.err
    if head:
        assert study.git("edges", "rev-parse", "HEAD") == head
    return done


@pytest.mark.slow
def test_two_datums_that_write_one_path_are_both_named(study: Study) -> None:
    images(study, a="alpha", b="beta")
    writer(study, 'cp "$images" "$out/sum.txt"\n')
    assert stopped(study).reports("output.collision", "edges", "'a.txt'", "'b.txt'", "sum.txt", "minipach: {out:")
    assert study.outputs("edges") == {}
    assert study.git("edges", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_file_for_one_and_a_folder_for_the_other_is_a_collision(study: Study) -> None:
    images(study, a="alpha")
    writer(study, 'case $name in a) cp "$images" "$out/x";; *) mkdir "$out/x"; cp "$images" "$out/x/y";; esac\n')
    assert counts(study) == {"ran": 1}
    images(study, b="beta")
    assert stopped(study).reports("output.collision", "edges", "'a.txt'", "'b.txt'", " x")
    assert study.minipach("plan").reports("output.collision", "edges", "'a.txt'", "'b.txt'")
    assert study.read("edges/x") == b"alpha"
    # what a vanished datum wrote is in nobody's way, and what was computed is kept
    study.remove("images/a.txt")
    assert study.minipach("plan").code == 0
    assert counts(study) == {"reused": 1, "removed": 1}
    assert set(study.outputs("edges")) == {"x/y"}
    assert study.read("edges/x/y") == b"beta"


@pytest.mark.slow
def test_files_that_no_datum_made_are_not_overwritten(study: Study, tmp_path: Path) -> None:
    images(study, a="alpha")
    writer(study, 'cp "$images" "$out/$name.txt"\n')
    study.schedule()
    images(study, b="beta")
    notes = study.root / "edges" / "b.txt"
    notes.write_text("my notes")
    assert stopped(study).reports("publish.changes-in-the-way", "edges", "(b.txt)")
    assert notes.read_text() == "my notes"
    study.save("edges")
    assert stopped(study).reports("output.overwrites-file", "edges", "b.txt")
    assert study.minipach("check").reports("output.overwrites-file", "edges", "b.txt")
    assert notes.read_text() == "my notes"
    study.remove("edges/b.txt")
    assert counts(study) == {"reused": 1, "current": 1}
    assert study.read("edges/b.txt") == b"beta"
