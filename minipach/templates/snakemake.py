"""A rule of a Snakefile. Snakemake is asked for it, in a sandbox, since a Snakefile is a program."""

from __future__ import annotations

import json
import os
import posixpath
import re
import shlex
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import printable, suggest
from minipach.templates.draft import Draft, DraftFile
from minipach.templates.inputs import literal, repo_around
from minipach.templates.stage_draft import Stage, code_file, draft_from_stage, in_project

_ASK = Path(__file__).with_name("ask_snakemake.py")
_WITH = Path(__file__).with_name("with_snakemake.py")
_MARK = "minipach-rule:"
_SECONDS = 60
_MEMORY = 8_000_000_000  # bytes of addresses, not of memory
_TOKEN = re.compile(r"MPW_(\w+?)_WPM")
_R_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_LINE = re.compile(r"\(([^()]*), line (\d+)\)$")
_DETECTED = re.compile(r" \(detected at line \d+\)")
_MISSING = re.compile(r"\[Errno 2\] No such file or directory: '(.*)'")
_FIXES = {
    "SyntaxError": "check this line and the one above",
    "IndentationError": "indent the lines of a rule alike",
    "NameError": "define it in the Snakefile",
    "ModuleNotFoundError": "install it beside Snakemake",
    "FileNotFoundError": "add the file",
    "UnicodeDecodeError": "save it as UTF-8",
}
_OWN_FILES = ("run.sh", "rule.json", "rule.R", "rule_code.py", "with_snakemake.py")
_RECIPE = "environment.yml"
_WORKFLOW = "workflow"  # the folder of the Snakefile in Snakemake's usual layout; paths are relative to the one above
_OWN = {"tmpdir", "_cores", "_nodes", "mem", "mem_mib", "disk", "disk_mib", "mem_mb", "disk_mb", "runtime", "gpu"}


@dataclass(frozen=True, slots=True)
class SnakemakeRule:
    """A rule: in its texts, `MPW_NAME_WPM` stands for a wildcard.

    Args:
        name: The name that people use: `Snakefile:sort`.
        folder: The folder that its paths are relative to.
        wildcards: The names of its wildcards.
        inputs: The paths that it reads.
        outputs: The paths that it writes.
        shell: Its command.
        parts: Parts of the spec that follow from it: `image`, `datum_tries`, `resource_requests` and so on.
        log: The paths of its logs.
        left_out: What cannot be carried over.
        files: The files that its command needs: a script or Python code, and what Snakemake would give it.
        guesses: What is a guess in it.
    """

    name: str
    folder: Path
    wildcards: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shell: str
    log: tuple[str, ...]
    parts: dict[str, Any]
    left_out: tuple[str, ...]
    files: tuple[DraftFile, ...] = ()
    guesses: tuple[str, ...] = ()


