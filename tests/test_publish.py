"""Publishing: results become the next state of a pipeline's branch, or the state before stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.publish import relocate
from tests.projects import Study

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


# Copies of one result


def writer(study: Study, script: str, more: str = "") -> None:
    """The pipeline `edges`, whose script sees $images (the file) and $name (its name less the suffix)."""
    head = 'name=${images##*/}; name=${name%%.*}; out="$PFS/out"\n'
    spec = f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform: {{cmd: [sh, code/w.sh]}}\n{more}'
    study.pipeline("edges", spec, w=head + script)


def images(study: Study, **content: str) -> None:
    for name, text in content.items():
        study.put(f"images/{name}.txt", text, save=False)
    study.save("images")


def counts(study: Study) -> dict[str, int]:
    return {what: n for what, n in study.schedule()["edges"]["counts"].items() if n}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three pictures, two of them equal, each with a link at another depth. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("copies") / "study")
    images(study, one="same", two="same", three="other")
    # `two` lies in a folder more than `one`
    study.put("images/deep/two.txt", "same", save=False)
    (study.root / "images" / "two.txt").unlink()
    study.save("images")
    writer(
        study,
        'cp "$images" "$out/$name.txt"; mkdir "$out/$name.d"; tr a-z A-Z <"$images" >"$out/$name.d/x"\n',
        'minipach: {out: "{images.dir}"}\n',
    )
    spec = (study.root / "edges" / "spec.yml").read_text().replace('"/*"', '"/**.txt"')
    (study.root / "edges" / "spec.yml").write_text(spec)
    assert counts(study) == {"ran": 2, "reused": 1}
    return study


def test_a_copy_has_its_own_name_and_place(copies: Study) -> None:
    wanted = {"one.txt", "one.d/x", "three.txt", "three.d/x", "deep/two.txt", "deep/two.d/x"}
    assert set(copies.outputs("edges")) == wanted


def test_a_copys_links_lead_to_its_content(copies: Study) -> None:
    assert copies.read("edges/one.txt") == copies.read("edges/deep/two.txt") == b"same"
    assert copies.read("edges/one.d/x") == copies.read("edges/deep/two.d/x") == b"SAME"
    links = [os.readlink(copies.root / "edges" / p) for p in ("one.txt", "deep/two.txt")]
    assert links[1 - links[0].startswith("..")].removeprefix("../") == min(links, key=len)
    assert copies.ok("git", "annex", "fsck", "--quiet", cwd=copies.root / "edges") == ""


def test_a_copys_record_says_so_and_names_its_own_input(copies: Study) -> None:
    log = copies.git("edges", "log", "--format=%s%x00%B%x01").split("\x01")
    [copy] = [entry for entry in log if '"reused_from"' in entry]
    names = {"edges: one.txt", "edges: deep/two.txt"}
    title = copy.strip().partition("\0")[0].removeprefix("[DATALAD RUNCMD] ")
    assert title in names
    other = (names - {title}).pop().removeprefix("edges: ")
    assert f'"name": "{other}"' in copy.partition('"reused_from"')[2].partition("}")[0]
    assert f"inputs/images/{title.removeprefix('edges: ')}" in copy


def test_without_the_results_branch_a_removed_copy_takes_nothing_else_along(study: Study) -> None:
    """A clone of a pipeline has its history, and need not have its results: records name the outputs then."""
    images(study, a="same", b="same", c="same")
    writer(study, 'cp "$images" "$out/$name.txt"\n')
    assert counts(study) == {"ran": 1, "reused": 2}
    study.git("edges", "branch", "-D", "minipach")
    study.remove("images/b.txt")
    assert counts(study) == {"current": 2, "removed": 1}
    assert set(study.outputs("edges")) == {"a.txt", "c.txt"}
    study.remove("images/a.txt")
    assert counts(study) == {"current": 1, "removed": 1}
    assert set(study.outputs("edges")) == {"c.txt"}


def test_a_copy_whose_names_would_become_one_runs_for_itself(study: Study) -> None:
    images(study, a="same", b="same")
    writer(study, 'mkdir "$out/$name"; cp "$images" "$out/$name/a"; cp "$images" "$out/$name/b"\n')
    assert counts(study) == {"ran": 2}
    assert set(study.outputs("edges")) == {"a/a", "a/b", "b/a", "b/b"}


def test_a_renamed_picture_moves_its_output_and_runs_nothing(study: Study) -> None:
    images(study, a="alpha", b="beta")
    writer(study, 'cp "$images" "$out/$name.txt"\n')
    assert counts(study) == {"ran": 2}
    (study.root / "images" / "a.txt").rename(study.root / "images" / "z.txt")
    study.save("images")
    assert counts(study) == {"reused": 1, "removed": 1, "current": 1}
    assert set(study.outputs("edges")) == {"b.txt", "z.txt"}
    assert study.read("edges/z.txt") == b"alpha"


def test_two_pictures_that_change_names_change_outputs(study: Study) -> None:
    images(study, a="alpha", b="beta")
    writer(study, 'cp "$images" "$out/$name.txt"\n')
    study.schedule()
    images(study, a="beta", b="alpha")
    assert "ran" not in counts(study)
    assert (study.read("edges/a.txt"), study.read("edges/b.txt")) == (b"beta", b"alpha")


# Collisions


def refused(study: Study) -> str:
    """What `schedule` says when it can't publish; the branch must not have moved."""
    head = study.git("edges", "rev-parse", "HEAD") if (study.root / "edges" / ".git").exists() else ""
    done = study.minipach("schedule", "-j", "2")
    assert done.code == 2, done.err
    if head:
        assert study.git("edges", "rev-parse", "HEAD") == head
    assert study.git("edges", "status", "--porcelain") == ""
    return done.err


