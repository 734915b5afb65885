"""Alerts: one message for each cause, and one when it is over."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from minipach.project.project import Project
from minipach.scheduling.add_ticks import add_due_ticks
from minipach.spec.cron_line import parse_moment
from minipach.triggers import alerts
from minipach.triggers.alert_channels import AlertMessage, NotSentError, configured_channels
from tests.fixtures.leftovers import until
from tests.fixtures.mail_servers import PASSWORD, USER, mail_server
from tests.fixtures.projects import Study
from tests.fixtures.redis_servers import Redis, Workers
from tests.fixtures.refusals import refused

NOW = 1_800_000_000.0


@pytest.fixture
def told(study: Study, tmp_path: Path) -> Path:
    """A file to which the command of alerts appends each message."""
    script = tmp_path / "tell me"
    script.write_text(f"#!/bin/sh\ncat >> '{tmp_path}/told'\necho '===' >> '{tmp_path}/told'\n")
    script.chmod(0o755)
    study.git(".", "config", "minipach.alert.command", f"'{script}' '$(touch {tmp_path}/ran)'")
    return tmp_path / "told"


def messages(told: Path) -> list[str]:
    return told.read_text().split("===\n")[:-1] if told.exists() else []


def problem(study: Study, *codes: str) -> None:
    """The last pass had these problems."""
    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    rows = [{"code": code, "location": "edges", "text": f"edges: {code}\x1b[31m http://me:pw@host/"} for code in codes]
    state.looked.write_text(json.dumps({"schema": 1, "at": "", "problems": rows, "left_out": {}}))


def test_one_message_when_it_holds_and_one_when_it_is_over(study: Study, told: Path) -> None:
    project = Project(study.root)
    problem(study, "bad")
    for seconds in (0, 300, 599):
        alerts.evaluate(project, now=NOW + seconds)
    assert messages(told) == []
    for seconds in (600, 700, 5000):
        alerts.evaluate(project, now=NOW + seconds)
    (first,) = messages(told)
    assert first.startswith("minipach: a pass reports a problem: edges, for 10 min\n\n")
    assert "\\x1b[31m" in first and "\x1b" not in first and "pw" not in first
    assert f"look: minipach -C {study.root} triggers" in first
    problem(study)
    for seconds in (5001, 5002):
        alerts.evaluate(project, now=NOW + seconds)
    assert messages(told)[1:] == [
        f"minipach: over: a pass reports a problem: edges\n\nproject: {study.root}\nit took 83 min"
    ]
    assert alerts.active(project) == {} and not (told.parent / "ran").exists()


def test_what_is_short_is_not_sent_and_a_clock_set_back_does_no_harm(study: Study, told: Path) -> None:
    project = Project(study.root)
    problem(study, "bad")
    alerts.evaluate(project, now=NOW)
    problem(study)
    alerts.evaluate(project, now=NOW + 1000)
    problem(study, "other")
    alerts.evaluate(project, now=NOW + 2000)
    alerts.evaluate(project, now=NOW - 90_000)
    alerts.evaluate(project, now=NOW - 90_000 + 599)
    assert messages(told) == []
    alerts.evaluate(project, now=NOW - 90_000 + 600)
    assert len(messages(told)) == 1


def test_channel_that_fails_gets_the_message_later(study: Study, told: Path, tmp_path: Path) -> None:
    project = Project(study.root)
    study.git(".", "config", "minipach.alert.after", "0")
    study.git(".", "config", "minipach.alert.webhook", "http://127.0.0.1:9/x")
    problem(study, "bad")
    for _ in range(2):
        alerts.evaluate(project, now=NOW)
    assert len(messages(told)) == 1
    assert [one.sent for one in alerts.active(project).values()] == [["command"]]
    with receiver() as (url, got):
        study.git(".", "config", "minipach.alert.webhook", f"{url}/hook?x=1")
        for _ in range(2):
            alerts.evaluate(project, now=NOW + 1)
        problem(study)
        alerts.evaluate(project, now=NOW + 2)
    assert [row["state"] for row in got] == ["begins", "over"] and len(messages(told)) == 2
    assert got[0]["schema"] == 1 and got[0]["what"] == "a pass reports a problem: edges"
    assert got[0]["look"].startswith("minipach -C ")


@pytest.mark.slow
def test_failed_pipeline_with_the_end_of_its_log(study: Study, told: Path) -> None:
    study.git(".", "config", "minipach.alert.after", "0")
    study.copier()
    (study.root / "edges/code/copy.sh").write_text('printf "good\\033[31m bye\\n"; exit 3\n')
    study.put("images/a", "a")
    study.schedule(code=1)
    alerts.evaluate(Project(study.root), now=NOW)
    (first,) = messages(told)
    assert first.startswith("minipach: edges failed, for 0 s\n")
    assert "    good\\x1b[31m bye" in first and "reason: a: " in first
    assert first.rstrip().endswith(f"look: minipach -C {study.root} logs edges")
    (study.root / "edges/code/copy.sh").write_text('cp "$images" "$PFS/out/"\n')
    study.save("edges")
    study.schedule()
    alerts.evaluate(Project(study.root), now=NOW + 1)
    assert messages(told)[1].startswith("minipach: over: edges failed\n")


def test_nobody_makes_the_passes(study: Study, told: Path) -> None:
    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    state.heard.write_text("x\n")
    assert "unanswered" not in alerts.causes(Project(study.root), time.time())[0]
    found = alerts.causes(Project(study.root), time.time() + 100)[0]
    assert found["unanswered"].what == "no pass begins"


def test_what_can_not_be_found_out_is_not_over(study: Study, told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(study.root)
    study.git(".", "config", "minipach.alert.after", "0")
    problem(study, "bad")
    alerts.evaluate(project, now=NOW)

    def broken(_project: Project, _now: float) -> Iterator[alerts.Cause]:
        raise OSError("no disk")

    monkeypatch.setattr(alerts, "_SOURCES", {**alerts._SOURCES, "pass": broken})
    alerts.evaluate(project, now=NOW + 1)
    assert len(messages(told)) == 1 and len(alerts.active(project)) == 1


def test_bad_settings_are_one_line_and_stop_no_pass(study: Study, tmp_path: Path) -> None:
    repo = Project(study.root).repo
    done = study.minipach("alerts", "test")
    assert done.code == 2 and done.reports("alert.no-channel", "alerts", "git config minipach.alert.command")
    for key, value in (
        ("webhook", "file:///etc/passwd"),
        ("webhook", "http://x:99999/"),
        ("command", "'a"),
        ("mail", "no address"),
        ("mail", "a@b\nBcc: c@d"),
    ):
        study.git(".", "config", f"minipach.alert.{key}", value)
        with refused("alert.bad-setting", f"minipach.alert.{key}"):
            configured_channels(repo)
        alerts.evaluate(Project(study.root))
        study.git(".", "config", "--unset", f"minipach.alert.{key}")
    study.git(".", "config", "minipach.alert.mail", "me@example.org")
    study.git(".", "config", "minipach.alert.smtp", "smtp://me@127.0.0.1:9")
    with refused("alert.bad-setting", "minipach.alert.smtp", "smtp-password-file"):
        configured_channels(repo)
    study.git(".", "config", "--file", ".datalad/config", "minipach.alert.command", f"touch {tmp_path}/ran")
    study.git(".", "config", "--unset", "minipach.alert.mail")
    assert configured_channels(repo) == []


def test_mail_and_apprise(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIPACH_ALERT_SMTP_PASSWORD", "pass-word-1")
    study.git(".", "config", "minipach.alert.mail", "me@example.org")
    study.git(".", "config", "minipach.alert.smtp", "smtp://me@127.0.0.1:9")
    study.git(".", "config", "minipach.alert.apprise", "nonsense://")
    found = configured_channels(Project(study.root).repo)
    assert [way.name for way in found] == ["mail", "apprise"]
    for way in found:
        with pytest.raises(NotSentError) as error:
            way.send(AlertMessage("title\nBcc: x@y", "text", {}))
        assert "pass-word-1" not in str(error.value)
    with receiver() as (url, got):
        study.git(".", "config", "minipach.alert.apprise", url.replace("http:", "json:"))
        study.git(".", "config", "--unset", "minipach.alert.mail")
        done = study.minipach("alerts", "test")
    assert (done.code, done.out) == (0, "apprise: sent\n") and got[0]["title"] == "minipach: test"


def test_command_gets_no_secrets(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIPACH_WEBHOOK_GITHUB_SECRET", "webhook-secret")
    script = f"import os, pathlib; pathlib.Path({str(tmp_path / 'env')!r}).write_text(repr(dict(os.environ)))"
    study.git(".", "config", "minipach.alert.command", f'{sys.executable} -c "{script}"')
    assert study.minipach("alerts", "test", env=dict(os.environ)).out == "command: sent\n"
    assert "webhook-secret" not in (tmp_path / "env").read_text()
    study.git(".", "config", "minipach.alert.command", "false")
    done = study.minipach("alerts", "test")
    assert done.code == 2 and done.reports("alert.not-sent", "minipach.alert.command", "false", " 1")


class receiver:
    """A web server that keeps the JSON that it is sent."""

    def __init__(self) -> None:
        got: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            rows: ClassVar[list[dict[str, Any]]] = got

            def do_POST(self) -> None:
                self.rows.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._got = got
        self._server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> tuple[str, list[dict[str, Any]]]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}", self._got

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_mail_arrives_with_the_reason_and_the_log(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIPACH_ALERT_SMTP_PASSWORD", PASSWORD)
    project = Project(study.root)
    with mail_server() as (port, received):
        for key, value in (
            ("mail", "lab@example.org"),
            ("mail-from", "minipach@example.org"),
            ("smtp", f"smtp://{USER}@127.0.0.1:{port}"),
            ("after", "60"),
        ):
            study.git(".", "config", f"minipach.alert.{key}", value)
        problem(study, "bad\nBcc: other@example.org")
        for seconds in (0, 60, 61):
            alerts.evaluate(project, now=NOW + seconds)
        problem(study)
        alerts.evaluate(project, now=NOW + 70)
        monkeypatch.setenv("MINIPACH_ALERT_SMTP_PASSWORD", "another")
        with pytest.raises(NotSentError) as refused:
            configured_channels(project.repo)[0].send(AlertMessage("title", "text", {}))
    assert received.logins == ["me"] * 3 and "another" not in str(refused.value)
    assert received.recipients == ["lab@example.org"] * 2
    begin, over = received.mails
    assert (begin["To"], begin["From"], begin["Bcc"]) == ("lab@example.org", "minipach@example.org", None)
    assert begin["Subject"] == "minipach: a pass reports a problem: edges, for 60 s"
    assert over["Subject"] == "minipach: over: a pass reports a problem: edges"
    text = begin.get_content()
    assert "reason: edges: bad" in text and f"look: minipach -C {study.root} triggers" in text


def test_a_clock_that_is_two_ticks_behind(study: Study, told: Path) -> None:
    study.git(".", "config", "minipach.alert.after", "0")
    study.pipeline("report", "input: {cron: {name: tick, spec: '@daily', start: 2020-01-01}}\ntransform: {cmd: [x]}\n")
    first = parse_moment("2020-01-01")
    project = Project(study.root)
    alerts.evaluate(project, now=first + 100)
    assert messages(told) == [], "one tick is due: a pass is about to add it"
    alerts.evaluate(project, now=first + 86400 + 100)
    (begin,) = messages(told)
    assert begin.startswith("minipach: report is behind, for 0 s\n") and "reason: 2 ticks are due" in begin
    assert f"look: minipach -C {study.root} cron list report" in begin
    add_due_ticks(project, first + 86400 + 100)
    alerts.evaluate(Project(study.root), now=first + 86400 + 200)
    assert messages(told)[1].startswith("minipach: over: report is behind\n")


@pytest.mark.slow
def test_sets_that_wait_for_a_worker_that_is_not_there(
    study: Study, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.copier()
    study.put("images/a", "a")
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        monkeypatch.setenv("MINIPACH_REDIS", server.url)
        monkeypatch.setenv("MINIPACH_EXECUTOR", "rq")
        project = Project(study.root)
        for seconds in (0, 599, 600, 1200):
            alerts.evaluate(project, now=NOW + seconds)
        (begin,) = messages(told)
        assert begin.startswith("minipach: submitted work waits and will not run, for 10 min\n")
        assert "no worker serves this project" in begin and f"look: minipach -C {study.root} top" in begin
        assert "no worker serves this project" in workers.minipach("triggers")
        workers.start()
        workers.minipach("wait")
        # the pass that a worker made may look at the same moment: then it tells, a moment later
        until("it is over", lambda: alerts.evaluate(Project(study.root), now=NOW + 1300) or len(messages(told)) > 1)
        assert messages(told)[1].startswith("minipach: over: submitted work waits and will not run\n")


def test_a_clock_that_is_paused_is_not_behind(study: Study, told: Path) -> None:
    study.git(".", "config", "minipach.alert.after", "0")
    study.pipeline("report", "input: {cron: {name: tick, spec: '@daily', start: 2020-01-01}}\ntransform: {cmd: [x]}\n")
    later = parse_moment("2020-01-05")
    alerts.evaluate(Project(study.root), now=later)
    assert len(messages(told)) == 1
    study.git(".", "config", "minipach.paused", "report")
    alerts.evaluate(Project(study.root), now=later + 1)
    assert "paused; minipach resume report" in messages(told)[1]
    done = study.minipach("alerts", "list")
    assert "nothing is wrong" in done.out and "report is paused; minipach resume report" in done.out


def test_the_list_looks_at_once_and_sends_nothing(study: Study, told: Path) -> None:
    problem(study, "bad")
    (row,) = study.minipach("alerts", "list", "--json").json["alerts"]
    assert (row["cause"], row["sent"], row["look"]) == ("pass:bad:edges", [], "minipach triggers")
    assert re.search(r"SINCE +SENT.*\n.* +now +no ", study.minipach("alerts", "list").out)
    alerts.evaluate(Project(study.root), now=NOW)
    alerts.evaluate(Project(study.root), now=NOW + 600)
    (row,) = study.minipach("alerts", "list", "--json").json["alerts"]
    assert row["since"].startswith("2027-01-15T08:00:00") and row["sent"] == ["command"]
    problem(study)
    assert study.minipach("alerts", "list", "--json").json["alerts"] == []
    assert len(messages(told)) == 1


def test_the_list_refuses_bad_settings(study: Study, told: Path) -> None:
    study.git(".", "config", "minipach.alert.after", "soon")
    done = study.minipach("alerts", "list")
    assert done.code == 2 and done.refusals == [("setting.bad-value", "minipach.alert.after")]


@pytest.mark.parametrize("value", ["cat >> /tmp/told", "cat | mail me", "cat > told && true"])
def test_a_command_for_a_shell_gets_the_fix(study: Study, value: str) -> None:
    study.git(".", "config", "minipach.alert.command", value)
    done = study.minipach("alerts", "test")
    assert done.code == 2 and done.refusals == [("alert.bad-setting", "minipach.alert.command")]
    fix = done.problems[0].fix
    assert fix.startswith("git config minipach.alert.command ")
    study.ok("sh", "-c", fix)
    assert [way.name for way in configured_channels(Project(study.root).repo)] == ["command"]


def test_the_reason_of_a_command_is_its_last_line(study: Study) -> None:
    study.git(".", "config", "minipach.alert.command", "sh -c 'sleep 3 & echo one >&2; echo two >&2; exit 3'")
    done = study.minipach("alerts", "test")
    assert done.code == 2 and done.reports("alert.not-sent", "minipach.alert.command", "3: two")
