"""Channels of alerts: a command, a webhook, mail, and what apprise knows. Only local settings name them."""

from __future__ import annotations

import email.message
import http.client
import importlib.util
import ipaddress
import json
import os
import re
import shlex
import smtplib
import socket
import ssl
import stat
import subprocess
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from minipach.git.repo import Repo
from minipach.project.settings import local_setting
from minipach.support.errors import Problem, UserError
from minipach.support.text import printable, quoted
from minipach.triggers.webhook_secrets import PREFIX

_PATIENCE = 30.0  # seconds for a channel to take a message
_PASSWORD = "MINIPACH_ALERT_SMTP_PASSWORD"
_SHELL = re.compile(r"[0-9&]?[<>]{1,3}(&?[0-9-]?)|&&|\|\|?|;|&")  # what a shell reads, as a word of its own
CHANNEL_KINDS = ("command", "webhook", "mail", "apprise")


class NotSentError(Exception):
    """A message that a channel did not take. The text has no credentials."""


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """A message. title: one line · text: for people, several lines · data: the same for programs."""

    title: str
    text: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to send messages. send: raises NotSentError."""

    name: str
    send: Callable[[AlertMessage], None]


def configured_channels(repo: Repo) -> list[Channel]:
    """Return the channels that the local settings name.

    Raises:
        UserError: A setting can't be used.
    """
    found = []
    for kind in CHANNEL_KINDS:
        value = local_setting(repo, f"alert.{kind}")
        if value:
            found.append(Channel(kind, _MAKERS[kind](repo, value)))
    return found


def _bad(kind: str, problem: str, fix: str) -> UserError:
    return UserError(Problem("alert.bad-setting", f"minipach.alert.{kind}", problem, fix))


def _command(repo: Repo, value: str) -> Callable[[AlertMessage], None]:
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise _bad("command", f"not a command ({error})", "close the quotes") from None
    if not words:
        raise _bad("command", "not a command", "name a program and its arguments")
    if shell_word := next((word for word in words if _SHELL.fullmatch(word)), None):
        fix = f"git config minipach.alert.command {shlex.quote(shlex.join(['sh', '-c', value]))}"
        raise _bad("command", f'no shell runs it, so "{printable(shell_word)}" has no meaning', fix)
    if words[0].startswith("~"):
        words[0] = os.path.expanduser(words[0])
    environment = {k: v for k, v in os.environ.items() if not k.startswith((PREFIX, _PASSWORD))}

    def send(message: AlertMessage) -> None:
        with tempfile.TemporaryFile() as said:  # no pipe: what the command leaves running may hold it
            try:
                done = subprocess.run(
                    words,
                    input=f"{message.title}\n\n{message.text}".encode("utf-8", "backslashreplace"),
                    cwd=repo.path,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    timeout=_PATIENCE,
                    start_new_session=True,
                    check=False,
                )
            except (OSError, ValueError) as error:
                raise NotSentError(f"{words[0]}: {getattr(error, 'strerror', None) or error}") from None
            except subprocess.TimeoutExpired:
                raise NotSentError(f"{words[0]} took longer than {_PATIENCE:.0f} s") from None
            if done.returncode:
                raise NotSentError(f"{words[0]} ended with exit code {done.returncode}{_last_line(said)}")

    return send


def _last_line(said: IO[bytes]) -> str:
    """Return the last line that a command has printed, after a colon; "" if it has printed nothing."""
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - 2000))
    lines = said.read().decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {printable(last[-200:])}" if last else ""


def _webhook(_repo: Repo, value: str) -> Callable[[AlertMessage], None]:
    parts = _address("webhook", value, ("http", "https"), "such as https://chat.example.org/hook")
    host = parts.hostname or ""
    where = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))

    def send(message: AlertMessage) -> None:
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = kinds[parts.scheme](host, parts.port, timeout=_PATIENCE)
        body = json.dumps({**message.data, "text": f"{message.title}\n{message.text}"}).encode()
        try:
            connection.request("POST", target, body, {"Content-Type": "application/json", "User-Agent": "minipach"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotSentError(f"{where}: {_why(error)}") from None
        finally:
            connection.close()
        if not 200 <= status < 300:  # also a redirect: the message goes where the setting says
            raise NotSentError(f"{where} answered {status}")

    return send


def _mail(repo: Repo, value: str) -> Callable[[AlertMessage], None]:
    server = local_setting(repo, "alert.smtp") or "smtp://127.0.0.1:25"
    parts = _address("smtp", server, ("smtp", "smtps"), "such as smtps://me@mail.example.org:465")
    host = parts.hostname or ""
    port = parts.port or (465 if parts.scheme == "smtps" else 25)
    sender = local_setting(repo, "alert.mail-from") or f"minipach@{socket.gethostname()}"
    for name, text in (("mail", value), ("mail-from", sender)):
        if not text.isprintable() or "@" not in text:
            raise _bad(name, "not an address of mail", "such as me@example.org")
    password = _password(repo) if parts.username else ""

    def send(message: AlertMessage) -> None:
        mail = email.message.EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, value, printable(message.title)[:200]
        mail.set_content(message.text.encode("utf-8", "backslashreplace").decode())
        context = ssl.create_default_context()
        try:
            if parts.scheme == "smtps":
                found: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_PATIENCE, context=context)
            else:
                found = smtplib.SMTP(host, port, timeout=_PATIENCE)
            with found as connection:
                connection.ehlo()
                secure = parts.scheme == "smtps"
                if not secure and connection.has_extn("starttls"):
                    connection.starttls(context=context)
                    secure = True
                if parts.username:
                    if not (secure or _is_loopback(host)):
                        raise NotSentError(f"{host} offers no encryption: the password is not sent")
                    connection.login(urllib.parse.unquote(parts.username), password)
                connection.send_message(mail)
        except smtplib.SMTPException as error:
            raise NotSentError(f"{host}: {type(error).__name__}") from None  # its text may have what was sent
        except (OSError, ValueError) as error:
            raise NotSentError(f"{host}:{port}: {_why(error)}") from None

    return send


def _password(repo: Repo) -> str:
    if found := os.environ.get(_PASSWORD):
        return found
    name = local_setting(repo, "alert.smtp-password-file")
    if not name:
        fix = f"set {_PASSWORD}, or git config minipach.alert.smtp-password-file FILE"
        raise _bad("smtp", "a user is named, and no password is set", fix)
    path = Path(name).expanduser()
    try:
        with path.open() as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise _bad("smtp-password-file", f"others can read {path}", f"chmod 600 {quoted(path)}")
            return file.read(1000).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad("smtp-password-file", f"{path} can't be read: {_why(error)}", "correct the path") from None


def _apprise(_repo: Repo, value: str) -> Callable[[AlertMessage], None]:
    if importlib.util.find_spec("apprise") is None:
        raise _bad("apprise", "apprise is not installed", "pip install 'minipach[alerts]'")

    def send(message: AlertMessage) -> None:
        import apprise

        service = apprise.Apprise()
        if not all(service.add(url) for url in value.split()):
            raise NotSentError("apprise knows no such address")
        if not service.notify(title=message.title, body=message.text, body_format=apprise.NotifyFormat.TEXT):
            raise NotSentError("apprise could not send it")

    return send


def _address(kind: str, value: str, schemes: tuple[str, ...], example: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(value)
        good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        good = good and value.isprintable() and " " not in value
    except ValueError:
        good = False
    if not good:
        raise _bad(kind, "not an address", example)
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__)[:200]


_MAKERS: Mapping[str, Callable[[Repo, str], Callable[[AlertMessage], None]]] = {
    "command": _command,
    "webhook": _webhook,
    "mail": _mail,
    "apprise": _apprise,
}
