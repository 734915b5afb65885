"""`minipach audit`: published datums run again in scratch; what is reproducible, what isn't, and nothing changes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minipach.git.repo import Repo
from minipach.git.worktrees import Slot
from minipach.rerun.audit import _slots
from minipach.rerun.repeated_run import PublishedFile, _equal
from minipach.support.git_objects import blob_id
from tests.fixtures.projects import MINIPACH, PATIENCE, SHOWN, Study

pytestmark = pytest.mark.slow

UPPER = 'tr a-z A-Z <"$images" >"$PFS/out/$MINIPACH_DATUM"\n'
NOISE = """
echo same >"$PFS/out/$MINIPACH_DATUM.same"
date +%s%N >"$PFS/out/$MINIPACH_DATUM.when"
"""
# a command that does something else once there is a file beside the project
FICKLE = """
word=early
[ ! -e "$WITNESS" ] || word=late
echo $word >"$PFS/out/$MINIPACH_DATUM.$word"
echo same >"$PFS/out/$MINIPACH_DATUM.same"
"""
LATER = '[ ! -e "$WITNESS" ] || exit 7\n' + UPPER
IDS = 'echo "$PACH_JOB_ID $images_COMMIT" >"$PFS/out/$MINIPACH_DATUM"\n'
TOOL = """
cp "$images" "$PFS/out/$MINIPACH_DATUM"
echo "exit 0" >"$PFS/out/$MINIPACH_DATUM.sh"
chmod +x "$PFS/out/$MINIPACH_DATUM.sh"
"""


def spec(script: str, glob: str = "/*", more: str = "") -> str:
    return f'input: {{pfs: {{repo: images, glob: "{glob}"}}}}\ntransform: {{cmd: [sh, code/{script}.sh]{more}}}\n'


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Pipelines of all kinds, computed; moon.txt and luna.txt have one content. Only to look at, and to audit."""
    study = Study.create(tmp_path_factory.mktemp("audit") / "study")
    for name, text in (("moon", "pale"), ("luna", "pale"), ("star", "far")):
        study.put(f"images/{name}.txt", f"{text}\n", save=False)
    study.save("images")
    study.pipeline("edges", spec("upper") + "minipach: {identity: content}\n", upper=UPPER)
    study.pipeline("noise", spec("noise", "/moon.txt"), noise=NOISE)
    environment = f', env: {{WITNESS: "{witness(study)}"}}'
    study.pipeline("fickle", spec("fickle", "/moon.txt", environment), fickle=FICKLE)
    study.pipeline("later", spec("later", "/moon.txt", environment), later=LATER)
    study.pipeline("ids", spec("ids", "/moon.txt"), ids=IDS)
    reports = study.schedule("-j", "2")
    assert reports["edges"]["counts"]["reused"] == 1
    witness(study).parent.mkdir(exist_ok=True)
    witness(study).touch()
    return study


def witness(study: Study) -> Path:
    """The file that makes `fickle` and `later` behave otherwise."""
    return SHOWN / "kept" / study.root.parent.name


def copy(study: Study, root: Path) -> Study:
    shutil.copytree(study.root, root, symlinks=True)
    return Study(root)


def audit(study: Study, *arguments: str, code: int = 0) -> dict[str, Any]:
    """`minipach audit --json` with the exit code that it must have."""
    done = study.minipach("audit", "--json", *arguments)
    assert done.code == code, f"exit {done.code}\n{done.out}\n{done.err}"
    found: dict[str, Any] = done.json
    assert found["schema"] == 1
    return found


def outcomes(found: dict[str, Any]) -> dict[str, str]:
    return {f"{d['pipeline']}:{d['name']}": d["outcome"] for d in found["datums"]}


def everything(study: Study) -> list[str]:
    """All refs, annexed objects, worktrees and slots of the project, and its ledger's content."""
    found = []
    for repo in (".", "images", "edges", "noise", "fickle", "later", "ids"):
        git = study.root / repo / ".git"
        found += [study.git(repo, "for-each-ref"), study.git(repo, "worktree", "list"), study.git(repo, "status", "-s")]
        found += sorted(str(p) for p in (git / "annex" / "objects").rglob("*"))
        found += sorted(str(p) for p in (git / "minipach" / "slots").glob("*"))
    status = study.minipach("status", "--json").out
    return [*found, status, str((study.root / ".git/minipach/ledger.sqlite").read_bytes())]


