"""Images from recipes: uv, podman and buildah for real; micromamba, docker and apptainer by stand-ins on PATH."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from minipach.environment.image_builders import build
from minipach.environment.recipe import ImageRecipe, read_recipe
from minipach.project.project import Project
from minipach.support.errors import UserError
from tests.fixtures.container_images import need, podman_config
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused

_TELL = 'printf "%s\\n" "$0 $*" >>"$LOG"\n'


def recipe_of(study: Study, name: str, **files: str) -> ImageRecipe:
    """Write a recipe and its files beside a spec, in a folder of their own if the name has one."""
    folder = study.root / "edges" / os.path.dirname(name)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in {os.path.basename(name): "", **files}.items():
        (folder / file).write_text(text)
    return read_recipe(Project(study.root), "edges", name, "edges/spec.yml:1:1")


def built(recipe: ImageRecipe, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """Build into a new folder."""
    (tmp_path / "work").mkdir()
    return tmp_path / "image", build(recipe, tmp_path / "image", tmp_path / "work")


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """Put a program on a PATH that has few others; its log."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    (programs / name).write_text(f"#!/bin/sh\n{_TELL}{script}")
    (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def wheel(folder: Path, more: str = "") -> str:
    """Write a wheel with one module, and perhaps a .pth file that runs code; its file name."""
    name = "tiny-1.5-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("tiny.py", "ANSWER = 42\n")
        if more:
            archive.writestr("tiny.pth", more)
        archive.writestr("tiny-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.5\n")
        archive.writestr(
            "tiny-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny-1.5.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        archive.writestr("tiny-1.5.dist-info/RECORD", "")
    return name


def _texts(image: Path) -> list[bytes]:
    with tarfile.open(image) as tar:
        scripts = [m for m in tar if m.isfile() and m.name.startswith("./usr/local/") and m.size < 1 << 20]
        return [stream.read() for m in scripts if (stream := tar.extractfile(m))]


@pytest.mark.slow
def test_a_pipeline_with_requirements_runs_and_reruns(study: Study, tmp_path: Path) -> None:
    study.put("images/a.txt", "alpha")
    wheel(study.root / "edges/env", "import os; os.path.isdir('/pfs') or os.mkdir('owned')\n")
    script = "python3 -c 'import tiny, sys; print(tiny.ANSWER, sys.prefix)' >/pfs/out/$(basename $images)"
    spec = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/go.sh]}\n'
    study.pipeline("edges", spec + "minipach: {environment: env/requirements.txt}\n", go=script)
    (study.root / "edges/env/requirements.txt").write_text("./tiny-1.5-py3-none-any.whl\n")
    before = study.minipach("plan", "edges")
    assert "edges: environment not built yet: env/requirements.txt" in before.out + before.err
    assert study.schedule()["edges"]["counts"]["ran"] == 1
    assert study.read("edges/a.txt") == b"42 /usr/local\n"
    assert not list(study.root.rglob("owned")), "a package's code runs in the sandbox only"
    image = study.root / "edges/.datalad/environments/env-requirements-txt/image"
    with tarfile.open(image) as tar:
        members = {member.name: member for member in tar}
    assert members["./usr/local/bin/python3"].linkname.startswith("/opt/python/bin/python3.")
    assert any(path.endswith("/site-packages/tiny.py") for path in members)
    assert {member.mtime for member in members.values()} == {0}
    assert not any(b"/minipach-image" in data for data in _texts(image)), "no path of the build is in the image"
    noted = study.git("edges", "show", "HEAD:.datalad/environments/env-requirements-txt/recipe")
    assert "package: tiny 1.5" in noted
    same = study.minipach("image", "build", "edges")
    assert same.out == "edges: env/requirements.txt has not changed since its image was built; nothing to do\n"
    head = study.git("edges", "rev-parse", "HEAD")
    before_digest = hashlib.sha256(image.read_bytes()).hexdigest()
    study.ok("git", "clone", "-q", str(study.root / "edges"), str(tmp_path / "clone"))
    study.ok("datalad", "rerun", "HEAD", cwd=tmp_path / "clone")
    assert study.ok("git", "status", "--porcelain", cwd=tmp_path / "clone") == ""
    assert study.ok("git", "rev-parse", "HEAD", cwd=tmp_path / "clone").strip() == head
    again = study.minipach("image", "build", "edges", "--again", "--json")
    assert again.json["is_new"]
    assert again.json["content"] == f"SHA256--{before_digest}", "the same recipe gives the same bytes"
    assert study.plan()["edges"]["counts"]["run"] == 0
    (study.root / "edges/env/requirements.txt").write_text("# none\n")
    study.ok("git", "commit", "-qam", "no packages", cwd=study.root / "edges")
    changed = study.minipach("plan", "edges")
    assert "environment changed since it was built: env/requirements.txt" in changed.out + changed.err
    assert "image env/requirements.txt changed" in changed.out
    assert study.minipach("lock", "edges").err.endswith("Fix: minipach image build edges --again\n")


