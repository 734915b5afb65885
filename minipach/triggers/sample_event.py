"""A signed sample event, sent to a receiver as a forge would send it."""

from __future__ import annotations

import http.client
import time
import urllib.parse
import uuid

from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import suggest
from minipach.triggers.payloads import sample
from minipach.triggers.signatures import FORGES
from minipach.triggers.webhook_secrets import access, missing

_PATIENCE = 10.0  # seconds for an answer


def send_sample_event(project: Project, forge: str, url: str) -> str:
    """Send a sample event, and return the answer in one line.

    Raises:
        UserError: There is no such sender, no secret for it or no receiver; the receiver refused the event.
    """
    if forge not in FORGES:
        raise UserError(Problem("webhook.no-sender", forge, "not a sender of events", suggest(forge, FORGES)))
    known = access(project.repo)
    secrets = known.secrets.get(forge, ())
    if not secrets and forge not in known.unsigned:
        raise UserError(missing(forge))
    headers, body = sample(forge, secrets[0] if secrets else None, time.time(), str(uuid.uuid4()))
    status, answer = _post(url.rstrip("/"), f"/hooks/{forge}", headers, body)
    if status != 202:
        fix = "compare the secrets, and see what minipach serve prints"
        raise UserError(Problem("serve.refused", url, f"the receiver answered {status}: {answer}", fix))
    return f"{forge}: {status} {answer}"


def _post(url: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    wrong = Problem("serve.bad-url", url, "not the address of a receiver", "use http://127.0.0.1:8642, for example")
    try:
        parts = urllib.parse.urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise UserError(wrong)
        connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=_PATIENCE)
        connection.request("POST", parts.path + path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(300).decode(errors="backslashreplace").strip()
    except OSError as error:
        problem = f"no answer: {error.strerror or error}"
        raise UserError(Problem("serve.no-answer", url, problem, "minipach serve")) from None
    except (ValueError, http.client.HTTPException):
        raise UserError(wrong) from None