def test_what_is_reproducible_is_told_from_what_is_not_and_nothing_changes(published: Study) -> None:
    before = everything(published)
    found = audit(published, "--all", "-j", "2", code=1)
    assert everything(published) == before
    assert found["ok"] is False
    assert outcomes(found) == {
        "edges:luna.txt": "reproducible",  # a copy of moon.txt's result: it runs for itself here
        "edges:moon.txt": "reproducible",
        "edges:star.txt": "reproducible",
        "noise:moon.txt": "different",
        "fickle:moon.txt": "different",
        "later:moon.txt": "failed",
        "ids:moon.txt": "reproducible",
    }
    datums = {d["pipeline"]: d for d in found["datums"]}
    paths = {name: (d["differ"], d["missing"], d["extra"]) for name, d in datums.items()}
    assert paths["noise"] == (["moon.txt.when"], [], [])
    assert paths["fickle"] == ([], ["moon.txt.early"], ["moon.txt.late"])
    assert paths["edges"] == paths["later"] == ([], [], [])
    assert datums["later"]["message"] == "the command exited with 7"
    assert "failed with exit code 7" in Path(datums["later"]["log"]).read_text()


def test_one_datum_can_be_chosen(published: Study) -> None:
    found = audit(published, "edges:star.txt")
    assert outcomes(found) == {"edges:star.txt": "reproducible"}
    assert found["ok"] is True


def test_for_people_the_paths_are_named(published: Study) -> None:
    done = published.minipach("audit", "noise:moon.txt")
    assert done.code == 1
    assert done.out.splitlines() == [
        "STATE         PIPELINE  DATUM     MESSAGE",
        "different     noise     moon.txt  -",
        "",
        "outputs that differ",
        "PIPELINE  DATUM     CHANGE   OUTPUT",
        "noise     moon.txt  changed  moon.txt.when",
        "",
        "0 of 1 reproducible bit for bit; contents were verified again",
    ]


def test_a_seed_draws_the_same_sample(published: Study) -> None:
    first = audit(published, "edges", "--sample", "1", "--seed", "7")
    again = audit(published, "edges", "noise", "--sample", "1", "--seed", "7", code=1)
    assert len(first["datums"]) == 1
    assert set(outcomes(first)) < set(outcomes(again))
    assert len(again["datums"]) == 2


def test_all_and_a_sample_exclude_each_other(published: Study) -> None:
    assert published.minipach("audit", "--all", "--sample", "2").code == 2


# Each in a project of its own


@pytest.mark.slow
def test_what_is_behind_is_left_out_with_a_remark(published: Study, tmp_path: Path) -> None:
    study = copy(published, tmp_path / "study")
    study.put("images/star.txt", "farther\n", save=False)
    study.remove("images/luna.txt")
    found = audit(study, "edges", "ids", "--all")
    # the job's id and the input's commit, which `ids` writes down, are those of the first run
    assert outcomes(found) == {"edges:moon.txt": "reproducible", "ids:moon.txt": "reproducible"}
    assert {s["name"]: s["reason"].partition(":")[0] for s in found["skipped"]} == {
        "star.txt": "behind",
        "luna.txt": "no longer matched",
    }
    done = study.minipach("audit", "edges:star.txt")
    assert done.code == 2
    assert "nothing to audit" in done.err


def test_a_published_output_that_somebody_changed_is_found(published: Study, tmp_path: Path) -> None:
    study = copy(published, tmp_path / "study")
    study.put("edges/moon.txt", "forged\n")
    found = audit(study, "edges:moon.txt", code=1)
    assert found["datums"][0]["differ"] == ["moon.txt"]


@pytest.mark.slow
def test_inputs_that_are_not_here_are_not_fetched(published: Study, tmp_path: Path) -> None:
    study = copy(published, tmp_path / "study")
    study.ok("git", "annex", "drop", "--force", "moon.txt", cwd=study.root / "images")
    before = everything(study)
    (datum,) = audit(study, "edges:moon.txt", code=1)["datums"]
    assert datum["outcome"] == "failed"
    assert "is not here; git -C" in datum["message"]
    assert everything(study) == before