def test_source_distributions_are_not_built_unless_allowed(study: Study, tmp_path: Path) -> None:
    study.copier()
    source = tmp_path / "evil"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\n")
    text = f"evil @ {source.as_uri()}\n"
    with pytest.raises(UserError, match=r"Building source distributions for `evil` is disabled.*--allow-builds"):
        built(recipe_of(study, "requirements.txt", **{"requirements.txt": text}), tmp_path)
    assert not (tmp_path / "owned").exists()


def test_a_python_version_that_is_a_path_runs_nothing(study: Study, tmp_path: Path) -> None:
    study.copier()
    files = {"pyproject.toml": "[project]\nname='x'\nversion='1'\n", ".python-version": "./evil\n"}
    with pytest.raises(UserError, match=r"\.python-version has no version"):
        built(recipe_of(study, "pyproject.toml", **files), tmp_path)


def test_micromamba_installs_what_a_pixi_lock_lists(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.copier()
    machine = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[os.uname().machine]
    url = f"https://conda.example/{machine}/zlib-1.3-h1.conda"
    lock = (
        f"environments: {{default: {{packages: {{{machine}: [{{conda: {url}}}]}}}}}}\n"
        f"packages: [{{conda: {url}, md5: 0123456789abcdef0123456789abcdef}}]\n"
    )
    script = (
        "while [ $# -gt 0 ]; do case $1 in --prefix) p=$2;; --file) f=$2;; esac; shift; done\n"
        '[ -n "$p" ] || { echo 2.0; exit; }\ncat "$f" >>"$LOG"\n'
        'mkdir -p "$p/bin" "$p/conda-meta"; echo zlib >"$p/bin/zlib-tool"; : >"$p/conda-meta/zlib-1.3-h1.json"\n'
    )
    log = stand_in(tmp_path, monkeypatch, "micromamba", script)
    image, lines = built(recipe_of(study, "pixi.lock", **{"pixi.lock": lock}), tmp_path)
    assert lines == ("builder: micromamba 2.0", "package: zlib-1.3-h1")
    assert "--relocate-prefix /usr/local" in log.read_text()
    assert f"@EXPLICIT\n{url}#0123456789abcdef0123456789abcdef\n" in log.read_text()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.read_bytes()))) as tar:
        assert "./usr/local/bin/zlib-tool" in tar.getnames()


