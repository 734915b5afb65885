"""The commands of `minipach ci`, and the very steps of a workflow file in clean clones. On a fake forge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from minipach.forges.pull_request import MARKER
from minipach.forges.workflow_files import workflow
from tests.fixtures.fake_forges import SHA, TOKEN, FakeForge, Trouble, fake_forge
from tests.fixtures.projects import PATIENCE, Done, Study
from tests.fixtures.secret_search import files_with, watched_processes

pytestmark = pytest.mark.slow
CLEAN = ("MINIPACH_", "GITHUB_", "GITLAB_", "CI_", "BITBUCKET_", "FORGEJO_", "GITEA_", "JENKINS_", "AWS_")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study.create(tmp_path_factory.mktemp("ci") / "study")
    made.put("images/a.txt", "content of a")
    made.copier()
    made.schedule()
    made.put("images/b.txt", "content of b")
    made.save(".")
    return made


@pytest.fixture
def forge() -> Iterator[FakeForge]:
    with fake_forge("github") as made:
        yield made


def variables(forge: FakeForge) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": forge.api,
        "GITHUB_REPOSITORY": "lab/study",
        "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_BASE_REF": "",
    }


def ci(study: Study, forge: FakeForge, *words: str, **more: str) -> Done:
    return study.minipach("ci", *words, env={**variables(forge), **more})


def test_the_comment(study: Study, forge: FakeForge) -> None:
    with watched_processes(TOKEN) as shown:
        done = ci(study, forge, "comment", "--base", "HEAD~1")
    assert shown == [] and files_with(TOKEN, study.root) == [] and TOKEN not in forge.comments[0].text
    assert (done.code, done.out, done.err) == (0, "lab/study 7: comment created\n", "")
    done = ci(study, forge, "comment", "--base", "HEAD~1", "--json")
    assert done.json == {
        "schema": 1,
        "forge": "github",
        "repo": "lab/study",
        "number": "7",
        "action": "edited",
        "removed": 0,
    }
    (comment,) = forge.comments
    report = study.minipach("report", "--base", "HEAD~1", "--markdown").out
    assert comment.text == f"{report.rstrip()}\n\n{MARKER}\n" and "1 datum to run" in comment.text
    dry = ci(study, forge, "comment", "--base", "HEAD~1", "--dry-run", GITHUB_TOKEN="")
    assert dry.out == comment.text and len(forge.comments) == 1


def test_the_statuses(study: Study, forge: FakeForge) -> None:
    done = ci(study, forge, "status", "--commit", SHA)
    lines = [
        "minipach/pipelines: pending: 1 datum to run",
        "minipach/content: success: content: 3 of 3 annexed keys reachable here",
    ]
    assert (done.code, done.out.splitlines()) == (0, lines), done.err
    assert [(one["context"], one["state"]) for one in forge.statuses] == [
        ("minipach/pipelines", "pending"),
        ("minipach/content", "success"),
    ]


def test_a_content_that_no_remote_has(study: Study, forge: FakeForge, tmp_path: Path) -> None:
    copy = study.duplicate(tmp_path / "copy")
    copy.ok("git", "-C", "images", "annex", "drop", "--force", "--quiet", "a.txt")
    done = ci(copy, forge, "status", "--dry-run", "--json")
    assert done.json["sent"] is False and not forge.statuses
    assert done.json["statuses"][1]["state"] == "failure"
    content = done.json["content"]
    assert content["keys"] - content["reachable"] == 1 and content["missing"][0]["repo"] == "images"


def test_each_store_is_asked_for_what_it_should_have(study: Study, forge: FakeForge, tmp_path: Path) -> None:
    copy = study.duplicate(tmp_path / "copy")
    for name in ("one", "two", "other"):
        assert copy.minipach("store", "add", name, "--dir", str(tmp_path / name)).code == 0
        assert copy.minipach("push", name).code == 0
    assert copy.minipach("store", "remove", "other", "--here").code == 0

    def stores() -> tuple[str, dict[str, tuple[int, int, int]]]:
        done = ci(copy, forge, "status", "--dry-run", "--json").json
        assert done["content"]["keys"] == done["content"]["reachable"] == 3
        rows = {
            row["store"]: (row["expected"], row["confirmed"], len(row["not_asked"]))
            for row in done["content"]["stores"]
        }
        return done["statuses"][1]["text"].partition("; ")[2], rows

    text, rows = stores()
    assert text == "one confirms 3 of 3; other not asked; two confirms 3 of 3"
    assert rows["one"] == rows["two"] == (3, 3, 0) and rows["other"][:2] == (0, 0) and rows["other"][2] > 0
    (lost, *_) = (path for path in (tmp_path / "two").rglob("*") if path.is_file())
    lost.parent.chmod(0o755)
    lost.unlink()
    text, rows = stores()
    assert rows["two"] == (3, 2, 0) and text.endswith("two confirms 2 of 3")


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (["comment"], {}, "no commit to compare with"),
        (["comment", "--base", "HEAD", "--pr", "x"], {}, "not the number of a pull request"),
        (["comment", "--base", "HEAD", "--repo", "a/../b"], {}, "not a repository of a forge"),
        (["comment", "--base", "no-such-rev"], {}, "no commit of the superdataset"),
        (["comment", "--base", "HEAD"], {"GITHUB_TOKEN": ""}, "no token is set"),
        (["comment", "--base", "HEAD"], {"GITHUB_TOKEN": "wrong"}, "answered 401 (Bad credentials)"),
        (["comment", "--base", "HEAD", "--api", "http://forge.example.org"], {}, "without encryption"),
        (["comment", "--base", "HEAD", "--pr", "8"], {}, "answered 404 (Not Found)"),
        (["status"], {}, "GITHUB_SHA, CI_COMMIT_SHA"),
        (["status", "--commit", "main"], {}, "not a commit in 40 hex digits"),
        (["status", "--commit", SHA], {"GITHUB_ACTIONS": ""}, "--forge: not known here"),
    ],
)
def test_a_bad_setup_is_one_line(
    study: Study, forge: FakeForge, words: list[str], env: dict[str, str], said: str
) -> None:
    done = ci(study, forge, *words, **env)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1 and ". Fix: " in done.err
    assert not forge.comments and not forge.statuses and TOKEN not in done.err


def test_trouble_says_nothing_of_the_token(study: Study, forge: FakeForge) -> None:
    forge.fail("GET", Trouble(400, times=99))
    done = ci(study, forge, "comment", "--base", "HEAD")
    assert (done.code, done.err.count("\n")) == (2, 1) and "trouble with ***" in done.err and TOKEN not in done.err


def test_a_workflow_file_is_written(study: Study, tmp_path: Path) -> None:
    copy = study.duplicate(tmp_path / "copy")
    done = copy.minipach("ci", "init", "github", "--write")
    assert (done.code, done.out) == (0, "wrote .github/workflows/minipach.yml; commit it with datalad save\n")
    assert copy.minipach("ci", "init", "github").out == workflow("github")
    assert copy.minipach("ci", "init", "github", "--write").out == ".github/workflows/minipach.yml is there already\n"


TOOL = b"a tool\0"
DOCKER = """#!/bin/sh
echo "docker $*" >>"$HOME/docker.log"
if [ "$1" = build ]; then cp "$4/tool" "$HOME/tool"; fi
if [ "$1" = save ]; then echo "an image" >"$3"; fi
"""


class Runner:
    """A machine of a CI: a home with a stand-in for `docker`, and minipach where the set-up step installs it."""

    def __init__(self, root: Path, forge: FakeForge) -> None:
        self.root = root
        self.forge = forge
        self.home = root / "home"
        programs = self.home / "minipach-ci" / "bin"
        programs.mkdir(parents=True)
        (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
        for name, text in {
            "pip": "#!/bin/sh\n",
            "docker": DOCKER,
            "python3": f'#!/bin/sh\n[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"\n',
        }.items():
            (self.home / name).write_text(text)
            (self.home / name).chmod(0o755)
        (programs / "pip").symlink_to(self.home / "pip")  # the set-up step's own venv is this folder, made before
        for name in ("python3", "minipach", "datalad", "git-annex"):
            (programs / name).symlink_to(Path(sys.executable).parent / name)

    def steps(self, job: str = "run") -> list[dict[str, Any]]:
        """The steps of a job of the workflow file that are shell commands."""
        found = yaml.safe_load(workflow("github"))
        return [step for step in found["jobs"][job]["steps"] if "run" in step]

    def run(self, number: int, commit: str, env: Mapping[str, str]) -> Path:
        """Run the steps in a clean clone, as `actions/checkout` leaves one."""
        work = self.root / f"work{number}"
        for words in (
            ["clone", "--quiet", str(self.root / "study.git"), str(work)],
            ["-C", str(work), "checkout", "--quiet", commit],
        ):
            subprocess.run(["git", *words], check=True, capture_output=True)
        base = {k: v for k, v in os.environ.items() if not k.startswith(CLEAN)}
        path = f"{self.home}:{base['PATH']}"
        mine = {
            "HOME": str(self.home),
            "PATH": path,
            "MINIPACH_STORE": "disk",
            "GITHUB_STEP_SUMMARY": str(self.home / "summary"),
        }
        for step in self.steps():
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=work,
                env={**base, **variables(self.forge), **mine, **env},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert done.returncode == 0, f"{step['name']}\n{done.stdout}\n{done.stderr}"
            assert TOKEN not in done.stdout + done.stderr
        return work

    def line(self, repo: str, *words: str) -> str:
        """Return what git says of a repository of the forge."""
        done = subprocess.run(
            ["git", "-C", str(self.root / f"{repo}.git"), *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@pytest.fixture
def runner(tmp_path: Path, forge: FakeForge) -> Runner:
    """A project of a forge with a store, and a branch with one more image and a Dockerfile."""
    made = Study.create(tmp_path / "desk")
    made.put("images/a.txt", "content of a")
    made.copier()
    made.schedule()
    for path in ("images", "edges"):
        subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / f"{path}.git")], check=True)
        made.git(path, "remote", "add", "origin", str(tmp_path / f"{path}.git"))
        made.git(path, "config", "remote.origin.annex-ignore", "true")
        made.git(".", "config", "--file", ".gitmodules", f"submodule.{path}.url", f"../{path}.git")
    made.save(".")
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "study.git")], check=True)
    made.git(".", "remote", "add", "origin", str(tmp_path / "study.git"))
    made.git(".", "config", "remote.origin.annex-ignore", "true")
    made.git(".", "branch", "-M", "main")
    assert made.minipach("store", "add", "disk", "--dir", str(tmp_path / "disk")).code == 0
    done = made.minipach("push", "origin")
    assert done.code == 0, done.err
    made.git(".", "switch", "--quiet", "--create", "change")
    made.put("images/b.txt", "content of b")
    (made.root / "containers/box").mkdir(parents=True)
    (made.root / "containers/box/tool").write_bytes(TOOL)
    made.ok("git", "annex", "add", "--quiet", "--force-large", "containers/box/tool")
    made.ok("git", "commit", "--quiet", "-m", "tool")
    (made.root / "containers/box/Dockerfile").write_text("FROM scratch\nCOPY tool /tool\n")
    made.ok("datalad", "save", "--to-git", "-m", "change", ".")
    done = made.minipach("push", "origin")
    assert done.code == 0, done.err
    return Runner(tmp_path, forge)


def test_the_steps_of_the_workflow_file(runner: Runner, forge: FakeForge) -> None:
    main, change = (runner.line("study", "rev-parse", name) for name in ("main", "change"))
    edges = runner.line("edges", "rev-parse", "HEAD")
    pull = {"BRANCH": "change", "PULL_REQUEST": "7", "GITHUB_BASE_REF": "main"}
    runner.run(1, change, pull)
    (comment,) = forge.comments
    assert "nothing to run" in comment.text and "outputs: 1 added" in comment.text
    posted = [
        json.loads(body)["body"]
        for (verb, _), body in zip(forge.requests, forge.bodies, strict=True)
        if verb == "POST" and b'"body"' in body
    ]
    assert "1 datum to run" in posted[0], "the cost is told before anything runs"
    image = runner.line("study", "rev-parse", "change")
    assert runner.line("study", "log", "--format=%s", f"{change}..{image}").count("\n") == 0, (
        "one commit with the image"
    )
    assert (runner.line("study", "rev-parse", "main"), runner.line("edges", "rev-parse", "HEAD")) == (main, edges)
    assert {one["path"].rpartition("/")[2] for one in forge.statuses} == {image}
    assert [one["state"] for one in forge.statuses] == ["success", "success"]
    runner.line("study", "update-ref", "refs/heads/main", image)  # somebody merges the pull request
    forge.statuses.clear()
    work = runner.run(2, image, {"BRANCH": "main", "PULL_REQUEST": "", "GITHUB_REF": "refs/heads/main"})
    assert runner.line("study", "rev-list", "--count", f"{image}..main") == "1", "one commit with the results"
    assert runner.line("edges", "rev-parse", "HEAD") != edges
    assert len(forge.comments) == 1 and [one["state"] for one in forge.statuses] == ["success", "success"]
    (job,) = json.loads(
        subprocess.run(
            [sys.executable, "-m", "minipach", "-C", str(work), "jobs", "--json"], check=True, capture_output=True
        ).stdout
    )["jobs"]
    assert (job["counts"]["ran"], job["counts"]["reused"]) == (0, 1)
    assert (runner.home / "docker.log").read_text().count("build") == 1, "the image is built once"
    assert (runner.home / "tool").read_bytes() == TOOL, "an annexed file is in the context of the build"