@pytest.mark.slow
def test_a_reader_fetches_what_an_audit_needs(published: Study, tmp_path: Path) -> None:
    published.ok("datalad", "clone", str(published.root), str(tmp_path / "clone"))
    clone = Study(tmp_path / "clone")
    clone.ok("datalad", "get", "-n", "images", "edges")
    found = audit(clone, "edges", "--all", "--get")
    assert set(outcomes(found).values()) == {"reproducible"}


@pytest.mark.slow
def test_what_is_in_git_is_compared_too(study: Study) -> None:
    study.put("images/moon.txt", "pale\n")
    study.pipeline("edges", spec("tool"), tool=TOOL)
    (study.root / "edges" / ".gitattributes").write_text("* annex.largefiles=nothing\n")
    study.schedule()
    assert {meta[:6] for meta in study.outputs("edges").values()} == {"100644", "100755"}
    assert outcomes(audit(study)) == {"edges:moon.txt": "reproducible"}


@pytest.mark.slow
def test_an_annexed_image_is_found_from_a_slot(study: Study) -> None:
    """A host environment's text stands for an image here, annexed like one."""
    (study.root / "env.img").write_text("minipach host environment\nsystem: any\n")
    study.put("images/moon.txt", "pale\n")
    study.pipeline("edges", spec("upper", "/*", ", image: ../env.img"), upper=UPPER)
    study.schedule()
    assert outcomes(audit(study)) == {"edges:moon.txt": "reproducible"}


def test_threads_share_no_reader_of_objects(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    trials: Any = [SimpleNamespace(work=SimpleNamespace(repo=str(tmp_path)))] * 3
    with _slots(trials, 3) as slots:
        readers = [slots[str(tmp_path)].get().main.objects for _ in trials]
        assert len({id(reader) for reader in readers}) == 3
    assert not any(reader.alive for reader in readers)


@pytest.mark.slow
def test_an_interrupt_ends_the_command_and_clears_up(published: Study, tmp_path: Path) -> None:
    study = copy(published, tmp_path / "study")
    slow = SHOWN / "slow"
    study.put("edges/code/upper.sh", f"[ ! -e {slow} ] || {{ echo begun; exec sleep 300; }}\n" + UPPER)
    study.schedule("edges")
    before = everything(study)
    slow.touch()
    command = subprocess.Popen([*MINIPACH, "audit", "edges:moon.txt"], cwd=study.root, stderr=subprocess.PIPE)
    logs = study.root / ".git/minipach/logs/edges/audit"
    wait_until(lambda: any("begun" in log.read_text() for log in logs.glob("moon.txt-*.log")), 60)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130, err
    assert everything(study) == before
    wait_until(lambda: not any(b"sleep\x00300" in line for line in command_lines_in(study.root)), 60)


def wait_until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command_lines_in(folder: Path) -> list[bytes]:
    """The command lines of the processes that work below a folder, with a zero byte after each word."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd").startswith(str(folder)):
                found.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return found


# Content by whichever backend


@pytest.mark.parametrize(
    "backend", ["SHA256E", "MD5E", "SHA1", "SHA512E", "SHA3_256E", "BLAKE2B256E", "SKEIN256", "WORM"]
)
def test_every_backend_is_compared_with_its_own_hash(study: Study, backend: str) -> None:
    images = Repo(study.root / "images")
    (images.path / "moon.txt").write_text("pale\n")
    images.git("annex", "add", f"--backend={backend}", "--force-large", "moon.txt")
    key = images.line("annex", "lookupkey", "moon.txt")
    assert key.startswith(backend)
    slot = Slot(images, images.path)
    for text, equal in (("pale\n", True), ("dark\n", False)):
        written = study.root / "written.txt"
        written.write_text(text)
        assert _equal(written, PublishedFile("120000", key, ""), slot.main) is equal


def test_the_executable_bit_counts_where_git_keeps_it(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_bytes(b"x")
    kept = blob_id(b"x")
    assert _equal(file, PublishedFile("100644", None, kept), Repo(tmp_path))
    assert not _equal(file, PublishedFile("100755", None, kept), Repo(tmp_path))
    file.chmod(0o755)
    assert _equal(file, PublishedFile("100755", None, kept), Repo(tmp_path))
