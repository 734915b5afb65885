"""Completion, asked for as each shell does: by its own script, with keys typed on a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minipach.cli import completion, reference
from minipach.cli.completion import TABLE, complete
from minipach.project.project import Project
from tests.fixtures.projects import MINIPACH, PATIENCE, Study

_HOSTILE = "x$(touch owned);`id`'y"
_SPACED = "b c.txt"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two pipelines and a plain folder, three datums that have run, a remote."""
    study = Study.create(tmp_path_factory.mktemp("completion") / "study")
    for name in ("a.txt", _SPACED, _HOSTILE, "evil\x1b[2J"):
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.copier()
    study.schedule()
    study.git("edges", "remote", "add", "colleague", "/nowhere")
    (study.root / "montage").mkdir()
    (study.root / "montage/spec.yml").write_text('input: {pfs: {repo: edges, glob: "/"}}\ntransform: {cmd: [sh]}\n')
    return study


@pytest.fixture
def here(study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(study.root)
    return study


def words(*typed: str) -> list[str]:
    """The candidates for the last word."""
    return [word for word, _ in complete(typed[:-1], typed[-1]).candidates if word.startswith(typed[-1])]


def test_the_table_is_that_of_the_commands() -> None:
    assert TABLE.read_text() == reference.completion_table(), (
        "python -m minipach.cli.reference > docs/commands.md writes it"
    )


def test_every_argument_has_a_known_kind() -> None:
    kinds = {
        "PIPELINE",
        "PIPELINE[:DATUM]",
        "PIPELINE:DATUM",
        "PIPELINE|FILE",
        "FILE",
        "DATUM",
        "REMOTE",
        "ID",
        "OLD",
        "NEW",
    }
    kinds |= {
        "NAME",
        "EXPERIMENT",
        "EXPERIMENT:POINT",
        "COMMAND",
        "STORE",
        "TICK",
        "DIR",
        "TARGET",
        "FOLDER|URL",
        "SOURCE",
        "TEMPLATE",
        "bash|zsh|fish",
        "github|gitea|forgejo|gitlab|bitbucket|s3",
        "github|gitlab|forgejo|jenkins",
    }
    table = completion.json.loads(TABLE.read_text())
    groups = [table, *(c for c in table["commands"].values() if "commands" in c)]
    found = {a.removesuffix("...") for g in groups for c in g["commands"].values() for a in c["arguments"]}
    assert found <= kinds


def test_pipelines_are_those_of_the_project(here: Study) -> None:
    project = Project(here.root)
    assert words("plan", "") == [project.name_of(path) for path in sorted(project.order)] == ["edges", "montage"]
    assert words("-C", "images", "plan", "e") == ["edges"]


def test_commands_options_and_choices(here: Study) -> None:
    assert words("sta") == ["status"]
    assert words("results", "p") == ["pull", "push"]
    assert "--json" in words("plan", "--j")
    assert words("dag", "--format", "") == ["text", "dot", "mermaid", "svg"]
    assert words("plan", "--", "--j") == []
    assert words("nonsense", "x", "") == []


def test_datums_jobs_and_remotes(here: Study) -> None:
    datums = words("plan", "edges:")
    assert {"edges:a.txt", f"edges:{_SPACED}", f"edges:{_HOSTILE}"} <= set(datums)
    assert words("run-one", "ed") == ["edges:"]
    assert words("logs", "edges", "a") == ["a.txt"]
    job = here.minipach("jobs", "--json").json["jobs"][0]["id"]
    assert words("job", job[:3]) == [job[:12]]
    assert words("logs", "edges", "--job", "") == [job[:12]]
    assert words("results", "pull", "c") == ["colleague"]
    assert words("results", "pull", "colleague", "") == ["edges", "montage"]


def test_experiments_are_those_on_record_packed_or_not(here: Study, tmp_path: Path) -> None:
    study = here.duplicate(tmp_path / "study")
    os.chdir(study.root)
    assert words("exp", "show", "") == []
    for name in ("exp-1", "sigma"):
        study.git("edges", "update-ref", f"refs/minipach/experiments/{name}", "HEAD")
        study.git("edges", "pack-refs", "--all") if name == "exp-1" else None
    assert words("exp", "show", "") == words("exp", "run", "--name", "") == ["exp-1", "sigma"]
    assert words("exp", "show", "s") == ["sigma"]
    assert words("exp", "apply", "s") == ["sigma:"]


def test_a_remote_is_completed_once_and_pipelines_where_they_may_follow(here: Study, tmp_path: Path) -> None:
    study = here.duplicate(tmp_path / "study")
    os.chdir(study.root)
    study.git(".", "config", "--file", ".datalad/config", "minipach-store.colleague.url", "/nowhere")
    assert words("push", "") == ["colleague"] and words("push", "colleague", "") == []
    assert words("results", "pull", "e") == ["edges"]


def test_pipelines_in_plain_folders_of_subdatasets_and_none_in_data(here: Study, tmp_path: Path) -> None:
    study = here.duplicate(tmp_path / "study")
    os.chdir(study.root)
    shutil.copytree(study.root / "images", study.root / "tools", symlinks=True)
    study.git(".", "config", "--file", ".gitmodules", "submodule.tools.path", "tools")
    for path in ("tools/inner/spec.yml", "images/inner/spec.yml"):
        study.put(path, 'input: {pfs: {repo: images, glob: "/"}}\ntransform: {cmd: [sh]}\n', save=False)
    study.put("tools/api/spec.yml", "openapi: 3\n", save=False)
    project = Project(study.root)
    assert (
        words("plan", "") == [project.name_of(path) for path in sorted(project.order)] == ["edges", "montage", "inner"]
    )
    assert [path for path in project.order if path.endswith("inner")] == ["tools/inner"]


def test_templates_and_their_sources(here: Study, tmp_path: Path) -> None:
    study = here.duplicate(tmp_path / "study")
    os.chdir(study.root)
    (tmp_path / "lab/copy").mkdir(parents=True)
    (tmp_path / "lab/copy/template.yml").write_text("")
    study.git(".", "config", "minipach-templates.lab.url", str(tmp_path / "lab"))
    assert words("templates", "remove", "") == ["lab"]
    assert words("templates", "show", "la") == ["lab/copy"]
    assert words("new", "x", "--from", "ed") == ["edges"]


def test_targets_of_a_makefile(here: Study, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    assert words("adopt", "") == []
    (tmp_path / "Makefile").write_text("X := a\n.PHONY: all\nall: out/a.csv\nout/a.csv: b\n\ttouch $@: x\nb::\n")
    assert words("adopt", "") == ["all", "out/a.csv"]
    assert words("adopt", "out") == ["out/a.csv"]


def test_stores_containers_and_repos(here: Study, tmp_path: Path) -> None:
    study = here.duplicate(tmp_path / "study")
    os.chdir(study.root)
    for repo, key in (
        (".", "minipach-store.lab.kind"),
        (".", "datalad.containers.box.image"),
        ("images", "datalad.containers.tiny.image"),
    ):
        study.git(repo, "config", "--file", ".datalad/config", key, "x")
    study.git(".", "remote", "add", "origin", "/nowhere")
    assert words("store", "check", "") == words("worker", "--store", "") == ["lab"]
    assert words("push", "") == ["origin", "colleague", "lab"]
    assert words("new", "--image", "") == ["box", "images/tiny"]
    assert words("hooks", "install", "--repo", "") == ["images", "edges"]


def test_datums_of_a_clone_that_has_run_nothing(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.git(".", "clone", "-q", str(study.root), str(tmp_path / "clone"))
    study.git(".", "clone", "-q", str(study.root / "edges"), str(tmp_path / "clone/edges"))
    monkeypatch.chdir(tmp_path / "clone")
    assert words("plan", "edges:a") == ["edges:a.txt"]


def test_outside_of_a_project_there_are_commands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert words("sta") == ["status"]
    for typed in (("plan", ""), ("logs", "x", ""), ("job", ""), ("results", "pull", "")):
        assert words(*typed) == []
    assert list(tmp_path.iterdir()) == []


def test_no_candidate_has_control_characters(here: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for shell, typed in (("bash", ["minipach plan edges:"]), ("zsh", ["plan", "edges:"]), ("fish", ["plan", "edges:"])):
        text = completion.answer(shell, typed)
        assert "a.txt" in text and "evil" not in text and all(map(str.isprintable, text.replace("\t", "").split("\n")))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("minipach plan ed", ["edges"]),
        ("minipach plan edges:a", ["a.txt"]),
        ("minipach plan 'edges:a", ["edges:a.txt"]),
        ("minipach logs edges b\\ c", ["b\\ c.txt"]),
        ("minipach logs edges 'b c", ["b c.txt"]),
        ("minipach logs edges x", ["x\\$\\(touch\\ owned\\)\\;\\`id\\`\\'y"]),
    ],
)
def test_bash_gets_words_as_it_has_to_insert_them(here: Study, line: str, found: list[str]) -> None:
    assert completion.answer("bash", [line]).split("\n")[1:] == found


def test_what_completion_imports_is_little(study: Study) -> None:
    code = "import sys; from minipach.cli import completion; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"typer", "rich", "pydantic", "yaml", "minipach.project", "minipach.git"} & set(loaded)


class Shell:
    """A shell on a terminal, and what it has shown so far."""

    def __init__(self, command: list[str], cwd: Path, home: Path) -> None:
        self.shown = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            keep = {"PATH": f"{Path(MINIPACH[0]).parent}:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm"}
            os.chdir(cwd)
            os.execvpe(command[0], command, {**keep, "LC_ALL": "C.UTF-8", "COLUMNS": "200"})

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def wait_for(self, pattern: str) -> str:
        """All that is shown until the pattern is; each is looked for after the last one."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < end, (pattern, self.shown)
            if select.select([self.master], [], [], 1)[0]:
                self.shown += os.read(self.master, 65536).decode("utf-8", "replace")
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before

    def close(self) -> None:
        os.close(self.master)
        os.waitpid(self.pid, 0)


def script(study: Study, shell: str, folder: Path) -> Path:
    file = folder / f"minipach.{shell}"
    file.write_text(study.ok(*MINIPACH, "completion", shell))
    return file


needs = {
    name: pytest.mark.skipif(shutil.which(name) is None and "CI" not in os.environ, reason=f"no {name} here")
    for name in ("zsh", "fish")
}
_ZSH = "autoload -Uz compinit && compinit -u -D; PS1='READY> '; source {}"
SHELLS = [
    pytest.param(["bash", "--norc", "--noprofile", "-i"], "PS1='READY> '; source {}", id="bash"),
    pytest.param(["zsh", "-f", "-i"], _ZSH, id="zsh", marks=needs["zsh"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "setup"), SHELLS)
def test_tab_on_a_terminal_inserts_pipelines_datums_and_hostile_names(
    study: Study, tmp_path: Path, command: list[str], setup: str
) -> None:
    shell = Shell(command, study.root, tmp_path)
    try:
        shell.type(setup.format(script(study, command[0], tmp_path)) + "\n")
        shell.wait_for("READY> ")
        for typed, inserted in (
            ("stat\t", "got status\r\n"),
            ("plan ed\t", "got plan edges\r\n"),
            ("run-one ed\ta\t", "got run-one edges:a.txt\r\n"),
            ("logs edges b\t", "got logs edges b c.txt\r\n"),
            ("logs edges x\t", f"got logs edges {re.escape(_HOSTILE)}\r\n"),
            ("results pull co\t", "got results pull colleague\r\n"),
        ):
            # what has been inserted is run as the arguments of a function
            shell.type("minipach " + typed)
            shell.type("\x01\x1bd")  # begin of the line; delete the word `minipach`
            shell.type("echo got\n")
            shell.wait_for(inserted)
            shell.wait_for("READY> ")
    finally:
        shell.close()
    assert not (study.root / "owned").exists()


@needs["fish"]
@pytest.mark.slow
def test_fish_completes_by_its_script(study: Study, tmp_path: Path) -> None:
    file = script(study, "fish", tmp_path)
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(MINIPACH[0]).parent}:{os.environ['PATH']}"}

    def ask(line: str) -> list[str]:
        code = f'source {file}; complete -C "{line}"'
        done = subprocess.run(["fish", "-c", code], cwd=study.root, env=env, capture_output=True, text=True, check=True)
        return [row.partition("\t")[0] for row in done.stdout.splitlines()]

    assert ask("minipach stat") == ["status"]
    assert ask("minipach plan ed") == ["edges"]
    assert ask("minipach run-one ed") == ["edges:"]
    assert "edges:a.txt" in ask("minipach plan edges:a")
    assert ask("minipach results pull co") == ["colleague"]
    assert not (study.root / "owned").exists()
