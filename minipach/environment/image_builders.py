"""Build an image from a recipe: by uv, micromamba, podman, buildah, docker or apptainer. No step needs root."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import yaml

from minipach.environment.base_system import (
    PYTHON_HOME,
    SystemLacksError,
    about_python,
    copy_libraries,
    copy_python,
    make_system,
)
from minipach.environment.image import archive_folder
from minipach.environment.recipe import ImageRecipe
from minipach.git.child_environment import child_environment, user_path
from minipach.model.recipe_kind import RecipeKind
from minipach.support.errors import UserError
from minipach.support.text import printable

_ENV = "usr/local"  # where an environment is in the image: its programs are on PATH there
_FROM_SOURCE = re.compile(r"no-build|building (?:source distributions|.*) is disabled|--no-binary", re.IGNORECASE)
_UNREACHED = re.compile(
    r"failed to fetch|dial tcp|no such host|connection refused|invalid peer certificate|timed out", re.IGNORECASE
)
_NOT_COPIED = re.compile(r"\b(?:COPY|ADD)\b.*no such file or directory", re.DOTALL)
_INSIDE = re.compile(r" &\w+\.\w+\{.*")  # a value of a builder's own program
_UNCLEAN = re.compile(r"[\s×╰│─▶├╴]+")
_MOST = 400  # characters of what a program says
_LEVEL = 3  # of gzip: twice as fast as 6, and 5% larger


def build(recipe: ImageRecipe, target: Path, scratch: Path) -> tuple[str, ...]:
    """Build the image of a recipe as a file.

    Args:
        recipe: The recipe to build.
        target: The file to write.
        scratch: An empty folder for the files meanwhile, on a disk with space for them.

    Returns:
        Lines on what is in the image: the builder, and the packages with their versions, where it lists them.

    Raises:
        UserError: No builder is here, or it failed.
    """
    staged = scratch / "recipe"
    staged.mkdir()
    file = recipe.stage(staged)
    try:
        return _BUILDERS[recipe.kind](recipe, file, target, scratch)
    except SystemLacksError as error:
        raise UserError(
            recipe.problem("environment.no-system", f"this machine's system can't be copied ({error})")
        ) from None


def _of_python(recipe: ImageRecipe, file: Path, target: Path, scratch: Path) -> tuple[str, ...]:
    uv = _need(recipe, "uv")
    root = scratch / "root"
    root.mkdir()
    make_system(root)
    env = root / _ENV
    shutil.rmtree(env)  # uv makes no venv where something is
    wanted_python = _wanted_python(recipe, file)
    _run(recipe, uv, "venv", "--quiet", "--relocatable", "--no-project", "--python", wanted_python, str(env))
    venv_python = env / "bin" / "python3"
    python = about_python(venv_python)
    wanted = _requirements(recipe, uv, file, scratch, python.executable)
    builds = () if recipe.allow_builds else ("--no-build",)
    install = ("pip", "install", "--quiet", "--link-mode", "copy", "--python", str(venv_python), *builds)
    _run(recipe, uv, *install, "--requirement", str(wanted), cwd=file.parent)
    copy_python(python, root)
    _settle_venv(env, python.name, python.version)
    copy_libraries(root)
    _compile(python.executable, root)
    _pack(root, target)
    return (f"builder: {_run(recipe, uv, '--version').strip()}", f"python3: {python.version}", *_packages(env))


def _packages(env: Path) -> Iterator[str]:
    """Yield the packages of a venv. No Python is asked, since packages can have code that runs when one starts."""
    names = sorted(path.name.removesuffix(".dist-info") for path in env.glob("lib/*/site-packages/*.dist-info"))
    yield from (f"package: {printable(name.replace('-', ' ', 1))}" for name in names)


def _wanted_python(recipe: ImageRecipe, file: Path) -> str:
    """Return the Python that the files ask for, as uv takes it: by default the one that the user has on PATH."""
    pinned = file.with_name(".python-version")
    if pinned.is_file():
        word = (pinned.read_text("utf-8", "replace").split() or ["3"])[0]
        if not re.fullmatch(r"[0-9a-z][\w.+@-]*", word):  # a path would be a program that is run here
            raise UserError(recipe.problem("environment.bad-lock", ".python-version has no version", "write 3.12"))
        return word
    asked = ""
    for name, keys in (("uv.lock", ("requires-python",)), ("pyproject.toml", ("project", "requires-python"))):
        if file.name in ("uv.lock", "pyproject.toml") and file.with_name(name).is_file():
            asked = asked or _toml_text(file.with_name(name), *keys)
    default = shutil.which("python3", path=user_path())
    return asked or default or "3"


def _toml_text(path: Path, *keys: str) -> str:
    try:
        found: Any = tomllib.loads(path.read_text("utf-8", "replace"))
    except tomllib.TOMLDecodeError:
        return ""  # uv says where
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) and re.fullmatch(r"[\w.,<>=!~ *]+", found) else ""


def _requirements(recipe: ImageRecipe, uv: str, file: Path, scratch: Path, python: Path) -> Path:
    """Return a file of requirements: those of the lock file, where there is one."""
    lock = file.with_name("uv.lock")
    if file.name not in ("uv.lock", "pyproject.toml") or not lock.is_file():
        return file
    target = scratch / "locked.txt"
    options = ("--frozen", "--no-dev", "--no-emit-project", "--no-header", "--output-file", str(target))
    _run(recipe, uv, "export", "--quiet", *options, "--python", str(python), cwd=file.parent)
    return target


def _settle_venv(env: Path, name: str, version: str) -> None:
    """Lead a venv to the Python in the image, and remove what is of use only where it was made."""
    for left in (".lock", ".gitignore", "CACHEDIR.TAG"):
        (env / left).unlink(missing_ok=True)
    for path in sorted((env / "bin").iterdir()):
        if path.name.lower().startswith(("activate", "deactivate", "pydoc.bat")) or path.is_symlink():
            path.unlink()
    for link in ("python", "python3", name):
        (env / "bin" / link).symlink_to(f"/{PYTHON_HOME}/bin/{name}")
    for record in env.glob("lib/*/site-packages/*.dist-info/RECORD"):
        _forget_origin(record)
    (env / "pyvenv.cfg").write_text(
        f"home = /{PYTHON_HOME}/bin\nimplementation = CPython\nversion_info = {version}\n"
        "include-system-site-packages = false\nrelocatable = true\n"
    )


def _forget_origin(record: Path) -> None:
    """Remove what says from where and when a package was installed: temporary paths and times."""
    origin = record.with_name("direct_url.json")
    is_local = origin.is_file() and '"file://' in origin.read_text("utf-8", "replace")
    names = ("uv_cache.json", *(("direct_url.json",) if is_local else ()))
    rows = record.read_text("utf-8").splitlines(keepends=True)
    record.write_text("".join(row for row in rows if not row.startswith(_rows_of(record, names))), "utf-8")
    for name in names:
        record.with_name(name).unlink(missing_ok=True)


def _rows_of(record: Path, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{record.parent.name}/{name}," for name in names)


def _compile(python: Path, root: Path) -> None:
    """Write bytecode that counts whatever the time of its source, since the image has none."""
    options = ("-q", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/")
    folders = [str(root / PYTHON_HOME / "lib"), str(root / _ENV / "lib")]
    subprocess.run(  # files of packages that are for another Python don't compile, and aren't needed
        [python, "-I", "-m", "compileall", *options, *folders],
        env={**child_environment(), "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def _of_conda(recipe: ImageRecipe, file: Path, target: Path, scratch: Path) -> tuple[str, ...]:
    mamba = _need(recipe, "micromamba")
    root = scratch / "root"
    root.mkdir()
    make_system(root)
    if file.name == "pixi.lock":
        explicit = scratch / "explicit.txt"
        explicit.write_text(_explicit(recipe, file))
        file = explicit
    prefix = ("--prefix", str(root / _ENV))
    shutil.rmtree(root / _ENV)
    options = ("--yes", "--quiet", "--always-copy", "--relocate-prefix", f"/{_ENV}")
    _run(recipe, mamba, "create", *options, *prefix, "--file", str(file), cwd=file.parent)
    listed = sorted(path.stem for path in (root / _ENV / "conda-meta").glob("*.json"))
    copy_libraries(root)
    _pack(root, target)
    version = _run(recipe, mamba, "--version").strip()
    return (f"builder: micromamba {printable(version)}", *(f"package: {printable(name)}" for name in listed))


def _explicit(recipe: ImageRecipe, file: Path) -> str:
    """Return the packages of a pixi.lock for this machine, as micromamba takes them: each by its address and hash."""
    machine = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}.get(os.uname().machine, "")
    try:
        lock = yaml.safe_load(file.read_text("utf-8", "replace"))
        rows = lock["environments"]["default"]["packages"][machine]
        hashes = {str(p.get("conda") or p.get("url")): str(p.get("md5") or "") for p in lock.get("packages", [])}
        urls = [str(row["conda"]) for row in rows if "conda" in row]
        others = [str(row.get("pypi")) for row in rows if "conda" not in row]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise UserError(
            recipe.problem(
                "environment.bad-lock", f"no environment `default` for {machine or 'this machine'}", "pixi lock"
            )
        ) from None
    if others:
        raise UserError(
            recipe.problem(
                "environment.bad-lock",
                f"it has packages of PyPI ({printable(others[0])[:80]}), which micromamba does not install",
                "use packages of conda, or requirements.txt",
            )
        )
    bad = next((url for url in urls if not re.fullmatch(r"https?://[!-~]+", url)), None)
    if bad is not None:
        raise UserError(recipe.problem("environment.bad-lock", f"{printable(bad)[:80]} is no address of a package"))
    return "\n".join(["@EXPLICIT", *(f"{url}#{hashes[url]}" if hashes.get(url) else url for url in urls)]) + "\n"


def _of_dockerfile(recipe: ImageRecipe, file: Path, target: Path, scratch: Path) -> tuple[str, ...]:
    program, name = _first(recipe, "podman", "buildah", "docker"), f"localhost/minipach-{recipe.digest[:16]}:latest"
    # the form of docker would have the names of the build's containers in it
    same = () if os.path.basename(program) == "docker" else ("--timestamp", "0", "--format", "oci")
    _run(recipe, program, "build", *same, "--file", str(file), "--tag", name, str(file.parent))
    if os.path.basename(program) == "buildah":
        _run(recipe, program, "push", name, f"docker-archive:{target}:{name}")
    else:
        kind = ("--format", "docker-archive") if os.path.basename(program) == "podman" else ()
        _run(recipe, program, "save", *kind, "--output", str(target), name)
    _run(recipe, program, "rmi", name)
    version = printable((_run(recipe, program, "--version").strip().splitlines() or [""])[0])
    return (f"builder: {version}",)


def _of_apptainer(recipe: ImageRecipe, file: Path, target: Path, scratch: Path) -> tuple[str, ...]:
    program = _first(recipe, "apptainer", "singularity")
    made = scratch / "image.sif"
    _run(recipe, program, "build", str(made), str(file), cwd=file.parent)
    if not made.is_file():
        raise UserError(recipe.problem("environment.build-failed", f"{os.path.basename(program)} left no image"))
    shutil.move(made, target)
    return (f"builder: {printable(_run(recipe, program, '--version').strip())}",)


def _need(recipe: ImageRecipe, program: str) -> str:
    found = shutil.which(program, path=child_environment()["PATH"])
    if found is None:
        fix = "pip install uv" if program == "uv" else f"install {program}"
        raise UserError(recipe.problem("environment.no-builder", f"building it takes {program}", fix))
    return found


def _first(recipe: ImageRecipe, *programs: str) -> str:
    path = child_environment()["PATH"]
    for program in programs:
        if found := shutil.which(program, path=path):
            return found
    names = ", ".join(programs)
    raise UserError(recipe.problem("environment.no-builder", f"none of {names} is on PATH", f"install one of {names}"))


def _run(recipe: ImageRecipe, program: str, *words: str, cwd: Path | None = None) -> str:
    """Run a builder. Returns what it prints; UserError with the last of what it says where it fails."""
    try:
        done = subprocess.run(
            [program, *words],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise UserError(recipe.problem("environment.build-failed", f"{program}: {error.strerror}")) from None
    if done.returncode == 0:
        return os.fsdecode(done.stdout)
    said = os.fsdecode(done.stderr or done.stdout)
    said = said.replace(f"{cwd}/", "").replace(str(cwd), ".") if cwd else said
    said = printable(_UNCLEAN.sub(" ", said).strip().rstrip("."))
    said = _INSIDE.sub("", said[max(0, said.rfind("Error: ")) :])  # what it did before is no error
    said = said if len(said) <= _MOST else "..." + said[-_MOST:]
    name = os.path.basename(program)
    fix = "correct the recipe, and commit it"
    if _UNREACHED.search(said):
        fix = "check the network, its certificates and the address, then try again"
    elif _NOT_COPIED.search(said):
        fix = "move the recipe and what it copies to a folder of its own, such as env/, and commit it"
    if name == "uv" and _FROM_SOURCE.search(said):
        fix = "name a version with a wheel, or build with `minipach image build PIPELINE --allow-builds`"
    raise UserError(
        recipe.problem("environment.build-failed", f"{name} failed: {said or f'exit code {done.returncode}'}", fix)
    )


def _environment() -> Mapping[str, str]:
    env = child_environment({"UV_NO_PROGRESS": "1", "NO_COLOR": "1"})
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME"):
        env.pop(name, None)
    return env


def _pack(root: Path, target: Path) -> None:
    """Write a root file system as an archive that depends on its files alone."""
    for path in _all(root):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    with target.open("wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as stream:
        archive_folder(root, cast(IO[bytes], stream))


def _all(root: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(root):
        yield from (Path(here, name) for name in (*folders, *names))


_BUILDERS: dict[RecipeKind, Callable[[ImageRecipe, Path, Path, Path], tuple[str, ...]]] = {
    "python": _of_python,
    "conda": _of_conda,
    "dockerfile": _of_dockerfile,
    "apptainer": _of_apptainer,
}
