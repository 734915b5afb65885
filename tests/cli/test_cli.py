"""The command line: help, JSON shapes, exit codes, plain output, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from minipach import __version__
from minipach.cli.app import app
from minipach.cli.sections import ORDER, commands_by_section
from minipach.support.errors import Problem
from tests.fixtures.projects import COPY, MINIPACH, PATIENCE, Done, Study, run
from tests.fixtures.stories import duplicate, spec

SCRIPT = 'tr a-z A-Z <"$images" >"$PFS/out/$MINIPACH_DATUM"\n'


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two datums computed, a third one to come, and a pipeline that is new. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("cli") / "study")
    study.put("images/moon.txt", "pale\n", save=False)
    study.put("images/sun.txt", "hot\n")
    study.pipeline("edges", spec("images", "/*", "run"), run=SCRIPT)
    report = study.minipach("schedule", "--json")
    assert report.code == 0, report.err
    check_schedule(report, study)
    study.put("images/star.txt", "far\n")
    study.pipeline("fresh", spec("edges", "/", "run"), run="true\n")
    return study


def check_schedule(report: Done, study: Study) -> None:
    data = report.json
    assert {"schema", "ok", "pipelines"} <= data.keys()
    assert (data["schema"], data["ok"]) == (1, True)
    (row,) = data["pipelines"]
    assert row["name"] == "edges"
    assert row["job"]
    assert row["commit"] == study.git("edges", "rev-parse", "HEAD")
    assert row["counts"] == {"ran": 2, "reused": 0, "current": 0, "removed": 0, "recovered": 0, "failed": 0}
    assert row["failed"] == []


def on_terminal(study: Study, *arguments: str, env: Mapping[str, str]) -> str:
    """What minipach writes to a terminal."""
    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", **env}
    with subprocess.Popen([*MINIPACH, *arguments], cwd=study.root, stdout=slave, stderr=slave, env=environ) as process:
        os.close(slave)
        parts = list(_read(master))
        process.wait(timeout=PATIENCE)
    os.close(master)
    return b"".join(parts).decode()


def _read(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:  # how Linux says that the last writer has left
            return
        if not data:
            return
        yield data


def only(result: Done) -> Problem:
    """The only problem of a command, which is the only line on stderr."""
    line = one_line(result)
    (problem,) = result.problems
    assert line == str(problem)
    return problem


def one_line(result: Done) -> str:
    """The only line on stderr of a command that the user must mend something for."""
    assert result.code == 2, (result.code, result.out, result.err)
    assert "Traceback" not in result.err
    (line,) = result.err.splitlines()
    return line


# Help


def help_of(*words: str) -> str:
    return CliRunner().invoke(app, [*words, "--help"], prog_name="minipach").output


def commands(group: Any, *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words and the object of each visible command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        elif not command.hidden:
            yield (*above, name), command


COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_a_commands_help_is_complete(words: tuple[str, ...], command: Any) -> None:
    text = help_of(*words)
    assert f"Example: minipach {' '.join(words)}" in text
    assert "<" not in text.partition("Arguments:")[2].partition("Options:")[0], "the types of Python"
    for parameter in command.params:
        assert parameter.help and parameter.help[0].isupper() and "." in parameter.help, parameter.name
        assert len(re.sub(r"\[default:.*", "", parameter.help).split()) <= 20, parameter.help
        assert "(default:" not in parameter.help


def test_commands_are_listed_in_sections_each_with_its_whole_summary_in_a_line() -> None:
    program = typer.main.get_command(app)
    text = help_of()
    sections = commands_by_section(program)
    assert list(sections) == list(ORDER)
    at = [text.index(f"\n{title}:\n") for title in ORDER]
    assert at == sorted(at)
    for rows in sections.values():
        for name, summary in rows:
            assert summary.endswith(".") and re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE), name
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Options:")[2]


@pytest.mark.slow
def test_version_and_no_command_and_wrong_options(tmp_path: Path) -> None:
    assert run(*MINIPACH, "--version", cwd=tmp_path).out == f"minipach {__version__}\n"
    assert "Usage:" in run(*MINIPACH, cwd=tmp_path).out + run(*MINIPACH, cwd=tmp_path).err
    for wrong, place, what in (
        (["nonsense"], "minipach", "no such command 'nonsense'"),
        (["statu"], "minipach", "no such command 'statu' (similar: 'status'"),
        (["triggers", "nonsense"], "minipach triggers", "no such command 'nonsense'"),
        (["logs", "--pipe\x1b[31mline", "x"], "minipach logs", r"no such option: --pipe\x1b[31mline"),
        (["schedule", "-j", "0"], "minipach schedule", "invalid value for '-j' / '--jobs'"),
        (["dag", "--format", "x"], "minipach dag", "invalid value for '--format': 'x' is not one of 'text'"),
        (["run-one"], "minipach run-one", "missing argument 'PIPELINE:DATUM'"),
        (["ci", "init"], "minipach ci init", "missing argument 'github|gitlab|forgejo|jenkins'. Choose from: github, "),
    ):
        result = run(*MINIPACH, *wrong, cwd=tmp_path)
        assert result.code == 2
        assert re.fullmatch(rf"{place}: {re.escape(what)}.*\. Fix: see {place} --help\n", result.err), result.err
    problem = run(*MINIPACH, "plan", "--json", "--nope", cwd=tmp_path).json["problems"][0]
    assert (problem["code"], problem["location"]) == ("option.not-understood", "minipach plan")


# JSON, as the commands' page promises


def test_datums_as_json(done: Study) -> None:
    data = done.minipach("datums", "edges", "--json").json
    assert (data["schema"], data["pipeline"]) == (1, "edges")
    assert [d["name"] for d in data["datums"]] == ["moon.txt", "star.txt", "sun.txt"]
    for datum in data["datums"]:
        assert int(datum["id"], 16) and len(datum["id"]) == 64
        assert datum["files"] == [{"input": "images", "repo": "images", "path": f"/{datum['name']}"}]
    assert done.minipach("datums", "edges").out == "moon.txt\nstar.txt\nsun.txt\n"


@pytest.mark.slow
def test_datums_needs_no_content_and_no_run(done: Study, tmp_path: Path) -> None:
    done.ok("datalad", "clone", str(done.root), str(tmp_path / "clone"))
    clone = Study(tmp_path / "clone")
    clone.ok("datalad", "get", "-n", "images")
    assert not (clone.root / "images/star.txt").exists()
    ids = [d["id"] for d in datums_of(clone)]
    assert len(ids) == 2 and set(ids) < {d["id"] for d in datums_of(done)}


def datums_of(study: Study) -> list[dict[str, str]]:
    """The datums of `edges`, which is installed first in a clone."""
    if not (study.root / "edges/spec.yml").exists():
        study.ok("datalad", "get", "-n", "edges")
    rows: list[dict[str, str]] = study.minipach("datums", "edges", "--json").json["datums"]
    return rows


def test_plan_as_json(done: Study) -> None:
    data = done.minipach("plan", "--json").json
    assert data["schema"] == 1
    edges, fresh = data["pipelines"]
    assert edges["name"] == "edges"
    assert edges["counts"] == {"run": 1, "reuse": 0, "current": 2, "remove": 0, "skip": 0, "blocked": 0}
    rows = {d["name"]: d for d in edges["datums"]}
    assert (rows["star.txt"]["action"], rows["star.txt"]["reason"]) == ("run", "new content")
    assert rows["moon.txt"]["action"] == "current"
    assert len(rows["moon.txt"]["id"]) == 64
    assert fresh["counts"]["blocked"] == 1
    assert fresh["datums"][0]["reason"] == "waits for edges (1 to run)"


def test_plan_for_people(done: Study) -> None:
    out = done.minipach("plan").out
    assert "edges: 1 run, 2 current" in out
    assert "PIPELINE  ACTION   DATUM     REASON\nedges     run      star.txt  new content\n" in out
    assert "moon.txt" not in out
    assert "edges     current  moon.txt  -\n" in done.minipach("plan", "edges", "--all").out


@pytest.mark.slow
def test_a_plan_of_what_waits_does_not_say_that_there_is_nothing_to_do(done: Study, tmp_path: Path) -> None:
    study = duplicate(done, tmp_path / "study")
    study.pipeline("fresh", spec("edges", "/*", "run"), run=COPY.replace("images", "edges"))
    study.pipeline("last", spec("fresh", "/*", "run"), run="true\n")
    waits = "last: nothing to do yet, waits for fresh"
    assert waits in study.minipach("plan").out, "fresh doesn't exist yet"
    study.schedule()
    assert study.minipach("plan").out == "".join(f"{p}: nothing to do\n" for p in ("edges", "fresh", "last"))
    study.put("images/star.txt", "farther\n")
    plan = study.minipach("plan")
    assert "fresh: nothing to do yet, waits for edges (1 to run)\n" in plan.out
    assert waits + "\n" in plan.out
    fresh = study.plan()["fresh"]
    assert (fresh["waits"], fresh["counts"]["blocked"]) == ("waits for edges (1 to run)", 0)


def test_status_as_json(done: Study) -> None:
    data = done.minipach("status", "--json").json
    assert data["schema"] == 1
    edges, fresh = data["pipelines"]
    assert (edges["name"], edges["state"]) == ("edges", "behind")
    wanted = {"datums": 3, "current": 2, "missing": 1, "failed": 0, "upstream": 1}
    assert {k: edges["counts"][k] for k in wanted} == wanted
    assert (fresh["name"], fresh["state"]) == ("fresh", "blocked")
    assert "images has moved on" in done.minipach("status").out


@pytest.mark.slow
def test_looking_changes_nothing(done: Study) -> None:
    before = done.git(".", "status", "--porcelain"), done.git("edges", "for-each-ref"), done.git(".", "for-each-ref")
    for command in ("plan", "status", "check", "doctor", "datums edges", "plan --json", "logs edges"):
        done.minipach(*command.split())
    assert not (done.root / "fresh/.git").exists()
    after = done.git(".", "status", "--porcelain"), done.git("edges", "for-each-ref"), done.git(".", "for-each-ref")
    assert before == after


def test_doctor_as_json_and_its_exit_code(done: Study) -> None:
    result = done.minipach("doctor", "--json")
    assert result.code == 0, result.out
    data = result.json
    assert data["schema"] == 1
    levels = {f["level"] for f in data["findings"]}
    assert "ok" in levels and levels <= {"ok", "note", "problem"}
    text = " ".join(f["what"] for f in data["findings"])
    for part in ("git version", "git-annex", "datalad ", "datalad-container", "git knows who commits", "project "):
        assert part in text
    assert any("images names content by MD5" in f["what"] and f["fix"] for f in data["findings"])


def test_schema_is_a_json_schema() -> None:
    schema = json.loads(run(*MINIPACH, "schema", cwd=Path()).out)
    assert schema["type"] == "object"
    assert {"input", "transform"} <= schema["properties"].keys()


def test_check_says_all_problems_at_once(done: Study, tmp_path: Path) -> None:
    assert done.minipach("check").out == "2 specs checked, no problems\n"
    assert done.minipach("check", "edges").out == "1 spec checked, no problems\n"
    bad = tmp_path / "bad" / "spec.yml"
    bad.parent.mkdir()
    bad.write_text("inptu: 1\ntransform: {cmd: [true]}\n")
    result = run(*MINIPACH, "check", str(bad), cwd=tmp_path)
    assert result.code == 2
    assert result.reports("spec.unknown-field", f"{bad}:1:1", "`input`")
    assert "input" in result.err
    assert len(result.err.splitlines()) >= 2
    assert "Traceback" not in result.err
    for word, said in (("gone.yml", "gone.yml: no such file"), ("edges", "not inside a project, so that nothing")):
        both = run(*MINIPACH, "check", str(bad), word, cwd=tmp_path)
        lines = both.err.splitlines()
        assert both.code == 2 and set(result.err.splitlines()) < set(lines), both.err
        assert any(said in line for line in lines), both.err


@pytest.mark.slow
def test_a_spec_file_may_be_annexed(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/moon.txt", "pale\n")
    study.pipeline("fresh", spec("images", "/*", "run"), run="true\n")
    # as `datalad save` does it in a superdataset that `datalad create` made
    study.ok("git", "-c", "annex.largefiles=anything", "annex", "add", "--quiet", "--force-large", "fresh")
    assert (study.root / "fresh/spec.yml").is_symlink()
    for folder, file in ((".", "fresh/spec.yml"), ("fresh", "spec.yml")):
        assert study.minipach("-C", folder, "check", file).out == "1 spec checked, no problems\n"
        assert study.minipach("-C", folder, "datums", file).out == "moon.txt\n"


def test_status_names_what_does_not_exist_yet(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.copier("first")
    study.copier("second", repo="first")
    lines = study.minipach("status").out.splitlines()
    assert lines[2].split()[:3] == ["second", "blocked", "0"]
    assert lines[-1] == "second: waits for first"


# Where and how it writes


def test_another_folder_and_any_folder_inside(done: Study, tmp_path: Path) -> None:
    from_outside = run(*MINIPACH, "-C", str(done.root), "status", "--json", cwd=tmp_path)
    assert from_outside.json == done.minipach("status", "--json").json
    inside = run(*MINIPACH, "status", "--json", cwd=done.root / "edges" / "code")
    assert inside.json == from_outside.json
    assert run(*MINIPACH, "-C", str(done.root / "images"), "status", "--json", cwd=tmp_path).json == inside.json
    file = run(*MINIPACH, "-C", "edges", "datums", "spec.yml", cwd=done.root)
    assert file.out == "moon.txt\nstar.txt\nsun.txt\n"


def test_colours_on_a_terminal_only_and_never_with_no_color(done: Study) -> None:
    assert "\x1b[" in on_terminal(done, "status", env={"NO_COLOR": ""})
    assert "\x1b" not in on_terminal(done, "status", env={"NO_COLOR": "1"})
    assert "\x1b" not in on_terminal(done, "plan", env={"NO_COLOR": "", "TERM": "dumb"})
    for command in ("status", "plan"):
        result = done.minipach(command)
        assert "\x1b" not in result.out + result.err


@pytest.mark.slow
def test_a_name_misleads_no_terminal(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    names = ["a\rb", "c\x1b[2Jd", "e\u202ef", "plain ü"]
    for name in names:
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.pipeline("edges", spec("images", "/*", "run", "datum_tries: 1\n"), run="exit 7\n")
    study.minipach("schedule")
    assert study.minipach("datums", "edges").out.splitlines() == ["a\\rb", "c\\x1b[2Jd", "e\\u202ef", "plain ü"]
    assert "a\\rb" in study.minipach("status").out
    assert "== a\\rb: failed" in study.minipach("logs", "edges").out
    for command in ("plan", "status", "datums edges"):
        for out in (study.minipach(*command.split()).out, on_terminal(study, *command.split(), env={"NO_COLOR": ""})):
            assert [bad for bad in ("a\rb", "\x1b[2J", "\u202e") if bad in out] == []
    assert [d["name"] for d in study.minipach("datums", "edges", "--json").json["datums"]] == names


@pytest.mark.slow
def test_progress_on_a_terminal_and_without_one(done: Study, tmp_path: Path) -> None:
    study = duplicate(done, tmp_path / "bar")
    assert "\x1b[" in on_terminal(study, "schedule", "edges", env={"NO_COLOR": ""})
    study.put("images/comet.txt", "late\n")
    shown = on_terminal(study, "schedule", "edges", env={"NO_COLOR": "1"})
    assert "\x1b" not in shown
    assert "edges: 1 of 1 done" in shown
    study.put("images/comet.txt", "later\n")
    plain = study.minipach("schedule", "edges")
    assert (plain.code, plain.out) == (0, "")
    assert "\x1b" not in plain.err and "\r" not in plain.err
    assert "edges: published (1 computed, 3 current)" in plain.err


@pytest.mark.parametrize("arguments", [["schema"], ["status"], ["datums", "edges", "--json"]])
def test_a_reader_that_leaves_early_is_no_error(done: Study, arguments: list[str]) -> None:
    process = subprocess.Popen([*MINIPACH, *arguments], cwd=done.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait(PATIENCE)) == (b"", 0)
    process.stderr.close()


@pytest.mark.parametrize("arguments", [["schema"], ["status"], ["datums", "edges", "--json"]])
@pytest.mark.parametrize("buffered", [True, False])
def test_what_cannot_be_written_is_told_in_one_line(done: Study, arguments: list[str], buffered: bool) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [*MINIPACH, *arguments],
            cwd=done.root,
            env=env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == 2
    assert process.stderr.startswith("stdout: ") and process.stderr.count("\n") == 1
    assert "No space left on device" in process.stderr


def test_names_are_those_of_git_whatever_the_locale(done: Study, tmp_path: Path) -> None:
    study = duplicate(done, tmp_path / "study")
    study.put("images/bücher ☃.txt", "in UTF-8\n")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = [run(*MINIPACH, "datums", "edges", "--json", cwd=study.root, env=env) for env in ({}, ascii_only)]
    assert told[0] == told[1]
    assert "bücher ☃.txt" in [datum["name"] for datum in told[0].json["datums"]]


# Mistakes, each with one clear line


def test_an_interrupt_before_a_command_begins_ends_it_in_peace(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = run(*MINIPACH, "plan", cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"})
    assert (done.code, done.out) == (130, "")
    assert done.err == "interrupted; the same command continues from here\n"


def test_an_interrupt_while_the_words_are_read_is_said_too(tmp_path: Path) -> None:
    """typer takes it for its own, and ends with 130 without a word."""
    code = (
        "import os, signal\n"
        "from minipach.cli import app, program\n"
        "app.app.callback()(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "program()\n"
    )
    done = run(sys.executable, "-c", code, "status", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (130, "", "interrupted; the same command continues from here\n")


@pytest.mark.slow
def test_a_project_that_may_only_be_read_can_be_looked_at(done: Study, tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bwrap")
    study = duplicate(done, tmp_path / "study")
    commands = [["plan"], ["status"], ["logs", "edges"], ["jobs"]]
    wanted = [study.minipach(*command) for command in commands]
    ledger = sqlite3.connect(study.root / ".git/minipach/ledger.sqlite")
    ledger.execute("ALTER TABLE job DROP COLUMN asked")  # an earlier version had none
    ledger.close()
    sealed = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", str(study.root), str(study.root), *MINIPACH)
    assert [run(*sealed, *command, cwd=study.root) for command in commands] == wanted
    for command in (["schedule"], ["lock", "edges"], ["audit", "edges"], ["cancel"]):
        line = one_line(run(*sealed, *command, cwd=study.root))
        assert line.startswith(str(study.root)) and "datalad clone" in line


def test_not_in_a_project(tmp_path: Path) -> None:
    for command in (["status"], ["schedule"], ["datums", "edges"]):
        problem = only(run(*MINIPACH, *command, cwd=tmp_path))
        assert problem.code == "project.not-found" and "minipach init" in problem.fix
    problem = only(run(*MINIPACH, "-C", "nowhere", "status", cwd=tmp_path))
    assert (problem.code, problem.location) == ("project.no-such-folder", "nowhere")


def test_an_unknown_pipeline(done: Study) -> None:
    for command in ("schedule", "datums", "logs"):
        problem = only(done.minipach(command, "edgse"))
        assert (problem.code, problem.location, problem.fix) == ("project.no-such-pipeline", "edgse", 'use "edges"')


@pytest.fixture
def study(done: Study, tmp_path: Path) -> Study:
    return duplicate(done, tmp_path / "study")


def test_a_missing_repo(study: Study) -> None:
    study.pipeline("fresh", spec("image", "/", "run"))
    heads = study.git(".", "rev-parse", "HEAD"), study.git("edges", "rev-parse", "HEAD")
    missing = ("input.no-such-repo", "fresh/spec.yml:1:21")
    for command in ("plan", "check", "status"):
        problem = only(study.minipach(command))
        assert (problem.code, problem.location, problem.fix) == (*missing, 'use "images"')
    refused = study.minipach("schedule")
    assert (refused.code, refused.refusals) == (2, [missing, ("schedule.nothing-done", "")])
    assert refused.problems[-1].fix.endswith(" minipach schedule edges")
    assert heads == (study.git(".", "rev-parse", "HEAD"), study.git("edges", "rev-parse", "HEAD"))


def test_a_cycle(study: Study) -> None:
    study.pipeline("one", spec("two", "/", "run"))
    study.pipeline("two", spec("one", "/", "run"))
    for command in ("plan", "status"):
        problem = only(study.minipach(command))
        assert (problem.code, problem.location) == ("project.cycle", "one/spec.yml:1:21")
        assert "one -> two -> one" in problem.message
    assert study.minipach("schedule").refusals[0] == ("project.cycle", "one/spec.yml:1:21")
    dag = study.minipach("dag")
    assert dag.problems == (problem,)
    assert [line.split() for line in dag.out.splitlines()[-2:]] == [
        ["└──", "two", "unknown", "-", "/"],
        ["└──", "one", "(above)", "-", "/"],
    ]
    assert "two" in study.ok("minipach", "dag", "--format", "svg")


@pytest.mark.slow
def test_what_is_broken_keeps_no_sound_one_from_its_work(study: Study) -> None:
    """edges is behind; `fresh` takes from it; `bad` can't be read, and `late` takes from that."""
    study.pipeline("bad", spec("images", "/*", "run", "nonsense: 1\n"), run="true\n")
    study.pipeline("late", spec("bad", "/", "run"), run="true\n")
    unknown = ("spec.unknown-field", "bad/spec.yml:3:1")
    plan = study.minipach("plan", "--json")
    assert plan.code == 2
    assert one_line(plan) and plan.refusals == [unknown]
    rows = {p["name"]: p for p in plan.json["pipelines"]}
    assert plan.json["problems"] == rows["bad"].pop("problems")
    (data,) = plan.json["problems"]
    assert (data["code"], data["location"], data["text"]) == (
        "spec.unknown-field",
        "bad/spec.yml:3:1",
        plan.err.strip(),
    )
    assert data["text"] == f"{data['location']}: {data['message']}. Fix: {data['fix']}"
    assert rows["bad"] == {"name": "bad", "counts": dict.fromkeys(rows["bad"]["counts"], 0), "datums": []}
    assert (rows["late"]["datums"], rows["late"]["waits"]) == ([], "waits for bad (1 problem)")
    assert rows["edges"]["counts"]["run"] == 1
    status = study.minipach("status")
    assert one_line(status) and status.refusals == [unknown]
    shown = status.out.splitlines()
    table = {line.split()[0]: line.split()[1:3] for line in shown[1:5]}
    assert (table["bad"], table["late"], table["edges"]) == (["blocked", "0"], ["blocked", "0"], ["behind", "3"])
    assert {"bad: 1 problem, printed on stderr", "late: waits for bad"} <= set(shown)
    states = {
        p["name"]: (p["state"], len(p.get("problems", [])))
        for p in study.minipach("status", "--json").json["pipelines"]
    }
    assert states == {"bad": ("blocked", 1), "edges": ("behind", 0), "fresh": ("blocked", 0), "late": ("blocked", 0)}
    for word in ("bad", "late"):
        for command in ("plan", "schedule", "check"):
            problem = only(study.minipach(command, word))
            assert (problem.code, problem.location) == unknown
    for command in ("check", "plan", "datums", "logs"):
        assert study.minipach(command, "edges").code == 0
    refused = study.minipach("schedule")
    assert refused.refusals == [unknown, ("schedule.nothing-done", "")]
    assert refused.problems[1].fix.endswith(" minipach schedule edges")
    assert study.schedule("edges").keys() == {"edges", "fresh"}
    study.pipeline("bad", spec("edges", "/*", "run", "nonsense: 1\n"), run="true\n")
    refused = study.minipach("schedule", "edges")
    assert refused.refusals[1:] == [("schedule.nothing-done", "")]
    assert refused.problems[1].fix.endswith(" minipach schedule edges --no-downstream")
    assert study.schedule("edges", "--no-downstream").keys() == {"edges"}


