"""Images of a registry (`ubuntu`, `user/name:tag`, `host/name@sha256:...`): names, and fetching one as an archive."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.model.launch_protocol import RUNTIME
from minipach.support.errors import Problem, UserError

SCHEME = "docker://"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_FILE = re.compile(r".*\.(sif|simg|img|sqfs|sqsh|squashfs|squash|ext3|tar|tgz|gz|xz|bz2|zst|oci|json|yml|yaml)")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MOST = 200  # characters of what a program says


@dataclass(frozen=True, slots=True)
class Reference:
    """An image of a registry. name: with the registry's host · tag: "" if none is given · digest: hex, "" if none."""

    name: str
    tag: str
    digest: str

    @property
    def full(self) -> str:
        """The whole reference, as every program takes it: by its digest if that is given, else by its tag."""
        return f"{self.name}@sha256:{self.digest}" if self.digest else f"{self.name}:{self.tag or 'latest'}"

    @property
    def tagged(self) -> str:
        """A name that an archive can have: never with a digest."""
        return f"{self.name}:{self.tag or 'latest'}"


def parse_reference(text: str) -> Reference | None:
    """Return the image of a registry that a text names, None if it can't be one (or is a file's name, by its end)."""
    text = text.removeprefix(SCHEME)
    if _FILE.fullmatch(text):
        return None
    found = _reference(text)
    if found is None:
        return None
    path, tag, digest = found
    if not _has_host(path):
        path = "docker.io/" + (path if "/" in path else f"library/{path}")
    return Reference(path, tag, digest)


def _has_host(path: str) -> bool:
    host, slash, _ = path.partition("/")
    return bool(slash) and ("." in host or ":" in host or host == "localhost")


def _reference(text: str) -> tuple[str, str, str] | None:
    """Return the path with the host (if one is given), the tag and the digest."""
    rest, _, digest = text.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        return None
    path, tag = rest, ""
    if ":" in rest.rpartition("/")[2]:
        path, _, tag = rest.rpartition(":")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
            return None
    host, _, below = path.partition("/")
    if _has_host(path) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?", host):
        return None
    if not re.fullmatch(rf"{_PART}(/{_PART})*", below if _has_host(path) else path):
        return None
    return path, tag, digest.removeprefix("sha256:")


def fetch(reference: Reference, target: Path) -> str:
    """Write the image as an archive (apptainer: as a SIF file) to `target`. Return its digest (hex), "" if unknown.

    The first program on PATH that can do it does. UserError, in one line, if none can.
    """
    said = []
    for program in _programs():
        try:
            digest = _FETCHERS[program](program, reference, target)
        except _FetchError as error:
            said.append(f"{program}: {error}")
            target.unlink(missing_ok=True)
            continue
        if target.is_file() and target.stat().st_size:
            return reference.digest or digest
        said.append(f"{program}: left no file")
    if not said:
        programs = ", ".join(_FETCHERS)
        raise UserError(
            Problem(
                "image.no-fetcher",
                f"image {reference.full}",
                f"not fetched, since none of {programs} is on PATH",
                "install one, or save the image as an archive and name that file",
            )
        )
    raise UserError(
        Problem("image.fetch-failed", f"image {reference.full}", f"could not be fetched: {'; '.join(said)}")
    )


class _FetchError(Exception):
    """A program could not do its part; the text is what it said."""


def _programs() -> Iterator[str]:
    """Yield the programs on PATH, the runtime that is asked for first."""
    forced = os.environ.get(RUNTIME, "")
    for program in sorted(_FETCHERS, key=lambda name: name != forced):
        if shutil.which(program):
            yield program


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        raise _FetchError(error.strerror or str(error)) from None
    if done.returncode:
        lines = [line.strip() for line in os.fsdecode(done.stderr or done.stdout).splitlines() if line.strip()]
        said = lines[-1] if lines else f"exit code {done.returncode}"
        raise _FetchError(said if len(said) <= _MOST else said[: _MOST - 3] + "...")
    return os.fsdecode(done.stdout).strip()


def _digest(text: str) -> str:
    found = _DIGEST.search(text)
    return found[1] if found else ""


def _with_skopeo(program: str, reference: Reference, target: Path) -> str:
    digest = reference.digest or _digest(_run(program, "inspect", "--format", "{{.Digest}}", SCHEME + reference.full))
    source = f"{reference.name}@sha256:{digest}" if digest else reference.full  # the tag may move meanwhile
    _run(program, "copy", "--quiet", SCHEME + source, f"docker-archive:{target}:{reference.tagged}")
    return digest


def _with_podman(program: str, reference: Reference, target: Path) -> str:
    _run(program, "pull", "--quiet", reference.full)
    digest = _digest(_run(program, "image", "inspect", "--format", "{{.Digest}}", reference.full))
    _run(program, "save", "--quiet", "--format", "docker-archive", "--output", str(target), reference.full)
    return digest


def _with_docker(program: str, reference: Reference, target: Path) -> str:
    _run(program, "pull", "--quiet", reference.full)
    digest = _digest(_run(program, "image", "inspect", "--format", '{{join .RepoDigests " "}}', reference.full))
    _run(program, "save", "--output", str(target), reference.full)
    return digest


def _with_apptainer(program: str, reference: Reference, target: Path) -> str:
    _run(program, "pull", str(target), SCHEME + reference.full)
    return ""  # it prints none


_FETCHERS: dict[str, Callable[[str, Reference, Path], str]] = {
    "skopeo": _with_skopeo,
    "podman": _with_podman,
    "docker": _with_docker,
    "apptainer": _with_apptainer,
    "singularity": _with_apptainer,
}
