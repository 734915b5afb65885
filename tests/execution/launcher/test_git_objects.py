"""What the launcher takes from real repositories: git's own bytes, annexed content, nested datasets, own files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.container_images import Images, images, need
from tests.fixtures.launchers import SCRIPT, Launcher, datum, ok, shell, use

__all__ = ["images"]

COPY = ("cp", "-RP", "{images}", "{out}/")


class Repo:
    """A real repository."""

    def __init__(self, path: Path, *, annex: bool = True) -> None:
        need("git", "git-annex")
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q")
        self.git("config", "receive.denyCurrentBranch", "ignore")
        if annex:
            self.git("annex", "init", "-q")

    def git(self, *words: str) -> str:
        """Run git there."""
        done = subprocess.run(["git", *words], cwd=self.path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, path: str, data: bytes | str) -> Path:
        """Write a file."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return file

    def annexed(self, path: str, data: bytes | str) -> None:
        """Write a file and annex it."""
        self.write(path, data)
        self.git("annex", "add", "-q", "--force-large", path)

    def save(self) -> None:
        """Commit everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x", "--allow-empty")

    def nest(self, other: Path, path: str) -> Repo:
        """Clone another repository into this one as a submodule."""
        self.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), path)
        found = Repo.__new__(Repo)
        found.path = self.path / path
        found.git("annex", "init", "-q")
        found.git("annex", "get", "-q", ".")
        self.save()
        return found


@pytest.fixture
def pipeline(tmp_path: Path, images: Images) -> tuple[Repo, Launcher]:
    """A pipeline's repository with the launcher in it."""
    repo = Repo(tmp_path / "edges", annex=False)
    repo.write(".minipach/launch", SCRIPT)
    repo.write("spec.yml", "input: x\n")
    repo.save()
    return repo, Launcher(repo.path, images.env(), images)


def with_input(pipeline: tuple[Repo, Launcher], source: Repo) -> Repo:
    """The source as inputs/images of the pipeline."""
    return pipeline[0].nest(source.path, "inputs/images")


def copied(launch: Launcher, path: str = "/", *, runtime: str = "bubblewrap") -> dict[str, bytes]:
    """What a command sees of an input."""
    words = datum("n", "got", "-f", "images", "inputs/images", path)
    ok(launch(launch.image("host"), *words, *shell('cp -RP "$PFS/images" {out}/'), **use(runtime)))
    top = launch.dataset / "got" / "images"
    found = {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}
    shutil.rmtree(launch.dataset / "got")
    return found


@pytest.mark.parametrize("runtime", ["bubblewrap", pytest.param("none", marks=pytest.mark.slow)])
def test_inputs_are_gits_own_bytes(pipeline: tuple[Repo, Launcher], tmp_path: Path, runtime: str) -> None:
    """No line endings, filters or keywords of a checkout; annexed files, locked and unlocked; no housekeeping."""
    source = Repo(tmp_path / "source")
    source.write(".gitattributes", "*.txt text eol=crlf\n*.id ident\n* annex.largefiles=nothing\n")
    source.write("lines.txt", "one\ntwo\n")
    source.write("key.id", "$Id$\n")
    source.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    source.write(".datalad/config", "x")
    source.write("sub/.datalad/kept", "k")
    source.write("README", "r")
    (source.path / "link").symlink_to("lines.txt")
    source.save()
    source.annexed("locked.bin", b"\0locked")
    source.annexed("open.bin", b"\0open")
    source.annexed("sub/open.bin", b"\0open too")
    source.save()
    source.git("annex", "unlock", "-q", "open.bin", "sub/open.bin")
    source.save()
    inner = with_input(pipeline, source)
    for name in ("lines.txt", "key.id"):
        (inner.path / name).unlink()
    inner.git("checkout", "-q", "-f", ".")
    assert (inner.path / "lines.txt").read_bytes() == b"one\r\ntwo\r\n" and (inner.path / "key.id").stat().st_size > 8
    expected = {
        "lines.txt": b"one\ntwo\n",
        "key.id": b"$Id$\n",
        "run.sh": b"#!/bin/sh\n",
        "link": b"one\ntwo\n",
        "locked.bin": b"\0locked",
        "open.bin": b"\0open",
        "sub/open.bin": b"\0open too",
        "sub/.datalad/kept": b"k",
        "README": b"r",
    }
    launch = pipeline[1]
    assert copied(launch, runtime=runtime) == expected
    assert copied(launch, "/sub", runtime=runtime) == {k: v for k, v in expected.items() if k.startswith("sub/")}
    inner.write("new", "not committed")
    (inner.path / "lines.txt").write_text("edited\n")
    os.unlink(inner.path / "open.bin")
    inner.write("open.bin", "edited\n")
    os.unlink(inner.path / "sub/open.bin")
    inner.annexed("sub/open.bin", b"\0staged, not committed")
    inner.git("annex", "unlock", "-q", "sub/open.bin")
    assert copied(launch, runtime=runtime) == expected, "what counts is the commit"
    inner.git("annex", "drop", "-q", "--force", "locked.bin")
    words = datum("n", "got", "-f", "images", "inputs/images", "/locked.bin")
    done = launch(launch.image("host"), *words, "--", "true", **use(runtime))
    place = inner.path / "locked.bin"
    assert (done.returncode, done.stderr) == (
        126,
        f"datum: n: {place}: its content is not here; fetch it with: datalad get {place}\n",
    )
    assert copied(launch, "/run.sh", runtime=runtime) == {"run.sh": b"#!/bin/sh\n"}