def test_a_missing_image(study: Study) -> None:
    study.pipeline("fresh", spec("images", "/*", "run").replace("{cmd", "{image: opncv.sif, cmd"))
    for command in ("check", "plan"):
        problem = only(study.minipach(command, "fresh"))
        assert (problem.code, problem.location) == ("image.unknown", "fresh/spec.yml:2:20")
    datums = study.minipach("datums", "fresh", "--json")
    assert datums.err.splitlines()[-1] == f"note: {problem}"
    assert {row["id"] for row in datums.json["datums"]} == {None}, "the image makes no datum another"


def test_a_word_for_an_image_is_a_registrys(study: Study) -> None:
    study.pipeline("fresh", spec("images", "/*", "run").replace("{cmd", "{image: opncv, cmd"))
    study.git(".", "config", "--file", ".datalad/config", "datalad.containers.opencv.image", "x.sif")
    afar = "docker.io/library/opncv:latest"
    done = study.minipach("check", "fresh")
    (note,) = done.problems
    assert (done.code, note.code, note.location) == (0, "image.not-registered", "fresh/spec.yml:2:20")
    assert afar in note.message and note.fix == 'use "opencv"'
    done = study.minipach("plan", "fresh")
    assert done.code == 0
    assert "minipach schedule fresh" in done.out + done.err
    assert "image not fetched yet: opncv" in study.minipach("status").out
    done = study.minipach("datums", "fresh")
    assert done.code == 0 and done.out and "image" not in done.err


