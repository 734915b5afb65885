"""The origin of files as lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from minipach.model.launch_protocol import DATUM_NAME
from minipach.provenance.lineage import Commit, Computation, FileVersion, Lineage
from minipach.support.text import byte_count, many, short

_FEW = 20  # inputs and outputs of a computation
_MOST = 200  # files, and computations; --json has all
_OF_MINIPACH = ("PPS_", "PACH_", DATUM_NAME)


def lines(found: Lineage, *, verbose: bool = False) -> Iterator[str]:
    """Yield the lines: each file that was asked for, then each computation once, before those that it needed.

    verbose: also the variables of commands, and all inputs.
    """
    for number, key in enumerate(found.wanted):
        if number == _MOST:
            yield f"and {many(len(found.wanted) - _MOST, 'more file')}; --json has all"
            break
        yield from _file(found.files[key])
    for number, computation in enumerate(found.computations.values()):
        if number == _MOST:
            yield f"and {many(len(found.computations) - _MOST, 'more computation')}; --json has all"
            break
        yield ""
        yield from _computation(found, computation, verbose=verbose)


def _file(file: FileVersion) -> Iterator[str]:
    size = f", {byte_count(file.size)}" if file.size is not None else ""
    content = f"  {short(file.content)}{size}" if file.content else ""
    yield f"{file.name}{content}"
    yield f"  {_origin(file)}"
    for url in file.web:
        yield f"  from {url}"
    if file.note:
        yield f"  note: {file.note}"


def _origin(file: FileVersion) -> str:
    if file.change is None:
        return f"unknown: {file.note}"
    if file.origin == "computed":
        return f"computed: {_who(file.change)}, commit {file.change.commit[:10]}"
    what = f"by `{_cut(file.command)}`" if file.command else f'"{_cut(file.change.subject)}"'
    page = f"  {file.change.url}" if file.change.url else ""
    return f"committed: {_who(file.change)}, commit {file.change.commit[:10]} {what}{page}"


def _who(commit: Commit) -> str:
    return f"{commit.author}, {commit.when}"


def _cut(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _computation(found: Lineage, one: Computation, *, verbose: bool) -> Iterator[str]:
    yield f"{one.pipeline}: datum {one.datum}"
    took = f", {one.seconds:.1f} s" if one.seconds is not None else ""
    again = f", repeated {many(len(one.rerun_of), 'time')}" if one.rerun_of else ""
    yield f"  when     {one.record.when}{took}{again}"
    yield f"  who      {one.record.author} <{one.record.email}>"
    yield f"  record   {one.record.commit}" + (f"  {one.record.url}" if one.record.url else "")
    yield f"  datum id {one.datum_id}" + (f"  job {one.job}" if one.job else "")
    if one.reused_from:
        yield f"  copied from the equal result of datum {one.reused_from}"
    yield f"  command  {shlex.join(one.command)}"
    for line in one.stdin:
        yield f"  stdin    {line}"
    names = {use.input for use in one.inputs}
    for name, value in one.variables:
        if verbose or not (name.startswith(_OF_MINIPACH) or name.removesuffix("_COMMIT") in names):
            yield f"  env      {name}={value}"
    for name in one.secrets:
        yield f"  secret   {name}"
    if not one.network:
        yield "  network  none"
    yield from _environment(one)
    yield from _code(one)
    most = len(one.inputs) if verbose else _FEW
    for use in one.inputs[:most]:
        file = found.files[use.key]
        where = f"{file.name} at {use.at[:10]}"
        yield f"  input    {use.input}: {where}" + (f"  {short(file.content)}" if file.content else "")
        yield f"             {_origin(file)}"
    if len(one.inputs) > most:
        yield f"  and {many(len(one.inputs) - most, 'more input')}; --verbose has all"
    shown = one.outputs[:most]
    if len(one.outputs) > 1:
        yield f"  outputs  {', '.join(shown)}" + (", ..." if len(one.outputs) > most else "")
    for note in one.notes:
        yield f"  note     {note}"
    yield f"  repeat   {one.repeat}"


def _environment(one: Computation) -> Iterator[str]:
    env = one.environment
    if env.is_host:
        reported = [line for line in env.text.splitlines() if line.startswith(("system: ", "python3: "))]
        yield f"  host     {', '.join(reported)}  {short(env.content)}"
        return
    digest = f", digest {env.digest}" if env.digest else ""
    yield f"  image    {env.name or env.path}  {env.content}{digest}"


def _code(one: Computation) -> Iterator[str]:
    if one.code is None:
        return
    commit = one.code.commit
    yield f'  code     {commit.commit} "{_cut(commit.subject)}"  {_who(commit)}' + (
        f"  {commit.url}" if commit.url else ""
    )
    if one.code.now:
        yield f"             changed since: {one.code.diff}"
        if one.code.diff_url:
            yield f"             {one.code.diff_url}"
