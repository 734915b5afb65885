"""Pages generated from the commands: docs/commands.md, and the table that the completion reads.

`python -m minipach.cli.reference > docs/commands.md` prints the page and writes minipach/cli/completion.json;
`python -m minipach.cli.reference --check docs/commands.md` compares both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from minipach.cli.app import app
from minipach.cli.completion import TABLE
from minipach.cli.sections import commands_by_section

_HEAD = """\
# Commands

Generated from the commands themselves (`python -m minipach.cli.reference`). `-C DIR` works before every command.

Exit codes: 0: success. 1: a datum failed; all other results are kept. 2: there is a problem to fix. 3: the time given
by `--timeout` is over. 130: interrupted; run the same command again to continue.

Results go to stdout, everything else to stderr. Colours and progress bars appear on a terminal only, and never with
`NO_COLOR`. `minipach completion SHELL` prints the completion script of bash, zsh or fish.

## JSON

Every command that reports takes `--json`. The shapes have a `schema` number; later versions only add to them.

A problem is an object. `code` is stable: compare it, not the text. `text` is the line that is printed on stderr.
With `--json`, a command that can't do anything prints its problems alone: `{"schema": 1, "problems": [...]}`.

```
{"code": "spec.unknown-field", "location": "edges/spec.yml:3:1", "message": "unknown key \"nonsense\"",
 "fix": "", "text": "edges/spec.yml:3:1: unknown key \"nonsense\""}
```

