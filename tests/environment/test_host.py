"""The host environment's fingerprint: written once, drift is told, taken in only when asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from minipach.environment import host as hostenv
from tests.fixtures.container_images import images
from tests.fixtures.launchers import Launcher, launch
from tests.fixtures.projects import Study

__all__ = ["images", "launch"]

OLD = "minipach host environment\nsystem: Linux x86_64\npython3: 3.11.7\npackage: numpy 2.4.6\npackage: zarr 3.0\n"
PLACE = ".datalad/environments/host/image"


def test_drift_names_what_differs() -> None:
    now = OLD.replace("2.4.6", "2.5.0").replace("package: zarr 3.0\n", "program: sh sha256:ff\n")
    assert hostenv.drift(OLD, now) == (
        "numpy 2.4.6 -> 2.5.0",
        "sh absent -> sha256:ff",
        "zarr 3.0 -> absent",
    )
    assert hostenv.drift(OLD, OLD) == ()
    assert hostenv.drift(OLD, now, python=False) == ("sh absent -> sha256:ff",)


def test_the_fingerprint_is_text_that_the_launcher_knows() -> None:
    text = hostenv.fingerprint(["sh", "-c", "true"])
    assert text == hostenv.fingerprint(["sh", "-c", "true"])
    lines = text.splitlines()
    assert lines[0] == "minipach host environment"
    assert [line for line in lines if line.startswith("package: ")] == sorted(
        line for line in lines if line.startswith("package: ")
    )
    assert any(line.startswith("program: sh sha256:") for line in lines)
    assert any(line.startswith("python3: 3.") for line in lines)
    assert not any(line.startswith("program: ") for line in hostenv.fingerprint(["code/run.sh"]).splitlines())


def test_what_else_of_the_host_a_command_names_is_in_it(tmp_path: Path) -> None:
    tool = tmp_path / "my tool.sh"
    tool.write_text("true\n")
    cmd = ["sh", str(tool), "/pfs/images", "/dev/null", str(tmp_path), "code/run.sh"]
    before = hostenv.fingerprint(cmd)
    tool.write_text("false\n")
    (told,) = hostenv.drift(before, hostenv.fingerprint(cmd))
    assert told.startswith(f"{tool} sha256:")
    tool.unlink()
    assert hostenv.drift(before, hostenv.fingerprint(cmd))[0].endswith(" -> absent")
    assert f"file: {Path('/bin/sh')} sha256:" in hostenv.fingerprint(["/bin/sh", "-c", "true"])


@pytest.mark.slow
def test_a_script_outside_of_the_project_is_noted_and_its_change_is_told(study: Study, tmp_path: Path) -> None:
    study.put("images/a.txt", "alpha")
    tool = tmp_path / "tool.sh"
    tool.write_text('cp "$1" "$2"\n')
    study.pipeline(
        "edges",
        f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform:\n  cmd: [sh, {tool}, "{{images}}", "{{out}}"]\n',
    )
    assert study.minipach("check").reports("command.of-this-host", "edges/spec.yml:3:8", str(tool))
    study.schedule()
    tool.write_text('cat "$1" > "$2/new"\n')
    study.put("images/b.txt", "beta")
    for command in ("plan", "schedule"):
        assert f"({tool} sha256:" in study.minipach(command).err
    assert study.minipach("lock", "edges").code == 0
    assert {s["action"] for s in study.plan()["edges"]["datums"]} == {"run"}


@pytest.mark.slow
def test_a_new_package_is_told_and_taken_in_only_when_asked(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        study.ok(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / name))
    monkeypatch.setenv("MINIPACH_PATH", f"{tmp_path}/here/bin:{os.environ['MINIPACH_PATH']}")
    study.put("images/a.txt", "alpha")
    study.put("images/b.txt", "beta")
    study.copier()
    with (study.root / "edges/code/copy.sh").open("a") as script:
        script.write("# python3 is called here, so that its packages count\n")
    study.schedule()
    recorded = study.git("edges", "show", f"HEAD:{PLACE}")
    assert recorded.startswith("minipach host environment\n")
    head = study.git("edges", "rev-parse", "HEAD")

    (site,) = (tmp_path / "there/lib").glob("python3*/site-packages")
    info = site / "newcomer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: newcomer\nVersion: 1.0\n")
    elsewhere = {"MINIPACH_PATH": f"{tmp_path}/there/bin:{os.environ['MINIPACH_PATH']}"}

    again = study.minipach("schedule", env=elsewhere)
    assert (again.code, again.out) == (0, "nothing to do\n"), "written once: another host changes nothing by itself"
    assert study.git("edges", "rev-parse", "HEAD") == head
    plan = study.minipach("plan", env=elsewhere)
    assert "(newcomer absent -> 1.0)" in plan.err and "minipach lock edges" in plan.err
    assert "newcomer" not in study.minipach("plan").err
    doctor = study.minipach("doctor", env=elsewhere)
    assert "newcomer absent -> 1.0" in doctor.out + doctor.err and "minipach lock edges" in doctor.out + doctor.err

    lock = study.minipach("lock", "edges", env=elsewhere)
    assert lock.code == 0 and "newcomer absent -> 1.0" in lock.out + lock.err
    assert "newcomer absent -> 1.0" in study.git("edges", "log", "-1", "--format=%B")
    assert set(study.git("edges", "diff", "--name-only", head, "HEAD").split()) == {PLACE}
    assert study.git("edges", "status", "--porcelain") == "", "the checkout follows"
    locked = study.git("edges", "rev-parse", "HEAD")
    assert study.minipach("lock", "edges", env=elsewhere).code == 0
    assert study.git("edges", "rev-parse", "HEAD") == locked, "nothing new: nothing is committed"

    steps = study.plan()["edges"]["datums"]
    assert {s["name"]: s["action"] for s in steps} == {"a.txt": "run", "b.txt": "run"}
    assert all(s["reason"].startswith("image the host environment changed (env ") for s in steps)
    done = study.minipach("schedule", "--json", env=elsewhere)
    assert done.json["pipelines"][0]["counts"]["ran"] == 2
    assert study.minipach("schedule").out == "nothing to do\n"


def test_lock_says_why_it_has_nothing_to_lock(study: Study) -> None:
    study.pipeline("edges", 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {image: x.sif, cmd: [sh]}\n')
    done = study.minipach("lock", "edges")
    assert done.code == 2 and done.reports("image.unknown", "edges/spec.yml:2:20", "x.sif")
    study.put("x.sif", "an image", save=False)
    done = study.minipach("lock", "edges")
    assert done.code == 2 and done.reports("image.not-fetchable", "edges/spec.yml:2:20", "x.sif")
    study.copier()
    done = study.minipach("lock", "edges")
    assert done.code == 2 and done.reports("pipeline.not-a-dataset", "edges", "minipach schedule edges")


def test_a_rerun_in_another_environment_begins_with_one_line(launch: Launcher, tmp_path: Path) -> None:
    recorded = hostenv.fingerprint(["sh"])
    same, other = tmp_path / "same", tmp_path / "other"
    same.write_text(recorded)
    version = next(line for line in recorded.splitlines() if line.startswith("python3: "))
    other.write_text(recorded.replace(version, "python3: 2.7.18"))
    command = ("-d", "a", "", "--", "sh", "-c", ': >"$PFS/out/x" # python')
    assert launch(same, *command).stderr == ""
    without = ("-d", "a", "", "--", "sh", "-c", ': >"$PFS/out/x"')
    assert launch(other, *without).stderr == "", "it has no use for Python"
    here = version.removeprefix("python3: ")
    line = "launch: the environment differs from the recorded one: recorded python3 2.7.18, here " + here
    assert launch(other, *command).stderr.splitlines() == [line]
    report = tmp_path / "report"
    report.mkdir()
    assert launch(other, *command, MINIPACH_REPORT=str(report)).stderr == "", "a worker says so itself"


@pytest.mark.slow
def test_plan_and_doctor_name_the_python_of_commands(study: Study) -> None:
    path, version = hostenv.host_python() or ("", "")
    shown = f"python3 {version} ({path})"
    assert version and shown in study.minipach("doctor").out
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    study.put("images/b.txt", "beta")
    assert "python3" not in study.minipach("plan").err, "a shell script has no need of it"
    study.put("edges/code/copy.sh", 'python3 -c "" && cp "$images" "$PFS/out/"\n')
    assert f"edges: runs with {shown}" in study.minipach("plan").err
