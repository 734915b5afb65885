"""Projects for tests, made with the real programs: a `Study` is a folder, and `minipach` is run as people run it."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A folder of this machine that commands see: by files in it a test and a command wait for each other.
SHOWN = Path(tempfile.mkdtemp(prefix="minipach-shown."))
atexit.register(shutil.rmtree, SHOWN, ignore_errors=True)

COPY = 'cp "$images" "$PFS/out/"\n'
PATIENCE = 600.0  # seconds for a program: that is against one that hangs, not against a slow machine


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


def run(*command: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = PATIENCE) -> Done:
    """Run a program to its end."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, timeout=timeout, check=False
    )
    return Done(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))


MINIPACH = (sys.executable, "-m", "minipach")


@dataclass(frozen=True)
class Study:
    """A project in a folder."""

    root: Path

    @staticmethod
    def create(root: Path, *repos: str) -> Study:
        """A project with the given empty data repos (default: `images`), as a copy of one made earlier."""
        shutil.copytree(_template(repos or ("images",)), root, symlinks=True)
        return Study(root)

    def ok(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run a program in the project; its stdout. Fails the test if it fails."""
        done = run(*command, cwd=cwd or self.root, env=env)
        assert done.code == 0, f"{command}: {done.code}\n{done.out}\n{done.err}"
        return done.out

    def minipach(self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = PATIENCE) -> Done:
        """Run minipach in the project."""
        return run(*MINIPACH, *arguments, cwd=self.root, env=env, timeout=timeout)

    def schedule(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """`minipach schedule --json`, with the exit code that it must have; pipelines by name."""
        done = self.minipach("schedule", "--json", *arguments)
        assert done.code == code, f"exit {done.code}, wanted {code}\n{done.out}\n{done.err}"
        return {p["name"]: p for p in done.json["pipelines"]}

    def plan(self, *arguments: str) -> dict[str, Any]:
        """`minipach plan --json`; pipelines by name."""
        done = self.minipach("plan", "--json", *arguments)
        assert done.code == 0, done.err
        return {p["name"]: p for p in done.json["pipelines"]}

    def put(self, path: str, content: str | bytes, *, save: bool = True) -> None:
        """Write a file into the project (over a locked one, too) and save the dataset that holds it."""
        there = self.root / path
        there.parent.mkdir(parents=True, exist_ok=True)
        if there.is_symlink() or there.exists():
            there.unlink()
        there.write_bytes(content.encode() if isinstance(content, str) else content)
        if save:
            self.save(path.split("/", maxsplit=1)[0])

    def copy(self, source: Path, path: str) -> None:
        """Copy a file into the project and save."""
        self.put(path, source.read_bytes())

    def save(self, repo: str) -> None:
        """Commit all in a repo of the project (in the project itself while the folder is no dataset).

        As `datalad save` does it, at a fifth of its time.
        """
        top = self.root / repo if (self.root / repo / ".git").exists() else self.root
        self.ok("git", "annex", "add", "--quiet", ".", cwd=top)
        self.ok("git", "add", "--all", cwd=top)
        if run("git", "diff", "--cached", "--quiet", cwd=top).code:
            self.ok("git", "commit", "-q", "-m", "test", cwd=top)

    def remove(self, path: str) -> None:
        """Remove a file of a repo and save."""
        (self.root / path).unlink()
        self.save(path.split("/", maxsplit=1)[0])

    def pipeline(self, name: str, spec: str, **code: str) -> None:
        """A pipeline's folder: `spec.yml`, and `code/<name>.sh` for each keyword. Not saved."""
        folder = self.root / name
        (folder / "code").mkdir(parents=True, exist_ok=True)
        (folder / "spec.yml").write_text(spec)
        for stem, text in code.items():
            (folder / "code" / f"{stem}.sh").write_text(text)

    def copier(self, name: str = "edges", *, repo: str = "images", glob: str = "/*", more: str = "") -> None:
        """A pipeline that copies each file of a repo that a glob matches."""
        script = COPY.replace("images", repo.rpartition("/")[2])
        spec = f'input: {{pfs: {{repo: {repo}, glob: "{glob}"}}}}\ntransform: {{cmd: [sh, code/copy.sh]}}\n{more}'
        self.pipeline(name, spec, copy=script)

    def git(self, repo: str, *arguments: str) -> str:
        """Git's stdout in a repo of the project, less the last newline."""
        return self.ok("git", *arguments, cwd=self.root / repo).rstrip("\n")

    def outputs(self, repo: str) -> dict[str, str]:
        """The outputs on a pipeline's branch: path to what git stores there (mode and object id)."""
        reserved = ("spec.yml", "code/", "inputs/", ".datalad/", ".minipach/", ".git", "README")
        rows = (r.split("\t", 1) for r in self.git(repo, "ls-tree", "-r", "-z", "HEAD").split("\0") if r)
        return {path: meta for meta, path in rows if not path.startswith(reserved)}

    def read(self, path: str) -> bytes:
        """A file's content, through the annex link."""
        return (self.root / path).read_bytes()


@functools.cache
def _template(repos: tuple[str, ...]) -> Path:
    root = Path(tempfile.mkdtemp(prefix="minipach-study.")) / "study"
    atexit.register(shutil.rmtree, root.parent, ignore_errors=True)
    done = run(*MINIPACH, "init", str(root), cwd=root.parent)
    assert done.code == 0, done.err
    for repo in repos:
        Study(root).ok("datalad", "create", "-d", ".", repo)
    return root


def need(program: str) -> None:
    """Skip the test, loudly, where a program is missing (in CI that fails it; see conftest)."""
    import pytest

    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: this test needs the real one")
