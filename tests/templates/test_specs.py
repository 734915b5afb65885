"""The templates that come with minipach: each makes a pipeline that turns its sample into what is expected.

Heavy programs have a stand-in with the same command line, in the template's folder `stand-in`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import jsonschema
import pytest

from minipach.templates.library import available, describe
from tests.fixtures.projects import SHOWN, Study

SPECS = Path(__file__).parents[2] / "minipach" / "templates" / "specs"
NAMES = sorted(folder.name for folder in SPECS.iterdir())
CARRIED = {"template.yml", "spec.yml", "code", "sample", "expected", "stand-in"}


def files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def words(name: str) -> list[str]:
    """The options that make a pipeline from a template and its sample."""
    found = []
    for slot in describe(name).inputs:
        found += ["--input", f"{slot.name}=data/{name}/{slot.name}"]
    for key, value in describe(name).sample.get("values", {}).items():
        text = "null" if value is None else ",".join(value) if isinstance(value, list) else str(value)
        found += ["--set", f"{key}={text}"]
    return found


def test_all_can_be_used() -> None:
    assert [(one.name, one.problems) for one in available()] == [(name, ()) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_says_what_it_is(name: str) -> None:
    template = describe(name)
    jsonschema.Draft202012Validator.check_schema(template.parameters)
    assert template.description and template.inputs
    assert {path.name for path in (SPECS / name).iterdir()} <= CARRIED
    assert all(slot.description for slot in template.inputs)
    assert all("description" in one for one in template.parameters["properties"].values())
    stand_in = SPECS / name / "stand-in"
    assert sorted(template.sample.get("stand_in", [])) == sorted(files(stand_in))
    assert all(b"# A stand-in with the command line of" in path.read_bytes() for path in files(stand_in).values())


@pytest.mark.slow
def test_each_turns_its_sample_into_what_is_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.create(tmp_path / "study")
    programs = SHOWN / "stand-ins"
    programs.mkdir()
    for name in NAMES:
        for path in files(SPECS / name / "stand-in").values():
            (programs / path.name).write_bytes(path.read_bytes())
            (programs / path.name).chmod(0o755)
        for slot in describe(name).inputs:
            repo = f"data/{name}/{slot.name}"
            shutil.copytree(study.root / "images", study.root / repo, symlinks=True)
            with (study.root / ".gitmodules").open("a") as stream:
                stream.write(f'[submodule "{repo}"]\n\tpath = {repo}\n\turl = ./{repo}\n')
            for path, file in files(SPECS / name / "sample" / slot.name).items():
                study.put(f"{repo}/{path}", file.read_bytes(), save=False)
            study.save(repo)
        study.ok("git", "add", ".gitmodules", "data")
        made = study.minipach("new", name, "--from", name, *words(name), "--commit")
        assert (made.code, made.err) == (0, ""), made.err
    study.ok("git", "commit", "-qm", "samples")
    secret = study.root / ".git/minipach/secrets/freesurfer-license"
    secret.parent.mkdir(parents=True)
    secret.write_text("a licence")
    secret.chmod(0o600)
    for variable in ("PATH", "MINIPACH_PATH"):
        monkeypatch.setenv(variable, f"{programs}{os.pathsep}{os.environ['PATH']}")
    study.schedule("-j", "2")
    for name in NAMES:
        wanted = files(SPECS / name / "expected")
        assert sorted(study.outputs(name)) == sorted(wanted), name
        for path, file in wanted.items():
            content = study.read(f"{name}/{path}")
            # an empty file stands for a picture, whose bytes follow from the version of a library
            assert content == file.read_bytes() or (content and not file.stat().st_size), f"{name}/{path}"