def test_two_datums_that_write_one_path_are_both_named(study: Study) -> None:
    images(study, a="alpha", b="beta")
    writer(study, 'cp "$images" "$out/sum.txt"\n')
    error = refused(study)
    assert "the datums 'a.txt' and 'b.txt' both write sum.txt" in error
    assert "minipach: {out:" in error
    assert study.outputs("edges") == {}
    # what was computed is kept, and a place for each lets it be published
    study.put("edges/code/w.sh", 'cp "$images" "$PFS/out/$MINIPACH_DATUM"\n')
    assert counts(study) == {"ran": 2}
    assert set(study.outputs("edges")) == {"a.txt", "b.txt"}


def test_a_file_for_one_and_a_folder_for_the_other_is_a_collision(study: Study) -> None:
    images(study, a="alpha")
    writer(study, 'case $name in a) cp "$images" "$out/x";; *) mkdir "$out/x"; cp "$images" "$out/x/y";; esac\n')
    assert counts(study) == {"ran": 1}
    images(study, b="beta")
    assert "the datums 'a.txt' and 'b.txt' both write x" in refused(study)
    assert study.read("edges/x") == b"alpha"


def test_a_file_that_no_datum_made_is_not_overwritten(study: Study) -> None:
    images(study, a="alpha")
    writer(study, 'cp "$images" "$out/$name.txt"\n')
    study.schedule()
    study.put("edges/b.txt", "mine")
    images(study, b="beta")
    assert "the output b.txt of datum 'b.txt' would overwrite a file that no datum made" in refused(study)
    assert study.read("edges/b.txt") == b"mine"


def test_a_path_may_go_from_one_datum_to_another(study: Study) -> None:
    """What a vanished datum wrote is no collision, be it a file where now a folder must be."""
    images(study, a="alpha")
    writer(study, 'case $name in a) cp "$images" "$out/x";; *) mkdir "$out/x"; cp "$images" "$out/x/y";; esac\n')
    study.schedule()
    (study.root / "images" / "a.txt").unlink()
    images(study, b="beta")
    assert counts(study) == {"ran": 1, "removed": 1}
    assert set(study.outputs("edges")) == {"x/y"}
    assert study.read("edges/x/y") == b"beta"


def test_a_folder_of_work_of_ones_own_stays(study: Study, tmp_path: Path) -> None:
    """An untracked file where an output must go: nothing is lost, and the results wait."""
    images(study, a="alpha")
    writer(study, 'cp "$images" "$out/$name.txt"\n')
    study.schedule()
    (study.root / "edges" / "b.txt").write_text("my notes")
    images(study, b="beta")
    done = study.minipach("schedule")
    assert done.code == 2
    assert "uncommitted changes are in the way (b.txt)" in done.err
    assert (study.root / "edges" / "b.txt").read_text() == "my notes"
    (study.root / "edges" / "b.txt").rename(tmp_path / "b.txt")
    assert counts(study) == {"reused": 1, "current": 1}
    assert study.read("edges/b.txt") == b"beta"
