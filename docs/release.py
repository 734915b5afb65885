"""Build a release into dist/, check it, and try it in a new environment: `make release`.

Use: python docs/release.py [--draft]   (--draft: CHANGELOG.md need not have a section for the version)
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"


def version() -> str:
    """Return the version that the package has."""
    found = re.search(r'^__version__ = "([^"]+)"$', (ROOT / "minipach/__init__.py").read_text(), re.MULTILINE)
    assert found
    return found[1]


def changes(changelog: str, wanted: str) -> str:
    """Return what the changelog says of a version; SystemExit if it says nothing."""
    heading = rf"^## \[{re.escape(wanted)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## \[|\Z)"
    found = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        sys.exit(f"CHANGELOG.md: no section for {wanted}. Fix: rename [Unreleased] to [{wanted}] - YYYY-MM-DD")
    return found[1].strip()


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a program; SystemExit with what it printed if it fails."""
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def try_out(package: Path, wanted: str) -> None:
    """Install a package into a new environment, and make a project with it."""
    with tempfile.TemporaryDirectory() as there:
        venv.create(Path(there, "venv"), with_pip=True)
        programs = Path(there, "venv", "bin")
        run(programs / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", package)
        said = run(programs / "minipach", "--version", cwd=Path(there)).strip()
        if said != f"minipach {wanted}":
            sys.exit(f"{package.name}: --version prints {said!r}")
        run(programs / "minipach", "init", "study", cwd=Path(there))
        run(programs / "minipach", "-C", "study", "check", cwd=Path(there))


def main(arguments: list[str]) -> None:
    """Build, check and try out both packages."""
    wanted = version()
    if arguments != ["--draft"]:
        changes((ROOT / "CHANGELOG.md").read_text(), wanted)
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    packages = sorted(DIST.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *packages)
    for package in packages:
        try_out(package, wanted)
        print(f"built and tried: {package.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