@pytest.mark.slow
def test_bad_specs_are_all_told_before_anything_runs(study: Study) -> None:
    heads = study.git("edges", "rev-parse", "HEAD")
    study.pipeline("fresh", "input: {pfs: {repo: edges, glob: /}}\n")
    study.pipeline("other", "transform: {cmd: [x]}\nwhat: 1\n")
    result = study.minipach("schedule")
    assert result.code == 2
    assert "Traceback" not in result.err
    places = [line.split(": ")[0] for line in result.err.splitlines()]
    assert any(p.startswith("fresh/spec.yml:1:") for p in places)
    assert any(p.startswith("other/spec.yml:2:") for p in places)
    assert heads == study.git("edges", "rev-parse", "HEAD")


@pytest.mark.slow
def test_a_repo_that_is_not_installed_or_has_no_such_branch(study: Study, tmp_path: Path) -> None:
    study.pipeline("fresh", 'input: {pfs: {repo: images, glob: /, branch: dev}}\ntransform: {cmd: ["true"]}\n')
    problem = only(study.minipach("check", "fresh"))
    assert (problem.code, problem.location) == ("input.no-such-branch", "fresh/spec.yml:1:46")
    assert problem.fix == "use one of: master"
    study.ok("datalad", "clone", str(study.root), str(tmp_path / "clone"))
    clone = Study(tmp_path / "clone")
    clone.ok("datalad", "get", "-n", "edges")
    away, missing = clone.minipach("plan", "edges").problems
    assert (away.code, away.location) == ("repo.not-installed", "images")
    assert (missing.code, missing.location) == ("repo.not-installed", "edges/spec.yml:1:21: images")
    assert "datalad get -n " in missing.fix


