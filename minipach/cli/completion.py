"""Completion for shells: what may follow the words typed so far. Imports little, so that a Tab is answered at once.

A shell's script (`minipach completion SHELL`) starts minipach with `_MINIPACH_COMPLETE` set to the shell's name. The
answer is lines of text: first what the shell completes itself, then one candidate per line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "_MINIPACH_COMPLETE"
TABLE = Path(__file__).with_name("completion.json")  # written by `python -m minipach.cli.reference`
_SPECS = ("spec.yml", "spec.yaml", "spec.json")
_RESERVED = frozenset({"inputs", "code", ".minipach", ".datalad", ".git"})
_BREAKS = "\"'><=;|&(:"  # where bash begins a new word, unless COMP_WORDBREAKS says otherwise
_PLAIN = frozenset("./:@%+,=-_")  # what bash needs no backslash for, besides letters and digits
_TARGET = re.compile(r"^(\w[\w./+-]*)[ \t]*:(?![=:])", re.MULTILINE)
_JOBS = 50  # newest jobs that are offered
_ASKED = 24  # subdatasets in which plain folders are looked for: each costs a git process
_TAKEN = re.compile(r"""\brepo["']?\s*:\s*["']?([^\s"',}\]]+)""")  # the repo of an input, in a spec
_OURS = [re.compile(rf"""(?:^|[{{,])\s*["']?{key}["']?\s*:""", re.MULTILINE) for key in ("transform", "inputs?")]
_REMOTE = re.compile(r"""^\s*\[remote "([^"\\]+)"\]""", re.MULTILINE)
_STORE = re.compile(r"""^\s*\[minipach-store "([^"\\]+)"\]""", re.MULTILINE)
_EXPERIMENT = re.compile(r"^[0-9a-f]+ refs/minipach/experiments/([^\s/]+)$", re.MULTILINE)
_SOURCE = re.compile(r"""^\s*\[minipach-templates "([^"\\]+)"\]\s*url = (/.*)$""", re.MULTILINE)
_SPECS_FOLDER = Path(__file__).parents[1] / "templates" / "specs"
_CONTAINER = re.compile(r"""^\s*\[datalad "containers\.([^"\\]+)"\]""", re.MULTILINE)

Candidate = tuple[str, str]  # a word, and what it means


@dataclass
class Completions:
    """Possible continuations. paths: what the shell adds by itself, "files", "dirs" or "words" (nothing)."""

    candidates: list[Candidate] = field(default_factory=list)
    paths: str = "words"
    more: bool = False  # a candidate is no whole word yet


def answer(shell: str, arguments: Sequence[str]) -> str:
    """Return the possible continuations of a command line, as the completion script of a shell reads them.

    Args:
        shell: bash, zsh or fish.
        arguments: The words after the program, the last one to be completed. Of bash, the line up to the cursor.
    """
    raw, quote = "", ""
    words = list(arguments)
    if shell == "bash":
        words, raw, quote = _split(arguments[0] if arguments else "")
        words = words[1:]
    words = words or [""]
    found = complete(words[:-1], words[-1])
    lines = [found.paths + (" nospace" if found.more else "")]
    begin = _kept_by_bash(raw, quote) if shell == "bash" else ""
    for word, meaning in found.candidates:
        if not word.startswith(words[-1]) or not word.isprintable():
            continue  # no name reaches a terminal that could control it
        if shell == "bash":
            lines.append(word if quote else _escaped(word[len(begin) :]))
        else:
            lines.append(f"{word}\t{meaning}" if meaning else word)
    return "\n".join(lines)


def complete(words: Sequence[str], last: str) -> Completions:
    """Return what may stand in the place of the last word, after the others."""
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    here = Path()
    node, options, before, called = table, table["options"], [], ""
    waiting: str | None = None  # the value that an option before it wants
    only_arguments = False
    for word in words:
        if waiting is not None:
            here = here / word if called == "-C" else here
            waiting = None
        elif word == "--" and not only_arguments:
            only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not only_arguments:
            called = word
            waiting = options[word][0] if word in options and options[word][0] else None
        elif "commands" in node:
            if word not in node["commands"]:
                return Completions()
            node = node["commands"][word]
            options = node["options"]
        else:
            before.append(word)
    if waiting is not None:
        return _values(waiting, here, before, last)
    if last.startswith("-") and not only_arguments:
        return Completions([(name, help_) for name, (_, help_) in options.items()])
    if "commands" in node:
        return Completions([(name, below["summary"]) for name, below in node["commands"].items()])
    names = node["arguments"]
    if names == ["REMOTE"]:  # where pipelines follow, the remote can be left out
        return Completions(_places(here)) if not before else Completions()
    if len(before) < len(names):
        return _values(names[len(before)], here, before, last)
    return _values(names[-1], here, before, last) if names and names[-1].endswith("...") else Completions()


def _values(name: str, here: Path, before: Sequence[str], last: str) -> Completions:
    """Return what an argument or an option's value may be. name: as the help shows it."""
    name = name.removesuffix("...")
    if name in ("DIR", "FOLDER|URL", "FILE"):
        return Completions(paths="files" if name == "FILE" else "dirs")
    if name == "PIPELINE|FILE":
        return Completions(_pipelines(here), "files")
    if name in ("SOURCE", "TEMPLATE", "FILE[:PART]|TEMPLATE"):
        return _templates(here, name)
    if "|" in name:
        return Completions([(choice, "") for choice in name.split("|")])
    if name in ("PIPELINE", "PIPELINE[:DATUM]", "PIPELINE:DATUM"):
        return _targets(here, name, last)
    if name == "REMOTE":
        return Completions([*_places(here), *_pipelines(here)])
    if name in ("EXPERIMENT", "EXPERIMENT:POINT"):
        end = ":" if name == "EXPERIMENT:POINT" else ""
        return Completions([(f"{one}{end}", meaning) for one, meaning in _experiments(here)], more=bool(end))
    if name in ("STORE", "IMAGE"):
        return Completions(_stores(here) if name == "STORE" else _containers(here))
    if name in ("R", "REPO[:GLOB]"):
        root = _project(here)
        return Completions([(path, "repo") for path in _repos(root)] if root is not None else [])
    if name == "TARGET":
        return Completions([(target, "") for target in dict.fromkeys(_TARGET.findall(_read(here / "Makefile")))])
    if name == "DATUM":
        pipeline = before[0].partition(":")[0] if before else ""
        return Completions([(datum, "") for datum in _datums(here, pipeline)])
    if name in ("ID", "OLD", "NEW"):
        return Completions([*_jobs(here, before[0] if before else ""), *([] if before else _pipelines(here))])
    return Completions()


def _targets(here: Path, name: str, last: str) -> Completions:
    pipeline, colon, _ = last.partition(":")
    if colon and name != "PIPELINE":
        return Completions([(f"{pipeline}:{datum}", "") for datum in _datums(here, pipeline)])
    found = _pipelines(here)
    if name == "PIPELINE:DATUM":
        return Completions([(f"{one}:", meaning) for one, meaning in found], more=True)
    return Completions(found)


def _project(here: Path) -> Path | None:
    """Return the root of the project around a folder: the nearest marked one, else the topmost dataset."""
    topmost = None
    real = Path(os.path.realpath(here))
    for folder in (real, *real.parents):
        config = folder / ".datalad" / "config"
        if config.is_file() and (folder / ".git").exists():
            topmost = folder
            if '[minipach "project"]' in config.read_text("utf-8", "replace"):
                return folder
    return topmost


def _git(folder: Path, *arguments: str) -> list[str]:
    """Return the NUL-separated records that git prints; nothing where it fails."""
    done = subprocess.run(["git", "-C", os.fspath(folder), *arguments], capture_output=True, check=False)
    return [os.fsdecode(record) for record in done.stdout.split(b"\0") if record]


def _repos(root: Path, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the project's subdatasets, nested ones included."""
    if not (root / ".gitmodules").is_file():
        return
    for row in _git(root, "config", "--file", ".gitmodules", "-z", "--get-regexp", r"\.path$"):
        path = row.partition("\n")[2].strip("/")
        if path and ".." not in path.split("/") and not (prefix and path.split("/")[0] in _RESERVED):
            yield prefix + path
            yield from _repos(root / path, f"{prefix}{path}/")


def _pipelines(here: Path) -> list[Candidate]:
    """Return the names of the pipelines in the project's subdatasets and folders."""
    return [(path.rpartition("/")[2], "pipeline") for path in _paths(here)]


def _paths(here: Path) -> list[str]:
    root = _project(here)
    if root is None:
        return []
    repos = list(_repos(root))
    found = {path for path in repos if _spec_in(root / path)} | set(_plain_folders([root])[0])
    taken = {repo for path in found for repo in _TAKEN.findall(_read(root / path / (_spec_in(root / path) or "")))}
    # what a pipeline takes from holds data, whatever its files are called
    others = [path for path in repos if path not in found and not taken & {path, path.rpartition("/")[2]}]
    others = [path for path in others if (root / path / ".git").exists()][:_ASKED]
    for holder, folders in zip(others, _plain_folders([root / path for path in others]), strict=True):
        for folder in folders:
            text = _read(root / holder / folder / (_spec_in(root / holder / folder) or ""))
            if all(key.search(text) for key in _OURS):
                found.add(f"{holder}/{folder}")
    return sorted(found)


def _spec_in(folder: Path) -> str | None:
    return next((name for name in _SPECS if os.path.lexists(folder / name)), None)


def _plain_folders(tops: Sequence[Path]) -> list[list[str]]:
    """Return the folders with a spec in each of these repositories. git looks into all of them at once."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--", *(f":(glob)**/{name}" for name in _SPECS)]
    started = [subprocess.Popen(command, cwd=top, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for top in tops]
    answers = [os.fsdecode(process.communicate()[0]).split("\0") for process in started]
    folders = [{file.rpartition("/")[0] for file in files} - {""} for files in answers]
    return [sorted(f for f in found if not _RESERVED & set(f.split("/"))) for found in folders]


def _read(file: Path) -> str:
    """Return the text of a small file; "" where there is none."""
    with contextlib.suppress(OSError), open(file, encoding="utf-8", errors="replace") as stream:
        return stream.read(1 << 20)
    return ""


def _state(root: Path) -> Path:
    """Return the folder of the project's local state."""
    if (root / ".git").is_dir():
        return root / ".git" / "minipach"
    done = subprocess.run(["git", "rev-parse", "--git-common-dir"], cwd=root, capture_output=True, check=False)
    return root / os.fsdecode(done.stdout.rstrip(b"\n")) / "minipach"


def _query(here: Path, sql: str, *values: str) -> list[tuple[Any, ...]]:
    """Return rows of the project's job database, which is only read; nothing where it can't be."""
    root = _project(here)
    ledger = _state(root) / "ledger.sqlite" if root else None
    if ledger is None or not ledger.is_file():
        return []
    with contextlib.suppress(sqlite3.Error):
        db = sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True, timeout=0)
        with contextlib.closing(db):
            return db.execute(sql, values).fetchall()
    return []


def _datums(here: Path, pipeline: str) -> list[str]:
    """Return the datums that a pipeline has published, or that ran on this machine."""
    root = _project(here)
    name = pipeline.rpartition("/")[2]
    rows = _query(here, "SELECT DISTINCT datum FROM attempt WHERE pipeline = ?", name)
    found = {datum for (datum,) in rows if isinstance(datum, str)}
    for path in _paths(here):
        if root is not None and path in (pipeline, path[: -len(name)] + name):
            found |= set(_published(root / path / ".minipach" / "state"))
    return sorted(found)


def _published(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        for file in os.scandir(folder):
            with open(file, "rb") as stream:
                yield from (str(json.loads(line)[0]) for line in stream)


def _jobs(here: Path, pipeline: str) -> list[Candidate]:
    """Return the newest jobs, of one pipeline or of all."""
    where, values = ("WHERE pipeline = ?", (pipeline.rpartition("/")[2],)) if pipeline else ("", ())
    sql = f"SELECT id, pipeline, state FROM job {where} ORDER BY key DESC LIMIT {_JOBS}"
    found: dict[str, str] = {}
    for ident, name, state in _query(here, sql, *values):
        found.setdefault(str(ident)[:12], f"{name}, {state}")
    return list(found.items())


def _remotes(here: Path) -> list[Candidate]:
    """Return the remotes of the project and of the pipelines' repositories."""
    root = _project(here)
    if root is None:
        return []
    texts = [_read(_git_folder(repo) / "config") for repo in [root, *(root / path for path in _repos(root))]]
    return [(name, "remote") for name in dict.fromkeys(name for text in texts for name in _REMOTE.findall(text))]


def _git_folder(repo: Path) -> Path:
    """Return the folder of a repository's git, which may be in that of the repository around it."""
    folder = repo / ".git"
    text = _read(folder) if folder.is_file() else ""
    return repo / text.removeprefix("gitdir:").strip() if text else folder


def _places(here: Path) -> list[Candidate]:
    """Return the remotes and the stores, each name once: a store is a remote of repos that use it."""
    return list(dict([*_remotes(here), *_stores(here)]).items())


def _experiments(here: Path) -> list[Candidate]:
    """Return the experiments of the project, with their pipelines. Reads refs as files: no git process is needed."""
    found: dict[str, str] = {}
    for path in _paths(here):
        folder = _git_folder((_project(here) or here) / path)
        names = _EXPERIMENT.findall(_read(folder / "packed-refs"))
        with contextlib.suppress(OSError):
            names += [entry.name for entry in os.scandir(folder / "refs/minipach/experiments")]
        for name in names:
            found.setdefault(name, f"experiment of {path.rpartition('/')[2]}")
    return sorted(found.items())


def _stores(here: Path) -> list[Candidate]:
    """Return the stores of the project."""
    root = _project(here)
    return [(name, "store") for name in _STORE.findall(_read(root / ".datalad/config"))] if root is not None else []


def _sources(here: Path) -> list[tuple[str, str]]:
    """Return the user's sources of templates, with their folders or addresses."""
    root = _project(here)
    return _SOURCE.findall(_read(_git_folder(root) / "config")) if root is not None else []


def _templates(here: Path, name: str) -> Completions:
    """Return the sources, or the templates that come with minipach and those in folders of the user's."""
    if name == "SOURCE":
        return Completions([(source, "source of templates") for source, _ in _sources(here)])
    found = [(path.parent.name, "template") for path in sorted(_SPECS_FOLDER.glob("*/template.yml"))]
    for source, url in _sources(here):
        found += [(f"{source}/{path.parent.name}", "template") for path in sorted(Path(url).glob("*/template.yml"))]
    return Completions(found, "files" if name.startswith("FILE") else "words")


def _containers(here: Path) -> list[Candidate]:
    """Return the containers of the project, and of its subdatasets as `REPO/NAME`."""
    root = _project(here)
    if root is None:
        return []
    found = []
    for path in ("", *_repos(root)):
        names = _CONTAINER.findall(_read(root / path / ".datalad/config"))
        found += [(f"{path}/{name}".lstrip("/"), "container") for name in names if name != "minipach"]
    return found


def _split(line: str) -> tuple[list[str], str, str]:
    """Return the words of a line of bash, the last one as it is typed, and its quote if one is open."""
    words, word, quote, begun = [], "", "", False
    start = at = 0
    while at < len(line):
        c = line[at]
        if quote == "'" or (quote and c == quote):
            quote, word = ("", word) if c == quote else (quote, word + c)
        elif c == "\\" and at + 1 < len(line):
            at += 1
            word, begun = word + line[at], True
        elif not quote and c in "'\"":
            quote, begun = c, True
        elif not quote and c.isspace():
            if begun:
                words.append(word)
            word, begun, start = "", False, at + 1
        else:
            word, begun = word + c, True
        at += 1
    return [*words, word], line[start:], quote


def _kept_by_bash(raw: str, quote: str) -> str:
    """Return the begin of the last word that bash leaves as it is: it takes what follows a colon for a new word."""
    if quote:
        return ""
    breaks = set(os.environ.get("_MINIPACH_BREAKS", _BREAKS)) - set(" \t\n\"'")
    ends = [at for at, c in enumerate(raw) if c in breaks and (at == 0 or raw[at - 1] != "\\")]
    return _split(raw[: ends[-1] + 1])[0][-1] if ends else ""


def _escaped(word: str) -> str:
    return "".join(c if c.isalnum() or c in _PLAIN else f"\\{c}" for c in word)


def main(arguments: Iterable[str]) -> None:
    """Answer the shell, and end."""
    text = answer(os.environ[VARIABLE], list(arguments))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


SCRIPTS = {
    "bash": r"""# Completion of minipach for bash. Put it where bash-completion looks:
#   minipach completion bash > ~/.local/share/bash-completion/completions/minipach
_minipach() {
    local line paths=
    COMPREPLY=()
    while IFS= read -r line; do
        if [ -z "$paths" ]; then paths=$line; else COMPREPLY+=("$line"); fi
    done < <(_MINIPACH_COMPLETE=bash _MINIPACH_BREAKS=$COMP_WORDBREAKS "$1" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    case $paths in
        *nospace) compopt -o nospace 2>/dev/null ;;
        files) [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default 2>/dev/null ;;
        dirs) compopt -o dirnames 2>/dev/null ;;
    esac
}
complete -F _minipach minipach
""",
    "zsh": r"""#compdef minipach
# Completion of minipach for zsh. Put it into a folder of $fpath, before compinit:
#   minipach completion zsh > "${fpath[1]}/_minipach"
_minipach() {
    local -a lines described more
    local line word
    lines=("${(@f)$(_MINIPACH_COMPLETE=zsh ${(Q)words[1]} "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        word=${${line%%$'\t'*}//:/\\:}
        if [[ $line == *$'\t'* ]]; then described+=("$word:${line#*$'\t'}"); else described+=("$word"); fi
    done
    [[ $lines[1] == *nospace ]] && more=(-S '')
    (( $#described )) && _describe minipach described "${more[@]}"
    case $lines[1] in
        files*) _files ;;
        dirs*) _files -/ ;;
    esac
}
if [ "$funcstack[1]" = "_minipach" ]; then _minipach "$@"; else compdef _minipach minipach; fi
""",
    "fish": r"""# Completion of minipach for fish:
#   minipach completion fish > ~/.config/fish/completions/minipach.fish
function __minipach_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l plain (string unescape -- $last; or echo -- $last)
    set -l lines (_MINIPACH_COMPLETE=fish $words[1] $words[2..-1] "$plain" 2>/dev/null)
    test (count $lines) -gt 1; and printf '%s\n' $lines[2..-1]
    switch "$lines[1]"
        case 'files*'
            __fish_complete_path "$last"
        case 'dirs*'
            __fish_complete_directories "$last"
    end
end
complete -c minipach -f -a '(__minipach_complete)'
""",
}