def read_rule(file: Path, wanted: str) -> SnakemakeRule:
    """Return a rule of a Snakefile, or the one that makes a file.

    Args:
        file: The Snakefile.
        wanted: The rule, or a path that a rule makes; "" is the first rule that runs something.

    Raises:
        UserError: Snakemake or bubblewrap is missing, Snakemake fails, or the rule needs Snakemake itself.
    """
    from minipach.templates.sandbox import need_program, run_boxed

    program = need_program("snakemake", str(file))
    python = _python(Path(program))
    real = Path(os.path.abspath(file))  # git-annex may have it as a link
    folder = real.parent.parent if real.parent.name == _WORKFLOW else real.parent
    home = python.parent.parent
    base = Path(os.path.realpath(python)).parent.parent
    parts = [one for one in dict.fromkeys((home, base)) if str(one) not in ("/", "/usr", "/usr/local")]
    asked = [str(python), "-I", "-B", "-c", _ASK.read_text(), os.path.relpath(real, folder), wanted]
    answer = run_boxed(asked, folder=folder, place=str(file), seconds=_SECONDS, memory=_MEMORY, parts=parts)
    lines = [line for line in answer.out.splitlines() if line.startswith(_MARK)]
    try:
        found = json.loads(lines[-1][len(_MARK) :])
        return _rule(file, folder, wanted, found)
    except (IndexError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = f"Snakemake gives no answer: {answer.said}"
        raise UserError(Problem("new.no-answer", str(file), message, "check it: snakemake --list-rules")) from None


def from_rule(project: Project, rule: SnakemakeRule, but: str) -> Draft:
    """Return the draft of a pipeline that runs a rule: one datum for each value of its wildcards.

    Args:
        project: The project.
        rule: The rule.
        but: The path of the new pipeline.

    Raises:
        UserError: An input is in no dataset, or the wildcards do not follow from the inputs.
    """
    if not rule.wildcards:
        return _concrete(project, rule, but)
    repos = [path for path in (*project.repos, *(place.path for place in project.places)) if path != but]
    members: dict[str, _Member] = {}
    links: list[tuple[str, str]] = []
    files: list[DraftFile] = []
    left_out: list[str] = []
    for word in dict.fromkeys(rule.inputs):
        tidy = posixpath.normpath(word)
        path = in_project(project, rule.name, rule.folder, word)
        if repo := repo_around(repos, path):
            below = path[len(repo) :].strip("/")
            name = _member(members, repo, below)
            links.append((tidy, f"{name}/{below}".rstrip("/")))
        elif not _TOKEN.search(word) and (code := code_file(project, rule.folder / word, tidy)) is not None:
            files.append(code)
        else:
            left_out.append(
                f"{_braces(word)}: neither in a dataset of the project nor a small file that git tracks here"
            )
    found, where, guesses = _joined(rule, members)
    script = _script(rule, links, [file.path.removeprefix("code/") for file in files])
    command = ["bash", "code/run.sh", *(f"{{{where[name]}}}" for name in rule.wildcards)]
    made_files = (DraftFile("code/run.sh", script.encode(), True), *files, *rule.files)
    if left_out:
        left_out.append("the command may not find what is left out")
    return _draft(rule, found, command, made_files, guesses, left_out)


def _concrete(project: Project, rule: SnakemakeRule, but: str) -> Draft:
    """Return the draft of a pipeline of one datum."""
    stage = Stage(rule.name, rule.folder, rule.inputs, rule.outputs, [*_log_folders(rule), in_shell(rule.shell)])
    made = draft_from_stage(project, stage, but)
    script = made.files[0]
    text = script.content.replace(b"set -eu\n", b"set -euo pipefail\n", 1)
    first = replace(script, content=text.replace(b"#!/bin/sh\n", b"#!/bin/bash\n", 1))
    files = (first, *made.files[1:], *rule.files)
    return _draft(rule, made.input, ["bash", "code/run.sh"], files, made.guesses, made.left_out)


def _rule(file: Path, folder: Path, wanted: str, found: dict[str, Any]) -> SnakemakeRule:
    if found.get("error"):
        raise UserError(_said(file, printable(str(found["error"]))[:300]))
    if found.get("missing"):
        known = [str(name) for name in found["rules"]]
        what = f'no rule "{printable(wanted)}", and none that makes it' if wanted else "no rule with a command"
        fix = f"{suggest(wanted, known) or 'name a rule or a file'}; write {file.name}:RULE"
        raise UserError(Problem("new.no-stage", str(file), what, fix))
    place = f"{file}: {printable(str(found['rule']))}"
    if found["code"]:
        fix = "put the work into a program that a shell can start, or write the spec by hand"
        message = f"the rule needs Snakemake itself (`{found['code']}:`)"
        raise UserError(Problem("new.rule-is-code", place, message, fix))
    if found.get("function"):
        fix = f"name a file that the rule makes: --from {file.name}:FILE"
        message = f"a function of the rule needs values of wildcards ({printable(str(found['function']))[:200]})"
        raise UserError(Problem("new.rule-function", place, message, fix))
    code = _code_of(place, found)
    if not code.shell:
        fix = f"name a rule that has one: --from {file.name}:RULE"
        raise UserError(Problem("new.no-command", place, "no command", fix))
    parts, left_out = _carried(found)
    outputs = [(str(path), [str(flag) for flag in flags]) for path, flags in found["outputs"]]
    for path, flags in outputs:
        left_out += [f"{flag}({_braces(path)}): no counterpart" for flag in flags if flag not in ("directory", "touch")]
    touched = "".join(f"\ntouch {shlex.quote(path)}" for path, flags in outputs if "touch" in flags)
    return SnakemakeRule(
        name=f"{file.name}:{wanted or found['rule']}",
        folder=folder,
        wildcards=tuple(map(str, found["wildcards"])),
        inputs=tuple(map(str, found["inputs"])),
        outputs=tuple(path for path, _ in outputs),
        shell=code.shell + touched,
        log=tuple(map(str, found["log"])),
        parts=parts,
        left_out=tuple(left_out),
        files=(*code.files, *_environment(parts, found)),
        guesses=code.guesses,
    )


def _said(file: Path, error: str) -> Problem:
    """Return what Snakemake says against a Snakefile, with its place and a fix."""
    kind, _, message = error.partition(": ")
    place = str(file)
    if at := _LINE.search(message):
        message = message[: at.start()].rstrip(" .")
        place = f"{file.parent / at[1]}:{at[2]}" if (file.parent / at[1]).is_file() else f"{file}:{at[2]}"
    message = _DETECTED.sub("", message)
    if kind == "UnicodeDecodeError":
        return Problem("new.no-answer", place, "not UTF-8 text", _FIXES[kind])
    if missing := _MISSING.match(message):
        message = f'"{missing[1]}" does not exist'
    fix = _FIXES.get(kind, "check it: snakemake --list-rules")
    return Problem("new.no-answer", place, f"Snakemake cannot read it: {message or kind}", fix)


@dataclass(frozen=True, slots=True)
class _Code:
    """The command of a rule, the files that it needs, and what is a guess."""

    shell: str
    files: tuple[DraftFile, ...] = ()
    guesses: tuple[str, ...] = ()


def _code_of(place: str, found: dict[str, Any]) -> _Code:
    """Return how a rule runs: its shell command, its script, or its Python code. Raises UserError."""
    if found.get("shell"):
        return _Code(str(found["shell"]).strip("\n"))
    if script := found.get("script"):
        name = PurePosixPath(str(script["name"])).name
        return _script_code(place, found, script, f"script_{name}" if name in _OWN_FILES else name)
    if run := found.get("run"):
        if missing := [printable(str(name)) for name in run["missing"]]:
            fix = "put the work into a script of its own (`script:`), or write the spec by hand"
            message = f"its Python code needs {', '.join(missing)} of the Snakefile"
            raise UserError(Problem("new.rule-is-code", place, message, fix))
        guess = "code/rule_code.py is the `run:` of the rule, with the parts of the Snakefile that it names"
        return _with_object(found, "rule_code.py", _rule_code(run), guess)
    return _Code("")


def _script_code(place: str, found: dict[str, Any], script: dict[str, Any], name: str) -> _Code:
    language, text, before = (str(script[key]) for key in ("language", "text", "before"))
    folder = "; other files of its folder are not copied"
    if language == "python":
        return _with_object(found, name, text, f"code/{name} gets its object `snakemake` from code/rule.json{folder}")
    if language not in ("bash", "r"):
        fix = "start the script with a program in `shell:`, or write the spec by hand"
        message = f"the rule needs Snakemake itself (a script in {printable(language) or 'a language unknown to it'})"
        raise UserError(Problem("new.rule-is-code", place, message, fix))
    guess = f"code/{name} gets what Snakemake says of the rule from code/run.sh{folder}"
    file = DraftFile(f"code/{name}", text.encode())
    if language == "bash":
        lines = ['w__scriptdir="$here"/code', "(", "set +euo pipefail", before]
        shell = "\n".join([*lines, f'source "$here"/code/{shlex.quote(name)}', ")"])
        return _Code(shell, (file,), (guess,))
    wildcards = [f"export w_{one}=MPW_{one}_WPM" for one in map(str, found["wildcards"])]
    word = shlex.quote(name)
    lines = [
        *wildcards,
        'export w__scriptdir="$here"/code',
        f'cat "$here"/code/rule.R "$here"/code/{word} >"$work"/.rule.R',
    ]
    shell = "\n".join([*lines, 'Rscript --vanilla "$work"/.rule.R'])
    return _Code(shell, (file, DraftFile("code/rule.R", in_r(before).encode())), (guess,))


def _with_object(found: dict[str, Any], name: str, text: str, guess: str) -> _Code:
    """Return the command that runs a file with what Snakemake would give it."""
    pairs = "".join(f" {one}=MPW_{one}_WPM" for one in map(str, found["wildcards"]))
    shell = f'python3 "$here"/code/with_snakemake.py "$here"/code/rule.json "$here"/code/{shlex.quote(name)}{pairs}'
    data = json.dumps(found["object"], indent=1) + "\n"
    own = (DraftFile("code/rule.json", data.encode()), DraftFile("code/with_snakemake.py", _WITH.read_bytes()))
    return _Code(shell, (DraftFile(f"code/{name}", text.encode()), *own), (guess,))


def _rule_code(run: dict[str, Any]) -> str:
    """Return the Python code of a rule as a program."""
    names = "input, output, params, wildcards, threads, resources, log, rule, config"
    lines = [*map(str, run["imports"]), "", *(f"{name} = {value!r}" for name, value in run["values"].items())]
    functions = [f"\n\n{text}" for text in map(str, run["functions"])]
    body = textwrap.indent(str(run["body"]), "    ")
    return "\n".join([*lines, *functions, f"\ndef run({names}):", body, f"\nrun({names})", ""])


def _environment(parts: dict[str, Any], found: dict[str, Any]) -> list[DraftFile]:
    """Return the recipe of a rule's environment; `parts` names it."""
    if not found.get("conda_text") or "image" in parts:
        return []
    parts["minipach"] = {**parts.get("minipach", {}), "environment": _RECIPE}
    return [DraftFile(_RECIPE, str(found["conda_text"]).encode())]


def in_r(text: str) -> str:
    """Return code of R with variables in the places of tokens, which are in literals."""

    def looked_up(hit: re.Match[str]) -> str:
        quote, inner = hit[0][0], hit[0][1:-1]
        if not _TOKEN.search(inner):
            return hit[0]
        pieces = _TOKEN.split(inner)
        words = [f'Sys.getenv("w_{piece}")' if n % 2 else f"{quote}{piece}{quote}" for n, piece in enumerate(pieces)]
        return f"paste0({', '.join(words)})"

    return _R_TEXT.sub(looked_up, text)


def _carried(found: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the parts of the spec that follow from a rule's other fields, and what is left out."""
    parts: dict[str, Any] = {}
    left_out = []
    requests: dict[str, Any] = {}
    resources = found["resources"]
    if found["threads"] > 1:
        requests["cpu"] = found["threads"]
    for key, field in (("mem_mb", "memory"), ("disk_mb", "disk")):
        if isinstance(resources.get(key), int) and resources[key] > 0:
            requests[field] = f"{resources[key]}M"
    if isinstance(resources.get("gpu"), int) and resources["gpu"] > 0:
        requests["gpu"] = {"number": resources["gpu"]}
    if requests:
        parts["resource_requests"] = requests
    if isinstance(resources.get("runtime"), int) and resources["runtime"] > 0:
        parts["datum_timeout"] = f"{resources['runtime']}m"
    again, first = found.get("memory_again"), resources.get("mem_mb")
    if isinstance(again, int) and isinstance(first, int) and again > first > 0:
        parts["minipach"] = {"retry": {"memory": f"{again / first:g}x"}}
    left_out += [f"resources: {name}: no counterpart" for name in sorted(set(resources) - _OWN)]
    container = found["container"]
    if container.startswith("docker://"):
        parts["image"] = container.removeprefix("docker://")
    elif container:
        left_out.append(f"container: {container}: register it with datalad containers-add, and name it as image")
    if found["conda"] and (not found.get("conda_text") or "image" in parts):
        left_out.append(f"conda: {found['conda']}: start minipach where this environment is active")
    others = dict(found["others"])
    if str(tries := others.pop("_restart_times", "")).isdecimal():
        parts["datum_tries"] = int(tries) + 1
    if others.get("priority") == "0":
        others.pop("priority")
    left_out += [f"{name.removesuffix('_depth')}: no counterpart" for name in others]
    left_out += [f"wildcard_constraints: {name}: write it into the glob" for name in found["constraints"]]
    left_out += [
        f"log: {_braces(path)} is not kept; minipach logs has what the command prints" for path in found["log"]
    ]
    return parts, left_out


def _draft(
    rule: SnakemakeRule,
    found: dict[str, Any],
    command: Sequence[str],
    files: Sequence[DraftFile],
    guesses: Sequence[str],
    left_out: Sequence[str],
) -> Draft:
    parts = dict(rule.parts)
    image = parts.pop("image", None)
    transform = {**({"image": image} if image else {}), "cmd": list(command)}
    sentences = {
        "input": [],
        "transform": [*guesses, "bash runs the command with `set -euo pipefail`, as Snakemake does"],
    }
    sentences["transform"] += rule.guesses
    if "environment" in parts.get("minipach", {}):
        sentences["minipach"] = ["micromamba builds the environment; without this key, the one on your PATH counts"]
    sentences["input"] = ["each value of the wildcards is a datum"] if rule.wildcards else []
    if "datum_timeout" in parts:
        sentences["datum_timeout"] = ["`runtime` of the rule; a datum that takes longer is stopped"]
    spec = {"input": found, "transform": transform, **parts}
    return Draft(spec, sentences, tuple(files), (*rule.left_out, *left_out), rule.name)


@dataclass(slots=True)
class _Member:
    """An input: a repo, and a path in it with tokens."""

    repo: str
    below: str

    @property
    def wildcards(self) -> list[str]:
        return list(dict.fromkeys(_TOKEN.findall(self.below)))

    def glob(self) -> str:
        """Return the glob, with parentheses around the first place of each wildcard."""
        pieces, at, seen = ["/"], 0, set()
        for hit in _TOKEN.finditer(self.below):
            pieces += [literal(self.below[at : hit.start()]), "*" if hit[1] in seen else "(*)"]
            seen.add(hit[1])
            at = hit.end()
        return "".join([*pieces, literal(self.below[at:])])


def _member(members: dict[str, _Member], repo: str, below: str) -> str:
    for name, member in members.items():
        if (member.repo, member.below) == (repo, below):
            return name
    base = name = repo.rpartition("/")[2]
    n = 2
    while name in members or name == "out":
        name, n = f"{base}{n}", n + 1
    members[name] = _Member(repo, below)
    return name


def _joined(rule: SnakemakeRule, members: dict[str, _Member]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return the input, the placeholder of each wildcard, and what is a guess in it."""
    if not members:
        fix = "datalad create -d . --force FOLDER makes a folder with data a dataset"
        raise UserError(Problem("new.no-input", rule.name, "it reads no file of a dataset of the project", fix))
    where = _places(rule, members)
    groups: dict[frozenset[str], list[str]] = {}
    for name, member in members.items():
        groups.setdefault(frozenset(member.wildcards), []).append(name)
    keys = [group for group in groups if group]
    if any(one & two for n, one in enumerate(keys) for two in keys[n + 1 :]):
        fix = f"name a file that the rule makes: --from {rule.name.partition(':')[0]}:FILE"
        raise UserError(Problem("new.rule-wildcard", rule.name, "its inputs share some of their wildcards only", fix))
    guesses = []
    parts: list[dict[str, Any]] = []
    for group, names in groups.items():
        rows = [_pfs(name, members[name]) for name in names]
        if group and len(rows) > 1:
            for name, row in zip(names, rows, strict=True):
                order = [members[name].wildcards.index(wildcard) + 1 for wildcard in sorted(group)]
                row["pfs"]["join_on"] = "-".join(f"${{{n}}}" for n in order)
            parts.append({"join": rows})
        else:
            parts += rows
    if len(keys) > 1:
        guesses.append("each combination of the wildcards is a datum")
    if any(len(_TOKEN.findall(member.below)) > len(member.wildcards) for member in members.values()):
        guesses.append("a wildcard that is twice in a path may differ in its second place")
    guesses.append("the command sees its files at the paths that it had; code/run.sh puts them there")
    return (parts[0] if len(parts) == 1 else {"cross": parts}), where, guesses


def _places(rule: SnakemakeRule, members: dict[str, _Member]) -> dict[str, str]:
    """Return the placeholder of each wildcard. Raises UserError if one is in no path of an input."""
    where: dict[str, str] = {}
    for name, member in members.items():
        for n, wildcard in enumerate(member.wildcards, 1):
            where.setdefault(wildcard, f"{name}.{n}")
    for wildcard in rule.wildcards:
        if wildcard not in where:
            fix = f"name a file that the rule makes: --from {rule.name.partition(':')[0]}:FILE"
            message = f"the wildcard {{{wildcard}}} is in no path of an input"
            raise UserError(Problem("new.rule-wildcard", rule.name, message, fix))
    return where


def _pfs(name: str, member: _Member) -> dict[str, Any]:
    pfs: dict[str, Any] = {"repo": member.repo, "glob": member.glob()}
    if name != member.repo.rpartition("/")[2]:
        pfs["name"] = name
    return {"pfs": pfs}


def _script(rule: SnakemakeRule, links: Sequence[tuple[str, str]], code: Sequence[str]) -> str:
    lines = [
        "#!/bin/bash",
        f"# {printable(rule.name)}, made by minipach new",
        "set -euo pipefail",
        *(f"w_{name}=${n}" for n, name in enumerate(rule.wildcards, 1)),
        'here=$(pwd); work=$(mktemp -d); cd "$work"',
    ]
    words = [*(word for word, _ in links), *code, *map(posixpath.normpath, (*rule.outputs, *rule.log))]
    lines += [f"mkdir -p -- {_word(folder)}" for folder in sorted({posixpath.dirname(word) for word in words} - {""})]
    lines += [f'ln -s -- "$PFS"/{_word(place)} {_word(word)}' for word, place in links]
    lines += [f'ln -s -- "$here"/{shlex.quote(f"code/{word}")} {shlex.quote(word)}' for word in code]
    lines += ["", in_shell(rule.shell), ""]
    for word in map(posixpath.normpath, rule.outputs):
        if parent := posixpath.dirname(word):
            lines.append(f'mkdir -p -- "$PFS/out"/{_word(parent)}')
        lines.append(f'cp -R -- {_word(word)} "$PFS/out"/{_word(word)}')
    return "\n".join(lines) + "\n"


def _log_folders(rule: SnakemakeRule) -> list[str]:
    folders = sorted({posixpath.dirname(posixpath.normpath(word)) for word in rule.log} - {""})
    return [f"mkdir -p -- {shlex.quote(folder)}" for folder in folders]


def _word(path: str) -> str:
    """Return a path as a word of a shell, with variables in the places of tokens."""
    pieces, at = [], 0
    for hit in _TOKEN.finditer(path):
        before = path[at : hit.start()]
        pieces += [shlex.quote(before) if before else "", f'"$w_{hit[1]}"']
        at = hit.end()
    rest = path[at:]
    return "".join([*pieces, shlex.quote(rest) if rest or not pieces else ""])


def in_shell(text: str) -> str:
    """Return a command with variables in the places of tokens, quoted so that no value becomes code."""
    pieces: list[str] = []
    quote, at, comment = "", 0, False
    while at < len(text):
        c = text[at]
        if hit := _TOKEN.match(text, at):
            variable = f"${{w_{hit[1]}}}"
            pieces.append(variable if quote == '"' else f"'\"{variable}\"'" if quote == "'" else f'"{variable}"')
            at = hit.end()
            continue
        if comment:
            comment = c != "\n"
        elif c == "\\" and quote != "'":
            pieces.append(text[at : at + 2])
            at += 2
            continue
        elif c == quote:
            quote = ""
        elif c in "'\"" and not quote:
            quote = c
        elif c == "#" and not quote and (at == 0 or text[at - 1].isspace()):
            comment = True
        pieces.append(c)
        at += 1
    return "".join(pieces)


def _braces(text: str) -> str:
    return printable(_TOKEN.sub(lambda hit: f"{{{hit[1]}}}", text))


def _python(program: Path) -> Path:
    """Return the Python that has Snakemake: the one beside its program."""
    real = Path(os.path.realpath(program))
    for folder in (real.parent, program.parent):
        for name in ("python3", "python"):
            if (folder / name).is_file():
                return folder / name
    found = shutil.which("python3")
    if found is None:
        raise UserError(Problem("new.no-program", str(program), "no Python beside it", "install Snakemake again"))
    return Path(found)