```
datums:   {"schema": 1, "pipeline": "edges",
           "datums": [{"name": "chelsea.png", "id": "<hex>",
                       "files": [{"input": "images", "repo": "images", "path": "/chelsea.png"}],
                       "matches": [{"input": "images", "repo": "images", "path": "/chelsea.png"}]}]}
plan:     {"schema": 1, "pipelines": [{"name": "edges",
           "counts": {"run": 1, "reuse": 0, "current": 3, "remove": 0, "skip": 0, "blocked": 0},
           "datums": [{"name": "chelsea.png", "id": "<hex>", "action": "run", "reason": "new content"}]}],
           "expected": {"datums": 1, "wall_seconds": 0.7, "cpu_hours": 0.0002, "slots": 2, "from_runs": 18,
                        "datums_unknown": 0},         (only if earlier runs are known)
           "problems": [], "uncommitted": [{"repo": "images", "paths": ["new.png"]}]}   (what is left out)
          skip: a datum that failed in two jobs with this content (see docs/howto-trying.md)
          reason: names an earlier failure on this machine, too: "failed last time: the command exited with 3",
          "code/edges.py changed; failed the last 2 times: ..."
          waits: of a pipeline that waits for one upstream: "waits for edges (1 to run)"
          problems: of a pipeline without a plan, or whose results collide; the "problems" at the end have all of them
          deferred: inputs with commits that their trigger holds back: [{"input", "repo", "branch", "commits": 3,
          "commits_needed": 10, "size": 400000000, "size_needed": null, "next": "<UTC or null>", "all": false, "text"}]
          note: of a pipeline without datums, or whose datums share an output folder
schedule: {"schema": 1, "ok": true, "superdataset": "<sha or null>", "problems": [],
           "pipelines": [{"name": "edges", "state": "published", "job": "<id>", "commit": "<sha>",
                          "counts": {"ran": 1, "reused": 0, "current": 3, "removed": 0, "recovered": 0, "failed": 0},
                          "failed": [{"name": "...", "message": "...", "log": "<path>"}]}]}
          state: current, published, partial, failed, blocked, error, deferred (no input yet); with rq and slurm also
          submitted, waiting
          wrote_nothing: ["<datum>"], if datums ran and have no output
          job: if nothing was to do, the job that published the current state; null if no job began (blocked, waiting,
          error) or nothing is published yet
status:   {"schema": 1, "pipelines": [{"name": "edges", "state": "current|running|behind|failed|blocked|new",
           "counts": {"datums": 4, "current": 4, "stored": 0, "missing": 0, "failed": 0, "left": 0, "recovered": 0,
                      "remove": 0, "upstream": 0}, "details": []}],
           "problems": [], "uncommitted": []}         (as in plan)
          problems: also of a pipeline that is blocked by a problem of its own
dag:      {"schema": 1, "nodes": [{"path", "name", "kind": "repo|pipeline", "state", "counts", "depth"}],
           "edges": [{"from", "to", "input", "glob", "branch"}]}
diff:     {"schema": 1, "pipeline", "old": "<sha>", "new": "<sha>", "inputs": [], "code": [], "patch", "image": [],
           "datums": [], "datums_unchanged": 19,
           "outputs": {"added": [], "removed": [], "changed": [], "moved": [], "same_content": []}}
accept:   {"schema": 1, "pipeline", "changes": [{"kind": "code|image", "new", "old"}], "current": 19, "to_run": 0}
exclude:  {"schema": 1, "pipeline", "datum", "commit", "undo": "minipach exclude --undo ..."}
exp run:  {"schema": 1, "name": "exp-1", "points": 3, "ran": 4, "known": 2, "failed": 0}
exp list: {"schema": 1, "experiments": [{"name", "pipeline", "created": "<UTC>", "points": 3, "head": "<sha>"}]}
exp show: {"schema": 1, "name", "points": [{"point": 1, "params": {}, "done": 2, "datums": 2, "metrics": {},
           "notes": []}]}
exp diff: {"schema": 1, "changes": [{"kind": "params|metrics", "name", "old", "new"}]}
explain:  {"schema": 1, "wanted": ["<key>"],
           "files": [{"key", "repo", "path", "at": "<sha>", "content", "annex_key", "size",
                      "origin": "computed|committed|unknown", "computation": "<key or null>",
                      "change": {"commit", "author", "email", "when", "subject", "url"}, "command", "web": [], "note"}],
           "computations": [{"key", "pipeline", "datum", "datum_id", "job", "record": (as change), "seconds",
                      "command": [], "stdin": [], "variables": {}, "secrets": [], "network": true,
                      "environment": {"kind": "host|image", "name", "content", "digest", "path", "fingerprint"},
                      "code": {(as change), "changed_since": false, "diff", "diff_url"},
                      "inputs": [{"input", "file": "<key>", "at": "<sha>", "empty": false}], "outputs": [],
                      "rerun_of": [], "reused_from", "repeat", "notes": []}]}
audit:    {"schema": 1, "ok": true, "seed": 1, "skipped": [],
           "datums": [{"pipeline", "name", "id", "outcome": "reproducible|different|failed", "differ": [],
                       "missing": [], "extra": [], "message", "log", "seconds"}]}
hooks status: {"schema": 1, "hooks": [{"repo": "images", "state": "installed|outdated|missing|off", "path",
               "chained": "<path or null>"}]}
triggers: {"schema": 1, "hooks": [...], "last_heard": "<UTC or null>", "unanswered": 0, "next": "<text>",
           "looked": {"schema": 1, "at": "<UTC>", "heard": 2, "last_heard", "seconds": 3.5, "cause": "hook",
                      "in_a_row": 0, "pipelines": [], "problems": [], "left_out": {"<name>": "<reason>"}},
           "paused": {"<name>": "<command>"},
           "triggers": [{"kind": "watcher", "name", "state", "heard", "looked", "next", "why"}],
           "waits": ["<why submitted work does not run>"]}
cron list: {"schema": 1, "clocks": [{"pipeline": "report", "input": "tick", "repo": "report_tick",
            "cron": "0 3 * * *", "timezone": "UTC", "next": "<UTC or null>", "due": ["<UTC>"],
            "paused": "<command or null>", "blocked": [{"tick": "<UTC>", "reason"}],
            "causes": {"scheduled": 3, "backfill": 0, "manual": 1},
            "ticks": [{"pipeline", "input", "tick": "<UTC>", "state": "done|pending|failed|left|due|blocked|skipped",
                       "cause": "scheduled|backfill|manual", "reason"}]}]}
          plan and status have "clocks" too, without "ticks", if a pipeline has a clock; and "paused", as triggers,
          if a pipeline is paused
cron backfill --dry-run: {"schema": 1, "pipeline": "report", "add": ["<UTC>"], "again": [], "skipped": []}
alerts list: {"schema": 1, "alerts": [{"cause": "failed:edges", "what": "edges failed", "since": "<UTC>",
             "sent": ["mail"], "reason", "look": "minipach logs edges"}],
             "channels": ["mail"], "evaluated": "<UTC or null>", "paused": {"<name>": "<command>"}}
input list: {"schema": 1, "inputs": [{"name": "raw", "s3": "<URL>", "bucket", "prefix", "versions": true,
             "listen": false}]}
results list: {"schema": 1, "pipelines": [{"name", "results": 19, "ids": 19, "published": 19, "bytes": 40565}]}
results gc:   {"schema": 1, "pipelines": [{"name", "kept", "unneeded": [], "bytes", "annexed", "dropped"}],
               "problems": []}
jobs:     {"schema": 1, "jobs": [{"id": "<hex>", "pipeline": "edges", "state", "started": "<UTC>",
           "ended": "<UTC or null>", "seconds": 4.3, "commit": "<sha>", "cause": "<text or null>",
           "counts": {"ran": 2, "reused": 0, "current": 0, "removed": 0, "recovered": 0, "failed": 1}}]}
          state: running, current, published, partial, failed, error, interrupted
job:      {"schema": 1, (as in jobs), "passes": [(as in jobs)], "attempts": [{"pass": 0, "datum": "chelsea.png",
           "id": "<hex>", "kind": "ok|failed|lost", "exit": 0, "message", "tries": 1, "seconds": 0.7, "cpu": 0.6,
           "memory": 70500352, "bytes_in": 240512, "bytes_out": 8140, "disk": 12288, "host", "log": "<path>",
           "started": "<UTC or null>", "ended": "<UTC>",
           "tried": [{"number": 1, "kind": "ok|failed|lost", "exit": 0, "message", "started": "<UTC or null>",
                      "ended": "<UTC or null>", "seconds": 0.7, "cpu": 0.6, "memory": 70500352, "host", "log"}]}]}
          passes over the same state are one job; memory (peak, bytes), bytes_in, bytes_out, disk (peak of scratch
          space and outputs, bytes): null if not known;
          of a datum in a set of several, started and ended are the set's; seconds and cpu are its own with a share
          of the set's overhead; tried: each try, also lost ones (which tries does not count), with the datum's own
          start and end
top:      {"schema": 1, "executor": "local|rq|slurm", "note", "next": ["montage"], "jobs": [{"id", "pipeline", "state",
           "seconds": 63.1, "done": 120, "failed": 3, "rate": 114.0, "total": 200, "running": 30, "waiting": 47,
           "eta": 41.0, "ran": 5, "behind": 40}], "workers": [{"name", "has",
           "runs": [{"what": "edges: chelsea.png and 3 more", "seconds"}]}],
           "waiting": [{"sets": 14, "kind": "gpu1", "why": "no worker has gpu1", "in_vain": true}]}
          done and failed include results that no pass has recorded yet; running: one datum of each running set;
          ran: datums that finished in a running set, as far as its log is here; behind: waiting datums of running sets;
          rate: datums per minute, eta: seconds, null if not known; next: pipelines downstream of these
datums --state: each datum has "state": "current|missing|failed", too, and "attempt": as in job, the last one, or null
du:       {"schema": 1, "bytes": 23900000, "uses": [{"kind": "data|results|images|git|worktrees|logs|cache|state|image
           cache|user cache", "place": "edges", "path", "bytes"}]}      (place: a repo, . or "" for what is the user's)
gc:       {"schema": 1, "found": [{"kind": "results|images|copies|logs|worktrees", "place", "what", "bytes"}],
           "removed": [(as in found)], "problems": []}                  (without --yes, nothing is removed)
usage:    {"schema": 1, "pipeline", "runs": 18, "seconds": {"min", "median", "p95", "max", "runs"}, "cpu": {},
           "memory": {}, "bytes_in": {}, "bytes_out": {}, "disk": {}, "histogram": [{"low", "high", "count"}],
           "resource_requests": {"cpu": 1, "memory": "96Mi"}}       (a measure that is not known is null)
run-one:  {"schema": 1, "pipeline", "datum", "id", "exit": 0, "seconds": 0.7,
           "outputs": [{"path": "chelsea.png", "bytes": 8140, "text": "(if it is short text)"}]}
doctor:   {"schema": 1, "findings": [{"level": "ok|note|problem", "what": "...", "fix": "...", "code": "..."}]}
```
"""


def reference() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for title, commands in _sections():
        parts.append(f"## {title}\n")
        parts += [f"### minipach {' '.join(words)}\n\n```\n{_help(words)}```\n" for words in commands]
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, list[list[str]]]]:
    """Yield the sections of the help, and the words of each of their commands; those of a group follow it."""
    program: Any = typer.main.get_command(app)
    for title, rows in commands_by_section(program).items():
        found = []
        for name, _ in rows:
            found.append([name])
            found += [[name, below] for below in getattr(program.commands[name], "commands", {})]
        yield title, found


def _help(words: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "minipach", *words, "--help"],
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
    )
    return (
        "\n".join(line.rstrip() for line in done.stdout.splitlines())
        .strip("\n")
        .replace("python -m minipach", "minipach")
        + "\n"
    )


def completion_table() -> str:
    """Return what the completion has to know of the commands, as the text of `cli/completion.json`."""
    return json.dumps(_table(typer.main.get_command(app)), indent=1, ensure_ascii=False) + "\n"


def _table(command: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": command.get_short_help_str(1000), "options": {}, "arguments": []}
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            names = str(parameter.metavar)
            more = "..." if parameter.nargs != 1 and not names.startswith("[") else ""
            found["arguments"] += (names.replace("[REMOTE]", "REMOTE").replace("[PIPELINE]", "PIPELINE") + more).split()
        else:
            for name in (*parameter.opts, *parameter.secondary_opts):
                found["options"][name] = ["" if parameter.is_flag else _value(parameter), parameter.help or ""]
    found["options"]["--help"] = ["", "Show this message and exit."]
    if hasattr(command, "commands"):
        found["commands"] = {n: _table(below) for n, below in command.commands.items() if not below.hidden}
    return found


def _value(option: Any) -> str:
    """Return what the value of an option is called, or all that it may be."""
    kind = option.type_descriptor.annotation
    return "|".join(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else option.metavar or ""


def main(arguments: list[str]) -> int:
    """Print the page and write the table, or compare both with the files that are there (exit code 1: they differ)."""
    page, table = reference(), completion_table()
    if arguments[:1] == ["--check"]:
        stale = [str(file) for file, text in ((Path(arguments[1]), page), (TABLE, table)) if file.read_text() != text]
        if stale:
            print(
                f"{', '.join(stale)}: out of date; python -m minipach.cli.reference > {arguments[1]}", file=sys.stderr
            )
        return 1 if stale else 0
    TABLE.write_text(table)
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