def test_a_clone_with_nothing_installed_does_not_look_whole(done: Study, tmp_path: Path) -> None:
    done.ok("git", "clone", "-q", str(done.root), str(tmp_path / "clone"))
    clone = Study(tmp_path / "clone")
    for command, out in (
        ("check", "0 specs checked, no problems\n"),
        ("plan", ""),
        ("status", "no pipelines yet; a folder with a spec.yml is one\n"),
        ("schedule", "no pipelines yet; a folder with a spec.yml is one\n"),
    ):
        looked = clone.minipach(command)
        assert (looked.code, looked.out, looked.err.count("\n")) == (0, out, 1)
        assert looked.refusals == [("repo.not-installed", "edges, images")]
        assert looked.problems[0].fix == "datalad get -n edges images"
    (clone.root / "edges").rmdir()
    deleted = clone.minipach("status").problems[0]
    assert (deleted.code, deleted.location) == ("repo.deleted", "edges")
    assert " rm edges" in deleted.fix
    (clone.root / "edges").mkdir()
    inside = run(*MINIPACH, "-C", "clone", "status", "--json", cwd=tmp_path)
    assert inside.problems[0].fix == f"datalad -C {clone.root} get -n edges images"
    assert inside.json["pipelines"] == []
    clone.git(".", "rm", "-q", "--cached", "edges", "images")
    assert clone.minipach("plan") == Done(0, "", ""), ".gitmodules alone registers nothing"


@pytest.mark.slow
def test_no_git_identity(study: Study) -> None:
    nobody = {name: "" for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")}
    nobody |= {
        "EMAIL": "",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.useConfigOnly",
        "GIT_CONFIG_VALUE_0": "true",
    }
    head = study.git("edges", "rev-parse", "HEAD")
    refused = study.minipach("schedule", "edges", env=nobody)
    assert (refused.code, "Traceback" in refused.err) == (2, False)
    assert refused.refusals == [("git.no-identity", "git")]
    assert "git config --global user.name" in refused.problems[0].fix
    assert study.git("edges", "rev-parse", "HEAD") == head
    assert only(study.minipach("init", "../new", env=nobody)) == refused.problems[0]
    for words in (("run-one", "edges:sun.txt"), ("egress", "images", "../out")):
        assert only(study.minipach(*words, env=nobody)) == refused.problems[0], words
    doctor = study.minipach("doctor", env=nobody)
    assert doctor.code == 2
    assert f"problem  {refused.problems[0]}" in doctor.out
