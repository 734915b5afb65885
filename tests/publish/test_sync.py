"""`minipach.publish.sync`: two clones edit data, specs and code at once, and both have everything afterwards."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from minipach.publish import sync
from tests.fixtures.projects import Study, run

RUN = 'cat "$images" > "$PFS/out/$(basename "$images")"\n'


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Study, Study]:
    """Two clones of a project with one pipeline, remotes without contents, and a store."""
    one = Study.create(tmp_path / "one")
    for name in ("a", "b"):
        one.put(f"images/{name}.txt", f"{name}\n", save=name == "b")
    one.copier("up")
    (one.root / "up/code/copy.sh").write_text(RUN)
    one.schedule()
    place = tmp_path / "remote"
    for repo in (".", "images", "up"):
        git(tmp_path, "init", "-q", "--bare", str(place / repo))
        one.git(repo, "remote", "add", "origin", str((place / repo).resolve()))
        one.git(repo, "config", "remote.origin.annex-ignore", "true")
    assert one.minipach("store", "add", "disk", "--dir", str(tmp_path / "disk")).code == 0
    assert one.minipach("push").code == 0
    run("datalad", "clone", str(place), str(tmp_path / "two"), cwd=tmp_path)
    two = Study(tmp_path / "two")
    run("datalad", "get", "-n", "images", "up", cwd=two.root)
    for repo in ("images", "up"):
        git(two.root / repo, "switch", "-q", git(one.root / repo, "branch", "--show-current"))
        two.git(repo, "config", "remote.origin.annex-ignore", "true")
    assert two.minipach("store", "add", "disk").code == 0
    return one, two


def outcomes(study: Study, *words: str, code: int = 0) -> dict[str, str]:
    done = study.minipach("sync", "--json", *words)
    assert done.code == code, done.err
    return {row["repo"]: row["action"] for row in done.json["repos"]}


@pytest.mark.slow
def test_both_have_everything(pair: tuple[Study, Study]) -> None:
    one, two = pair
    one.put("images/c.txt", "c\n")
    one.put("up/code/notes.md", "one\n")
    one.schedule()
    two.put("images/d.txt", "d\n")
    two.put("up/scripts/more.sh", "two\n")
    two.schedule()
    assert set(outcomes(one).values()) == {"ahead"}
    assert outcomes(two) == {"images": "merged", "up": "merged", ".": "merged"}
    assert set(outcomes(one).values()) == {"moved"}
    for study in pair:
        assert study.git(".", "status", "--porcelain") == ""
        assert sorted(study.outputs("up")) == ["a.txt", "b.txt", "c.txt", "d.txt", "scripts/more.sh"]
        assert study.minipach("plan", "--json").json["pipelines"][0]["counts"]["run"] == 0
    assert one.git("up", "rev-parse", "HEAD") == two.git("up", "rev-parse", "HEAD")
    assert one.git(".", "rev-parse", "HEAD") == two.git(".", "rev-parse", "HEAD")


@pytest.mark.slow
def test_a_conflict_changes_nothing_until_a_side_is_taken(pair: tuple[Study, Study]) -> None:
    one, two = pair
    one.put("up/code/copy.sh", RUN + "# one\n")
    two.put("up/code/copy.sh", RUN + "# two\n")
    outcomes(one)
    before = [two.git(repo, "rev-parse", "HEAD") for repo in (".", "images", "up")]
    done = two.minipach("sync", "--json")
    assert done.code == 2
    codes = {row["repo"]: [p["code"] for p in row["problems"]] for row in done.json["repos"]}
    assert codes == {"images": [], "up": ["sync.conflict"], ".": ["sync.held"]}
    assert [two.git(repo, "rev-parse", "HEAD") for repo in (".", "images", "up")] == before
    assert outcomes(two, "--take", "ours")["up"] == "merged"
    assert (two.root / "up/code/copy.sh").read_text().endswith("# two\n")
    outcomes(one)
    assert (one.root / "up/code/copy.sh").read_text().endswith("# two\n")


@pytest.mark.slow
def test_data_that_both_changed(pair: tuple[Study, Study]) -> None:
    one, two = pair
    one.put("images/a.txt", "one\n")
    two.put("images/a.txt", "two\n")
    outcomes(one)
    before = two.git("images", "rev-parse", "HEAD")
    assert outcomes(two, code=2) == {"images": "refused", "up": "moved", ".": "refused"}
    assert two.git("images", "rev-parse", "HEAD") == before
    assert two.git("images", "status", "--porcelain") == ""
    assert two.read("images/a.txt") == b"two\n"


@pytest.mark.slow
def test_both_add_a_dataset(pair: tuple[Study, Study]) -> None:
    """git finds a conflict in `.gitmodules` there, since both have added a section at its end."""
    for study, name in zip(pair, ("red", "blue"), strict=True):
        study.ok("datalad", "create", "-d", ".", name)
        git(study.root, "init", "-q", "--bare", str(study.root.parent / "remote" / name))
        assert outcomes(study)["."] == ("ahead" if name == "red" else "merged")
    outcomes(pair[0])
    for study in pair:
        names = study.git(".", "config", "-f", ".gitmodules", "--get-regexp", "path").split()[1::2]
        assert sorted(names) == ["blue", "images", "red", "up"]
        assert study.git(".", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        (b'[a "1"]\n\tx = 1\n[b]\n', b'[a "1"]\n\tx = 2\n', b'[a "1"]\n\tx = 2\n[b]\n'),
        (b"[b]\n", b'[a "1"]\n\tx = 1\n[c]', b"[b]\n[c]\n"),
        (b'[a "1"]\n\tx = 3\n', b'[a "1"]\n\tx = 2\n', None),
        (b"", b'[a "1"]\n\tx = 2\n', None),
    ],
)
def test_settings_are_merged_by_section(ours: bytes, theirs: bytes, merged: bytes | None) -> None:
    assert sync._merged_settings(b'[a "1"]\n\tx = 1\n', ours, theirs) == merged


@pytest.mark.slow
def test_settings_of_the_user_leave_no_merge_undone(pair: tuple[Study, Study]) -> None:
    one, two = pair
    branch = two.git("images", "branch", "--show-current")
    two.git("images", "config", "merge.ff", "only")
    two.git("images", "config", f"branch.{branch}.mergeOptions", "--no-commit --squash")
    one.put("images/c.txt", "c\n")
    two.put("images/d.txt", "d\n")
    outcomes(one)
    assert outcomes(two)["images"] == "merged"
    assert len(two.git("images", "show", "-s", "--format=%P").split()) == 2
    assert two.git("images", "status", "--porcelain") == ""
    one.put("images/a.txt", "one\n")
    two.put("images/e.txt", "e\n")
    outcomes(one, "--no-push")
    outcomes(one)
    two.put("images/a.txt", "not saved\n", save=False)
    done = two.minipach("sync", "--json")
    codes = {row["repo"]: [problem["code"] for problem in row["problems"]] for row in done.json["repos"]}
    assert codes["images"] == ["sync.uncommitted"] and (two.root / "images/a.txt").read_text() == "not saved\n"


@pytest.mark.slow
def test_one_push_merges_what_is_computed(pair: tuple[Study, Study]) -> None:
    """Somebody pushed meanwhile: specs, code and outputs are merged and pushed, data that both changed are not."""
    one, two = pair
    one.put("up/spec.yml", (one.root / "up/spec.yml").read_text() + "description: one\n")
    assert one.minipach("push").code == 0
    two.put("images/c.txt", "c\n")
    two.schedule()
    done = two.minipach("push", "--json")
    assert done.code == 0, done.err
    sent = {row["repo"]: row["contents"] for row in done.json["repos"]}
    assert sent == {"images": 1, "up": 1, ".": 0}, "also what went before the merge"
    assert set(outcomes(one, "--no-push").values()) == {"moved"}
    assert sorted(one.outputs("up")) == ["a.txt", "b.txt", "c.txt"]
    assert "description: one" in (one.root / "up/spec.yml").read_text()

    one.put("up/code/notes.md", "one\n")
    assert one.minipach("push").code == 0
    two.put("up/scripts/more.sh", "two\n")
    before = Counter(computed(two))
    done = two.minipach("push")
    assert done.reports("push.must-run") and done.code == 2, "what the code of both gives is not known"
    assert Counter(computed(two)) == before, "a push computes nothing"

    one.put("images/d.txt", "d\n")
    assert one.minipach("push").code == 0
    two.put("images/e.txt", "e\n")
    refused = two.minipach("push")
    assert refused.code == 2 and refused.reports("sync.data"), refused.err
    assert two.git("images", "status", "--porcelain") == ""


def computed(study: Study) -> list[str]:
    """The datum ids that ran in a clone, once for each run."""
    with sqlite3.connect(study.root / ".git/minipach/ledger.sqlite") as ledger:
        return [row[0] for row in ledger.execute("SELECT datum_id FROM attempt WHERE kind = 'ok'")]


def edit(study: Study, who: str, number: int, chance: random.Random) -> None:
    """Edit data, code, the spec or a note, at random; not the lines that the other clone edits."""
    kind = chance.choice(["add", "add", "remove", "code", "spec", "note"])
    mine = sorted(path.name for path in (study.root / "images").glob(f"{who}-*"))
    if kind == "add" or (kind == "remove" and not mine):
        study.put(f"images/{who}-{number}.txt", f"{who} {number} {chance.random()}\n")
    elif kind == "remove":
        study.remove(f"images/{chance.choice(mine)}")
    elif kind == "code":
        study.put(f"up/code/{who}.sh", f"# {number}\n")
    elif kind == "spec" and who == "one":
        spec = (study.root / "up/spec.yml").read_text().split("description:")[0]
        study.put("up/spec.yml", f"{spec}description: round {number}\n")
    else:
        study.put(f"up/notes/{who}-{number}.md", "a note\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "rounds"), [(1, 2), *(pytest.param(n, 5, marks=pytest.mark.soak) for n in range(2, 11))]
)
def test_two_clones_edit_at_random(pair: tuple[Study, Study], seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    one, two = pair
    before = Counter(computed(one))
    for number in range(rounds):
        for study, who in ((one, "one"), (two, "two")):
            for step in range(chance.randint(1, 2)):
                edit(study, who, 10 * number + step, chance)
        first, second = chance.sample(pair, 2)
        for study in (first, second, first):  # the first one learns what the second had
            outcomes(study)
        for repo in (".", "images", "up"):
            assert one.git(repo, "rev-parse", "HEAD") == two.git(repo, "rev-parse", "HEAD"), (number, repo)
            assert one.git(repo, "status", "--porcelain") == two.git(repo, "status", "--porcelain") == ""
        shown = [sorted(path for path in s.outputs("up") if path.endswith(".txt")) for s in pair]
        wanted = sorted(path.name for path in (one.root / "images").glob("*.txt"))
        assert shown == [wanted, wanted]
        assert all(s.minipach("plan", "--json").json["pipelines"][0]["counts"]["run"] == 0 for s in pair)
    ran = Counter(computed(one)) + Counter(computed(two)) - before
    assert ran and max(ran.values()) == 1, "no result was computed twice"