@pytest.mark.slow
def test_what_is_no_data_is_not_seen_at_the_root_of_any_dataset(
    pipeline: tuple[Repo, Launcher], tmp_path: Path
) -> None:
    """Nested ones too; and of a pipeline's repository, only its outputs."""
    reserved = (".datalad/config", ".gitattributes", ".github/ci.yml", ".minipach/files")
    own = ("spec.yml", "code/c", "README.md")
    inner, results, outer = Repo(tmp_path / "inner"), Repo(tmp_path / "results"), Repo(tmp_path / "outer")
    for repo, more in ((inner, ("README.md", "code/c", "spec.json")), (results, own), (outer, ("code/c",))):
        for path in (*reserved, *more, "sub/.datalad/kept", "sub/README", "result"):
            if repo is not inner or path != ".minipach/files":
                repo.write(path, "k")
        repo.annexed("big", b"\0big")
        repo.save()
    outer.nest(inner.path, "deep/inner")
    outer.nest(results.path, "results")
    source = with_input(pipeline, outer)
    source.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    for name in ("deep/inner", "results"):
        subprocess.run(["git", "annex", "init", "-q"], cwd=source.path / name, check=True)
        subprocess.run(["git", "annex", "get", "-q", "."], cwd=source.path / name, check=True)
    kept = {"sub/.datalad/kept", "sub/README", "result", "big"}
    expected = {*kept, "code/c", *(f"results/{p}" for p in kept)}
    expected |= {f"deep/inner/{p}" for p in {*kept, "README.md", "code/c", "spec.json"}}
    launch = pipeline[1]
    assert set(copied(launch)) == expected
    assert set(copied(launch, "/deep")) == {p for p in expected if p.startswith("deep/")}
    assert set(copied(launch, "/deep/inner")) == {p for p in expected if p.startswith("deep/")}
    assert set(copied(launch, "/deep/inner/sub")) == {"deep/inner/sub/.datalad/kept", "deep/inner/sub/README"}
    assert copied(launch, "/deep/inner/big") == {"deep/inner/big": b"\0big"}
    assert set(copied(launch, "/results/sub")) == {"results/sub/.datalad/kept", "results/sub/README"}


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_the_pipelines_own_files(pipeline: tuple[Repo, Launcher], runtime: str) -> None:
    """What is below code/, what .minipach/files lists, and shared code; as committed, with no other file."""
    repo, launch = pipeline
    for path in (
        "code/run.sh",
        "code/sub/lib.py",
        "scripts/go.sh",
        "run.sh",
        "with space/ü",
        "hidden",
        "out.txt",
        "README",
    ):
        repo.write(path, f"{path}\r\n")
    repo.write(".gitattributes", "* text=auto eol=crlf\n")
    (repo.path / "code/run.sh").chmod(0o755)
    (repo.path / "link.sh").symlink_to("code/run.sh")
    repo.write(".minipach/files", "link.sh\nrun.sh\nscripts/go.sh\nwith space/ü\n")
    repo.write(".minipach/code/lib/shared/x.py", "shared")
    repo.save()
    repo.write("code/run.sh", "edited")
    repo.write("code/new.sh", "not committed")
    script = "cd ../..; find . -type f -o -type l | sort; cat lab/edges/code/run.sh; [ -x lab/edges/code/run.sh ]"
    done = launch(launch.image("host"), "-P", "lab/edges", *datum(), *shell(script), **use(runtime))
    own = ("code/run.sh", "code/sub/lib.py", "link.sh", "run.sh", "scripts/go.sh", "with space/ü")
    expected = [*(f"./lab/edges/{p}" for p in own), "./lib/shared/x.py", "code/run.sh"]
    assert (done.returncode, sorted(done.stdout.splitlines()[:-1])) == (0, sorted(expected[:-1])), done.stderr
    assert done.stdout.splitlines()[-1] == expected[-1]