@pytest.mark.parametrize("lock", ["[", "environments: 5", "environments: {default: {packages: {}}}"])
def test_a_lock_without_this_machine_is_an_error(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    study.copier()
    stand_in(tmp_path, monkeypatch, "micromamba", "")
    with pytest.raises(UserError, match="no environment `default`"):
        built(recipe_of(study, "pixi.lock", **{"pixi.lock": lock}), tmp_path)


@pytest.mark.parametrize("program", ["podman", "buildah", "docker"])
def test_a_dockerfile_is_built_by_what_is_there(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    study.copier()
    script = (
        '[ "$1" = build ] && for last; do :; done && ls "$last" >>"$LOG"\n'
        'while [ $# -gt 0 ]; do case $1 in --output) echo archive >"$2";; docker-archive:*) t=${1#docker-archive:}\n'
        'echo archive >"${t%%:*}";; --version) echo "$0 9.9" | sed "s,.*/,,";; esac; shift; done\n'
    )
    log = stand_in(tmp_path, monkeypatch, program, script)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/sbin:/sbin:{_without_builders(tmp_path)}")
    recipe = recipe_of(study, "env/Dockerfile", Dockerfile="FROM scratch\nCOPY tool /tool\n", tool="x")
    image, lines = built(recipe, tmp_path)
    assert image.read_text() == "archive\n"
    assert lines == (f"builder: {program} 9.9",)
    said = log.read_text()
    assert "\ntool\n" in said, "the files beside it are in its context"
    assert ("--timestamp 0" in said) == (program != "docker")
    assert "spec.yml" not in said


@pytest.mark.slow
@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_the_same_image_is_built_twice_and_it_runs(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    need("podman", "runc", "busybox", program)
    if program == "buildah":
        monkeypatch.setenv("PATH", _path_without(tmp_path, "podman", "docker"))
    for name, value in podman_config(tmp_path / "podman").items():
        monkeypatch.setenv(name, value)
    study.put("images/a.txt", "alpha")
    spec = 'input: {pfs: {repo: images, glob: "/*"}}\n'
    command = "/bin/busybox echo $COLOUR $(/bin/busybox pwd) >$PFS/out/a.txt"
    study.pipeline("edges", f"{spec}transform: {{cmd: [/bin/sh, -c, '{command}']}}\n")
    with (study.root / "edges/spec.yml").open("a") as file:
        file.write("minipach: {environment: env/Dockerfile}\n")
    shutil.rmtree(study.root / "edges/code")
    (study.root / "edges/env").mkdir()
    shutil.copy(shutil.which("busybox") or "", study.root / "edges/env/busybox")
    text = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nWORKDIR /data\nENV COLOUR=blue\n"
    if program == "buildah":
        text += "RUN /bin/busybox true\n"
    (study.root / "edges/env/Dockerfile").write_text(text)
    assert study.schedule()["edges"]["counts"]["ran"] == 1
    assert study.read("edges/a.txt") == b"blue /data\n"
    again = study.minipach("image", "build", "edges", "--again", "--json")
    assert again.json["is_new"]
    assert study.plan()["edges"]["counts"]["run"] == 0, "the same recipe gives the same bytes"


def _path_without(tmp_path: Path, *names: str) -> str:
    """Return a PATH with all programs but these."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for file in Path(place).iterdir() if Path(place).is_dir() else ():
            if file.name not in names and not (folder / file.name).is_symlink():
                (folder / file.name).symlink_to(file)
    return str(folder)


def _without_builders(tmp_path: Path) -> str:
    """Return a folder with the small programs that a stand-in needs."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("ls", "sed", "sh", "git"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return str(folder)


def test_apptainer_builds_a_definition(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.copier()
    script = '[ "$1" = build ] && cat "$3" >"$2" || echo 1.4\n'
    stand_in(tmp_path, monkeypatch, "apptainer", script)
    image, lines = built(recipe_of(study, "tool.def", **{"tool.def": "Bootstrap: scratch\n"}), tmp_path)
    assert image.read_text() == "Bootstrap: scratch\n"
    assert lines == ("builder: 1.4",)


def test_without_a_builder_one_line_names_them(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.copier()
    recipe = recipe_of(study, "tool.def")
    monkeypatch.setenv("PATH", _without_builders(tmp_path))
    with pytest.raises(UserError, match="none of apptainer, singularity is on PATH"):
        built(recipe, tmp_path)


def test_what_a_builder_says_is_in_the_error(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.copier()
    stand_in(tmp_path, monkeypatch, "apptainer", 'printf "FATAL: \\033[2Jno such base\\n" >&2; exit 3\n')
    with pytest.raises(
        UserError, match=r"edges/spec.yml:1:1: environment tool.def: apptainer failed: FATAL: "
    ) as found:
        built(recipe_of(study, "tool.def"), tmp_path)
    assert "\x1b" not in str(found.value)


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ('STEP 1\\nError: building at STEP "COPY a /a": stat: "/a": no such file or directory\\n', "env/"),
        ("Error: initializing source: dial tcp: lookup nosuch: no such host\\n", "network"),
        ('{"x": 1}\\nError: Unknown instruction: "X" &imagebuilder.Step{Env:[]string{"PATH=x"}}\\n', "commit"),
    ],
)
def test_a_failed_build_has_the_fix_of_its_cause(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, fix: str
) -> None:
    study.copier()
    stand_in(tmp_path, monkeypatch, "podman", f"printf '%b' '{said}' >&2; exit 3\n")
    with refused("environment.build-failed", "edges/spec.yml:1:1", fix) as caught:
        built(recipe_of(study, "Dockerfile"), tmp_path)
    assert "imagebuilder" not in caught.problem.message and "STEP 1" not in caught.problem.message
