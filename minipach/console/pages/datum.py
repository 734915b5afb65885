"""The page of a datum, and that of the history of one of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from minipach.console.pages.log import last_attempt, log_text
from minipach.console.pages.page import Asked, Page, what_comes
from minipach.console.previews import MOST as PREVIEW_MOST
from minipach.console.previews import preview as preview_of
from minipach.console.reading import Reading
from minipach.model.job_entries import Attempt, Try
from minipach.planning.plan import Action, PlannedDatum
from minipach.records.job_history import iso, try_json
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted
from minipach.views.datum_files import DatumFile, files_of_datum, read_file, versions_of
from minipach.views.datum_story import step_of, story_of
from minipach.views.good_run import GoodRun, last_good

VERSIONS = 100  # of a file, in its history
_FILES = 200  # files of a datum that are listed
_PREVIEWS = 6  # of them with a preview
_TAIL = 20_000  # bytes of a log at its end that a page shows


def datum(asked: Asked) -> Page:
    """Return the page of a datum: why it would run or not, its files, its tries, its log, and commands for it."""
    project = asked.reading.project()
    path = asked.pipeline(project)
    name = asked.value("name")
    row = asked.table(path).row(name)
    with asked.reading.assessed(path) as a:
        # the table is of now, or its plan takes long: then its row is what is known
        facts = story_of(a, PlannedDatum(name, row.id, cast(Action, row.action), row.why) if row else step_of(a, name))
        files = files_of_datum(a, name)
        good = last_good(a, name)
    last, tries = last_attempt(project, facts.pipeline, name)
    target = quoted(f"{facts.pipeline}:{name}")
    commands = {
        "run it in a scratch folder": f"minipach run-one {target}",
        "open a shell in its environment": f"minipach shell {target}",
        "explain the plan": f"minipach plan {quoted(facts.pipeline)} --why {quoted(name)}",
        "show the log": f"minipach logs {quoted(facts.pipeline)} {quoted(name)}",
    }
    if facts.record:
        commands["make the published output again"] = f"datalad rerun -d {quoted(path)} {facts.record.split()[0][:12]}"
    data = {
        **facts.as_json(),
        "state": row.state if row else facts.step.action,
        "failure": row.reason if row and row.reason != row.why else "",
        "next": what_comes(facts.step.action, facts.step.reason),
        "attempt": _attempt_json(last, tries) if last else None,
        "inputs": [_file_json(f) for f in files if f.side == "input"][:_FILES],
        "outputs": [_file_json(f) for f in files if f.side == "output"][:_FILES],
        "files_in_all": len(files),
        "commands": commands,
        "last_good": _good_json(good) if good else None,
    }
    shown = [n for n, f in enumerate(files) if f.side == "output"] + [
        n for n, f in enumerate(files) if f.side == "input"
    ]
    previews = [(n, files[n], _preview(files[n])) for n in shown[:_PREVIEWS]]
    log = log_text(project, last.log if last else "", _TAIL) if last else None
    beside = None
    if good is not None and good.attempt is not None:
        beside = log_text(project, good.attempt.log, _TAIL // 4)
    numbers = {f.path: n for n, f in enumerate(files) if f.side == "output"}
    context: dict[str, Any] = {"previews": previews, "log": log, "path": path, "good": good, "good_log": beside}
    context |= {"numbers": numbers, "target": target}
    return Page(f"{facts.pipeline}: {name}", "datum.html", data, context)


def _good_json(good: GoodRun) -> dict[str, Any]:
    attempt = _attempt_json(good.attempt, ()) if good.attempt else None
    return {**good.as_json(), "attempt": attempt}


def file_history(asked: Asked) -> Page:
    """Return the page of an output's history: the commits of the pipeline branch that changed it, and its contents."""
    project = asked.reading.project()
    path = asked.pipeline(project)
    name, number = asked.value("name"), asked.value("file")
    file = chosen_file(asked.reading, path, name, number)
    if file.side != "output":
        raise UserError(Problem("console.no-file", number, "the file is an input", "look at its own repository"))
    versions = versions_of(file, VERSIONS)
    data = {
        "pipeline": project.name_of(path),
        "datum": name,
        "path": file.path,
        "file": int(number),
        "versions": [one.as_json() for one in versions],
    }
    return Page(f"History of {file.path}", "history.html", data, {"path": path})


def chosen_file(reading: Reading, path: str, name: str, number: str) -> DatumFile:
    """Return a file of a datum by its number among them: no path is asked for. Raises UserError."""
    with reading.assessed(path) as a:
        files = files_of_datum(a, name)
    if not number.isdecimal() or len(number) > 9 or int(number) >= len(files):
        raise UserError(Problem("console.no-file", number, "the datum has no such file", "go back to its page"))
    return files[int(number)]


def _attempt_json(last: Attempt, tries: Sequence[Try]) -> dict[str, Any]:
    return {
        "kind": last.kind,
        "exit": last.result.exit,
        "message": last.message,
        "seconds": round(last.took.seconds, 3),
        "cpu": round(last.took.cpu, 3),
        "memory": last.took.memory,
        "bytes_in": last.result.bytes_in,
        "bytes_out": last.result.bytes_out,
        "host": last.host,
        "ended": iso(last.ended),
        "id": last.datum_id,
        "tries": [try_json(number, one) for number, one in enumerate(tries, 1)],
    }


def _file_json(file: DatumFile) -> dict[str, str]:
    return {"input": file.input, "path": file.path, "content": file.content}


def _preview(file: DatumFile) -> Any:
    content = read_file(file, PREVIEW_MOST)
    return {"shown": preview_of(file.path, content.data, whole=content.is_whole), "size": content.size}