def test_code_that_is_a_link_or_a_dataset(pipeline: tuple[Repo, Launcher], tmp_path: Path) -> None:
    repo, launch = pipeline
    tools = Repo(tmp_path / "tools")
    tools.write("run.sh", "echo from the dataset itself\n")
    tools.save()
    repo.nest(tools.path, "code/tools")
    repo.write(".minipach/code/pipeline/code/tools/run.sh", "echo from what is pinned\n")
    repo.write("real/run.sh", "echo from a link\n")
    repo.write(".minipach/files", "real/run.sh\n")
    repo.save()
    done = launch(launch.image("host"), *datum(), *shell("cd code/tools; sh run.sh; ls -A"))
    assert done.stdout == "from what is pinned\nrun.sh\n", done.stderr
    repo.git("rm", "-q", "-f", "-r", "code/tools", ".minipach/code")
    shutil.rmtree(repo.path / ".minipach/code", ignore_errors=True)
    shutil.rmtree(repo.path / "code", ignore_errors=True)
    (repo.path / "code").symlink_to("real")
    repo.save()
    done = launch(launch.image("host"), *datum(), "--", "sh", "code/run.sh")
    assert done.stdout == "from a link\n", done.stderr


def test_a_hostile_list_of_own_files(pipeline: tuple[Repo, Launcher]) -> None:
    """The list is committed by somebody: it leads to nothing outside, and what it names amiss is not there."""
    repo, launch = pipeline
    repo.write("code/run.sh", "ls -A; ls -A ..\n")
    for line in ("../outside", "/etc/passwd", "a/../../b"):
        repo.write(".minipach/files", line + "\n")
        repo.save()
        done = launch(launch.image("host"), *datum(), "--", "sh", "code/run.sh")
        assert (done.returncode, done.stdout) == (125, "") and "not a plain path" in done.stderr
    repo.write(".minipach/files", "gone\n:(exclude)code\n*\n")
    repo.save()
    done = launch(launch.image("host"), *datum(), "--", "sh", "code/run.sh")
    assert done.stdout == "code\npipeline\n", done.stderr


def test_a_worktree_whose_git_is_a_link(tmp_path: Path, images: Images) -> None:
    """As git-annex makes it of a linked worktree."""
    main = Repo(tmp_path / "main")
    main.write(".minipach/launch", SCRIPT)
    main.annexed("code/model.bin", b"\0model")
    main.save()
    slot = main.path / ".git" / "minipach" / "slot"
    main.git("worktree", "add", "-q", "--detach", str(slot))
    subprocess.run(["git", "annex", "init", "-q"], cwd=slot, check=True)
    launch = Launcher(slot, images.env(), images)
    done = launch(launch.image("host"), *datum(), "--", "cat", "code/model.bin")
    assert done.stdout == "\0model", done.stderr
