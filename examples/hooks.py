"""Git, git-annex and a hook: `datalad save` is enough. The script makes a project and saves files.

`python examples/hooks.py` takes about 20 seconds; `--saves 500` makes 500 saves in a row. CI runs it as a test.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """\
input: {pfs: {repo: words, glob: "/*"}}
transform: {cmd: [sh, code/count.sh]}
"""
CODE = """\
wc -c < "$words" > "$PFS/out/$(basename "$words")"
"""
PATIENCE = 600  # seconds after which something is wrong
STATE = Path(".git", "minipach")


class Failed(Exception):
    """The example did not do what it shows; the message says what."""


class Project:
    """A project folder, and commands in it that are shown as a person would type them."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        self.root = root
        self.env = env

    def run(self, *command: str, quiet: bool = False, cwd: Path | None = None) -> float:
        """Run a command; it must exit with 0. Return the seconds that it took."""
        if not quiet:
            print(f"$ {shlex.join(command)}", flush=True)
        began = time.monotonic()
        done = subprocess.run(command, cwd=cwd or self.root, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"`{shlex.join(command)}` ended with exit code {done.returncode}: {done.stdout}{done.stderr}")
        return time.monotonic() - began

    def ask(self, *command: str) -> list[str]:
        """Return the lines that a command prints."""
        done = subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def wait(self) -> None:
        """Wait until each change that a hook saw is answered."""
        deadline = time.monotonic() + PATIENCE
        while any((self.root / STATE / name).exists() for name in ("heard", "heard.taken", "waiting")):
            if time.monotonic() > deadline:
                raise Failed(f"no end after {PATIENCE} s; see {self.root / STATE / 'passes.log'}")
            time.sleep(0.1)

    def passes(self) -> int:
        """Return how many passes there were."""
        logs = [self.root / STATE / name for name in ("passes.log.1", "passes.log")]
        return sum(log.read_text().count("a pass, asked for by") for log in logs if log.is_file())

    def results(self) -> set[str]:
        """Return the names of the published results."""
        names = self.ask("git", "-C", "sizes", "ls-tree", "--name-only", "HEAD")
        return {name for name in names if name.startswith("word")}


def example(root: Path, saves: int) -> None:
    """Walk through the example in a new folder."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    project = Project(root, {**os.environ, "PATH": programs, "DATALAD_LOG_LEVEL": "error"})
    project.run("minipach", "init", str(root), cwd=root.parent)
    project.run("datalad", "create", "-d", ".", "words")
    (root / "sizes" / "code").mkdir(parents=True)
    (root / "sizes" / "spec.yml").write_text(SPEC)
    (root / "sizes" / "code" / "count.sh").write_text(CODE)
    project.run("datalad", "save", "-m", "a pipeline")
    project.run("minipach", "hooks", "install")

    print("\n=== one save", flush=True)
    (root / "words" / "word0").write_text("hello")
    project.run("datalad", "save", "-d", ".", "-r", "-m", "one word")
    project.wait()
    need(project.results() == {"word0"}, f"results: {project.results()}")

    print("\n=== one more: the log has the save and the results, and no third commit", flush=True)
    before = project.ask("git", "rev-parse", "HEAD")[0]
    (root / "words" / "word1").write_text("hello hello")
    project.run("datalad", "save", "-d", ".", "-r", "-m", "another word")
    project.wait()
    log = project.ask("git", "log", "--format=%s", f"{before}..HEAD")
    print("\n".join(project.ask("git", "log", "--oneline", f"{before}..HEAD")), flush=True)
    need(log == ["minipach: sizes", "another word"], f"the log has {log}")
    time.sleep(2)  # whatever would start by itself would do so now
    project.wait()
    need(project.ask("git", "log", "--format=%s", f"{before}..HEAD") == log, "there is a third commit")

    print(f"\n=== {saves} saves in a row", flush=True)
    earlier, began = project.passes(), time.monotonic()
    for number in range(2, saves + 2):
        (root / "words" / f"word{number}").write_text("hello" * number)
        project.run("git", "annex", "add", "--quiet", ".", quiet=True, cwd=root / "words")
        project.run("git", "commit", "-q", "-m", f"word {number}", quiet=True, cwd=root / "words")
    saved = time.monotonic() - began
    project.wait()
    count = project.passes() - earlier
    print(
        f"{saves} saves in {saved:.0f} s; {count} passes; all done after {time.monotonic() - began:.0f} s", flush=True
    )
    wanted = {f"word{number}" for number in range(saves + 2)}
    need(project.results() == wanted, f"missing: {sorted(wanted - project.results())}")
    need(count <= max(3, saves // 3), f"{count} passes")
    plan = json.loads("\n".join(project.ask("minipach", "plan", "--json")))
    need(plan["pipelines"][0]["counts"]["run"] == 0, "something is left to run")

    print("\n=== without hooks, nothing happens by itself", flush=True)
    project.run("minipach", "hooks", "remove")
    project.run("git", "commit", "-q", "--allow-empty", "-m", "silence", cwd=root / "words")
    need(not (root / STATE / "heard").exists(), "a hook is left")
    print("done", flush=True)


def need(condition: bool, otherwise: str) -> None:
    """Fail if something is not as it is shown."""
    if not condition:
        raise Failed(otherwise)


def main() -> int:
    """Run the example; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="make the project there and keep it")
    parser.add_argument("--saves", type=int, default=20, help="how many saves in a row [default: 20]")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="minipach-hooks."))
    try:
        example(arguments.folder.resolve() if arguments.folder else scratch / "study", arguments.saves)
    except Failed as error:
        print(f"hooks: {error}", file=sys.stderr)
        return 1
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(scratch)], check=False)
        shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
