"""Walk through examples/photographs in a new folder, with the commands that a person would type."""

import argparse
import importlib.util
import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent / "photographs"
PIPELINES = ("edges", "montage")
LATECOMER = "chelsea.png"
SECOND_NAME = "cat.png"
NOT_PHOTOGRAPHS = {"color.png", "horse.png", "logo.png"}
SMALLEST = 10_000  # bytes; scikit-image's smaller pictures are test patterns
MARKER = Path(".git", "minipach-demo")


class Failed(Exception):
    """The demo can't go on; the message says why."""


class Walk:
    """Runs commands inside one project folder and shows them as they would be typed there."""

    def __init__(self, project: Path, env: dict[str, str]) -> None:
        self.project = project
        self.env = env

    def heading(self, text: str) -> None:
        print(f"\n=== {text}", flush=True)

    def run(self, *command: str, above: bool = False) -> None:
        """Run a command in the project (above: in the folder that holds it); it must exit with 0."""
        folder = self.project.parent if above else self.project
        self.say(f"{'' if above else folder.name}$ {shlex.join(command)}")
        code = subprocess.run(command, cwd=folder, env=self.env, check=False).returncode
        if code:
            raise Failed(f"`{shlex.join(command)}` ended with exit code {code} in {folder}")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def ask(self, *command: str) -> str:
        """What a command prints, without showing it."""
        done = subprocess.run(command, cwd=self.project, env=self.env, check=False, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"`{shlex.join(command)}` failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def copy(self, source: Path, target: str) -> None:
        """Copy a file or a folder into the project."""
        shown = ["cp", *(["-r"] if source.is_dir() else []), str(source), target]
        self.say(f"{self.project.name}$ {shlex.join(shown)}")
        if source.is_dir():
            shutil.copytree(source, self.project / target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, self.project / target / source.name)


def photographs() -> dict[str, Path]:
    """The photographs that the scikit-image package brings along, by name."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise Failed("scikit-image is missing; run `make demo`, or pip install '.[demo]'")
    found = {
        path.name: path
        for path in sorted(Path(package.origin).parent.joinpath("data").iterdir())
        if path.suffix in {".jpg", ".png"} and path.stat().st_size > SMALLEST and path.name not in NOT_PHOTOGRAPHS
    }
    if LATECOMER not in found or len(found) == 1:
        raise Failed(f"the installed scikit-image has no {LATECOMER} among its photographs")
    return found


def environment() -> dict[str, str]:
    """Our environment, with an author for git where it has none: git config stays as it is."""
    env = dict(os.environ)
    if shutil.which("minipach") is None:
        raise Failed("minipach is not on PATH; run `make demo`, or activate the environment that it is in")
    made_up = []
    for key, value in (("name", "minipach demo"), ("email", "demo@example.com")):
        known = subprocess.run(["git", "config", f"user.{key}"], check=False, capture_output=True).stdout
        for role in ("AUTHOR", "COMMITTER"):
            variable = f"GIT_{role}_{key.upper()}"
            if not known.strip() and not env.get(variable):
                env[variable] = value
                made_up.append(variable)
    if made_up:
        print("git has no user.name and user.email; this demo commits as minipach demo <demo@example.com>")
    return env


def remove_earlier(project: Path) -> None:
    """Remove what an earlier demo made, and nothing else. git-annex makes its files and folders read-only."""
    if project.is_symlink() or not (project / MARKER).is_file():
        raise Failed(f"{project}: exists and was not made by this demo; remove it, or name another folder")
    for folder, _, _ in os.walk(project):
        os.chmod(folder, stat.S_IRWXU)
    shutil.rmtree(project)


def make_project(walk: Walk, pictures: dict[str, Path]) -> None:
    """Make a project with a dataset of photographs and two pipelines, all saved."""
    walk.heading("A project, and in it a dataset with photographs")
    try:
        walk.run("minipach", "init", walk.project.name, above=True)
    finally:
        if (walk.project / MARKER.parent).is_dir():
            (walk.project / MARKER).write_text("made by examples/demo.py, which may remove this project\n")
    walk.run("datalad", "create", "-d", ".", "images")
    first = [path for name, path in pictures.items() if name != LATECOMER]
    walk.say(f"(copying {len(first)} photographs from {first[0].parent} into images)")
    for path in first:
        shutil.copyfile(path, walk.project / "images" / path.name)

    walk.heading("Two pipelines: the edges in each picture, and a contact sheet of them all")
    for name in PIPELINES:
        walk.copy(EXAMPLE / name, ".")
    walk.run("datalad", "save", "--recursive", "-m", "Photographs, and two pipelines")


def compute(walk: Walk) -> None:
    """Compute everything, then nothing."""
    walk.heading("Compute what is missing: everything")
    walk.run("minipach", "schedule")

    walk.heading("Once more: nothing to do")
    before = walk.ask("git", "rev-parse", "HEAD")
    walk.run("minipach", "schedule")
    if walk.ask("git", "rev-parse", "HEAD") != before:
        raise Failed("the second `minipach schedule` made a commit, with nothing to do")


def add_one(walk: Walk, picture: Path) -> None:
    """Add one picture: one datum of edges runs, and the montage after it."""
    walk.heading("One more photograph: it alone is computed, and the contact sheet follows")
    walk.copy(picture, "images")
    walk.run("datalad", "save", "--recursive", "-m", f"Add {picture.name}")
    walk.run("minipach", "plan")
    walk.run("minipach", "schedule")


def add_copy(walk: Walk) -> None:
    """Add a picture that is there already, under another name: it gets a copy of the result."""
    walk.heading("The same photograph under a second name: nothing of edges is computed, and the result is no other's")
    walk.run("cp", f"images/{LATECOMER}", f"images/{SECOND_NAME}")
    walk.run("datalad", "save", "--recursive", "-m", f"Add {SECOND_NAME}")
    walk.run("minipach", "plan", "edges", "--no-downstream")
    walk.run("minipach", "schedule")
    first, second = (walk.project / "edges" / name for name in (LATECOMER, SECOND_NAME))
    if first.read_bytes() != second.read_bytes():
        raise Failed(f"{second} is not the copy of {first}")


def show(walk: Walk) -> None:
    """Show the result, the record of one datum, and how to repeat it."""
    record = walk.ask("git", "-C", "edges", "log", "-1", "--format=%H", "--grep=DATALAD RUNCMD", "--", LATECOMER)
    sheet = walk.project / "montage" / "contact-sheet.png"
    if not record or not sheet.is_file():
        raise Failed(f"no {sheet}" if record else f"edges/{LATECOMER} has no run record")

    walk.heading(f"The run record of edges/{LATECOMER}, in git")
    walk.run("git", "-C", "edges", "--no-pager", "log", "-1", record)
    walk.heading("The history of edges")
    walk.run("git", "-C", "edges", "--no-pager", "log", "--oneline", "-10")
    walk.heading("The result")
    walk.say(f"{sheet}")
    walk.heading("To repeat that run in a fresh clone, without minipach")
    programs = Path(shutil.which("datalad") or "").parent
    walk.say(f'export PATH={shlex.quote(str(programs))}:"$PATH"')
    walk.say(f"datalad clone {shlex.quote(str(walk.project / 'edges'))} edges-again")
    walk.say(f"cd edges-again && datalad rerun {record}")


def main() -> int:
    """Run the demo; 0 if every step succeeded, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="demo", help="the new project (default: ./demo)")
    parser.add_argument("--force", action="store_true", help="replace what an earlier demo made there")
    options = parser.parse_args()
    project = Path(os.path.abspath(options.folder))
    try:
        if os.path.lexists(project):
            if not options.force:
                raise Failed(f"{project}: exists; name another folder, or --force to replace an earlier demo")
            remove_earlier(project)
        pictures = photographs()
        walk = Walk(project, environment())
        make_project(walk, pictures)
        compute(walk)
        add_one(walk, pictures[LATECOMER])
        add_copy(walk)
        show(walk)
    except Failed as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
