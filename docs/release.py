"""Build a release into dist/, check it, and try it in a new environment: `make release`.

Use: python docs/release.py [--draft | --sign-off]
  --draft     CHANGELOG.md need not have a section for the version
  --sign-off  build nothing; give CHANGELOG.md a section for the version: that of [Unreleased], with the date of today
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

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
        sys.exit(f"CHANGELOG.md: no section for {wanted}. Fix: python docs/release.py --sign-off")
    return found[1].strip()


def signed_off(changelog: str, wanted: str, date: str) -> str:
    """Return the changelog with the unreleased changes as the section of a version.

    SystemExit if there are none, or if the version has a section.
    """
    if re.search(rf"^## \[{re.escape(wanted)}\]", changelog, re.MULTILINE):
        sys.exit(f"CHANGELOG.md: {wanted} has a section. Fix: set __version__ to the next version")
    before, heading, rest = changelog.partition("## [Unreleased]\n")
    found = re.match(r"(.*?)(?=^## \[|\Z)", rest, re.MULTILINE | re.DOTALL)
    if not heading or not found or not found[1].strip():
        sys.exit("CHANGELOG.md: [Unreleased] has no changes. Fix: write them there")
    return f"{before}{heading}\n## [{wanted}] - {date}\n{rest}"


def check_tag(wanted: str) -> None:
    """Check that a tag of this commit, if there is one, names the version. SystemExit if it does not."""
    tags = run("git", "tag", "--points-at", "HEAD").split()
    versions = [tag for tag in tags if re.fullmatch(r"v\d+(\.\d+)*\S*", tag)]
    if versions and f"v{wanted}" not in versions:
        sys.exit(f"minipach/__init__.py: version {wanted}, but the tag of this commit is {', '.join(versions)}")


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
    check_tag(wanted)
    if arguments == ["--sign-off"]:
        text = signed_off((ROOT / "CHANGELOG.md").read_text(), wanted, datetime.now(UTC).strftime("%Y-%m-%d"))
        (ROOT / "CHANGELOG.md").write_text(text)
        print(f"CHANGELOG.md: signed off {wanted}; next: git commit -am 'chore: release {wanted}' && git tag v{wanted}")
        return
    if arguments != ["--draft"]:
        changes((ROOT / "CHANGELOG.md").read_text(), wanted)
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    packages = sorted(DIST.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *packages)
    for package in packages:
        try_out(package, wanted)
        print(f"built and tried: {package.relative_to(ROOT)}")
    source = next(path for path in packages if path.name.endswith(".tar.gz"))
    for path in recipes().write(wanted, source, DIST):
        print(f"wrote: {path.relative_to(ROOT)}")


def recipes() -> ModuleType:
    """Return packaging/recipes.py as a module."""
    spec = importlib.util.spec_from_file_location("recipes", ROOT / "packaging" / "recipes.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(sys.argv[1:])
