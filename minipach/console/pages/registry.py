"""All pages by the word in their address, and pages as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minipach.console.pages.compose import compose
from minipach.console.pages.datum import datum, file_history
from minipach.console.pages.experiments import experiments
from minipach.console.pages.failures import failures
from minipach.console.pages.jobs import job, jobs
from minipach.console.pages.log import log
from minipach.console.pages.overview import index
from minipach.console.pages.page import Asked, Page
from minipach.console.pages.pipeline import pipeline
from minipach.console.pages.storage import storage
from minipach.console.pages.workers import workers

PAGES: Mapping[str, Callable[[Asked], Page]] = {
    "": index,
    "pipeline": pipeline,
    "datum": datum,
    "history": file_history,
    "log": log,
    "failures": failures,
    "jobs": jobs,
    "job": job,
    "experiments": experiments,
    "storage": storage,
    "compose": compose,
    "workers": workers,
}


def as_text(value: Any, indent: str = "") -> str:
    """Return data as indented text for people and programs that read no HTML."""
    if isinstance(value, dict):
        return "".join(_entry(str(name), below, indent) for name, below in value.items())
    if isinstance(value, list):
        return "".join(_entry("-", below, indent) for below in value)
    return f"{indent}{value}\n"


def _entry(name: str, value: Any, indent: str) -> str:
    if isinstance(value, dict | list):
        return f"{indent}{name}\n{as_text(value, indent + '  ')}" if value else ""
    shown = "" if value is None else str(value)
    return f"{indent}{name}: {shown}\n" if name != "-" else f"{indent}- {shown}\n"
