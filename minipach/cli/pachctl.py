"""The verbs of Pachyderm's `pachctl`, and the command here that does the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

# (verb, noun or "" for any other) -> what to type here. `NAME`, `REPO`, `FILE` are the reader's.
VERBS: dict[tuple[str, str], str] = {
    ("create", "pipeline"): "minipach new NAME --from FILE, then minipach check NAME and minipach schedule",
    ("create", "repo"): "datalad create -d . REPO",
    ("create", "project"): "minipach init DIR",
    ("create", "branch"): "git -C REPO branch BRANCH COMMIT",
    ("create", "secret"): "a file in .git/minipach/secrets/, or keyring set minipach NAME",
    (
        "update",
        "pipeline",
    ): "edit NAME/spec.yml, datalad save -d NAME, then minipach schedule (--reprocess: --force)",
    ("update", "repo"): "edit the dataset's README, then datalad save -d REPO",
    ("update", "project"): "edit the project's README, then datalad save",
    ("edit", "pipeline"): "edit NAME/spec.yml, datalad save -d NAME, then minipach schedule",
    ("list", "pipeline"): "minipach status",
    ("list", "repo"): "datalad subdatasets",
    ("list", "project"): "minipach status, in each project's folder",
    ("list", "job"): "minipach jobs",
    ("list", "datum"): "minipach datums NAME",
    ("list", "file"): "git -C REPO ls-files",
    ("list", "branch"): "git -C REPO branch",
    ("list", "commit"): "git -C REPO log --oneline",
    ("list", "secret"): "ls .git/minipach/secrets",
    ("inspect", "pipeline"): "minipach status, or cat NAME/spec.yml",
    ("inspect", "job"): "minipach job ID",
    ("inspect", "datum"): "minipach job ID, or minipach logs NAME DATUM",
    ("inspect", "repo"): "git -C REPO log --stat",
    ("inspect", "file"): "minipach explain REPO/FILE, or git -C REPO log -- FILE",
    ("inspect", "commit"): "git -C REPO show COMMIT",
    ("inspect", "branch"): "git -C REPO log BRANCH",
    ("inspect", "project"): "minipach status",
    ("put", "file"): "cp FILE REPO/, then datalad save -d REPO",
    ("get", "file"): "datalad get REPO/FILE, then read it where it is",
    ("copy", "file"): "cp REPO/FILE REPO/OTHER, then datalad save -d REPO",
    ("delete", "file"): "git -C REPO rm FILE, then datalad save -d REPO",
    ("delete", "pipeline"): "datalad remove -d . NAME, or git -C NAME rm spec.yml (what it published stays, as data)",
    ("delete", "repo"): "datalad remove -d . REPO",
    ("delete", "branch"): "git -C REPO branch -D BRANCH",
    ("delete", "job"): "minipach cancel; results are kept until minipach results gc --drop",
    ("delete", "commit"): "git -C REPO revert COMMIT",
    ("glob", "file"): "minipach datums NAME, or git -C REPO ls-files GLOB",
    ("diff", "file"): "git -C REPO diff OLD NEW, or minipach diff NAME",
    ("start", "pipeline"): "minipach resume NAME",
    ("stop", "pipeline"): "minipach pause NAME",
    ("stop", "job"): "minipach cancel",
    ("restart", "datum"): "minipach retry NAME, or minipach schedule --force NAME:DATUM",
    ("rerun", "pipeline"): "minipach schedule --force NAME, or datalad rerun COMMIT for one record",
    ("run", "pipeline"): "minipach schedule NAME",
    ("run", "cron"): "minipach cron run PIPELINE",
    ("run", "pps-load-test"): "nothing here: benchmarks/ has scripts",
    ("start", "commit"): "nothing: datalad save -d REPO makes a commit",
    ("finish", "commit"): "datalad save -d REPO",
    ("squash", "commit"): "nothing: git keeps all commits; minipach results gc --drop frees results",
    ("squash", "job"): "nothing: git keeps all commits; minipach results gc --drop frees results",
    ("subscribe", "commit"): "minipach hooks install, or minipach watch",
    ("flush", "commit"): "minipach schedule, then minipach wait",
    ("flush", "job"): "minipach wait",
    ("wait", "commit"): "minipach wait",
    ("wait", "job"): "minipach wait",
    ("find", "commit"): "git -C REPO log -- FILE",
    ("draw", "pipeline"): "minipach dag",
    ("diagram", ""): "minipach dag",
    ("fsck", ""): "minipach doctor, or git annex fsck in a dataset",
    ("mount", ""): "nothing: a dataset's files are in its folder (datalad get REPO)",
    ("unmount", ""): "nothing: nothing is mounted",
    ("config", ""): "git config, or git config --file .datalad/config minipach.KEY VALUE",
    ("connect", ""): "nothing: minipach works on the project in this folder (-C DIR)",
    ("port-forward", ""): "minipach ui",
    ("auth", ""): "nothing: who may read a dataset is the file system's and git's matter",
    ("enterprise", ""): "nothing: there is no server",
    ("deploy", ""): "minipach init DIR",
    ("undeploy", ""): "nothing: there is no server",
    ("debug", ""): "minipach doctor",
    ("garbage-collect", ""): "minipach gc",
    ("validate", "pipeline"): "minipach check FILE",
    ("next", "datum"): "minipach shell NAME:DATUM",
    ("exec", ""): "minipach shell NAME:DATUM",
    ("restore", ""): "datalad clone, then minipach pull",
    ("extract", ""): "minipach store add STORE, then minipach push",
    ("version", ""): "minipach --version",
    ("buildinfo", ""): "minipach --version",
    ("create", ""): "write NAME/spec.yml (a pipeline), or datalad create -d . REPO",
    ("update", ""): "edit NAME/spec.yml, datalad save -d NAME, then minipach schedule",
    ("list", ""): "minipach status (pipelines), minipach jobs, minipach datums NAME, datalad subdatasets (repos)",
    ("inspect", ""): "minipach status, minipach job ID, or git -C REPO show",
    ("put", ""): "cp FILE REPO/, then datalad save -d REPO",
    ("copy", ""): "cp REPO/FILE REPO/OTHER, then datalad save -d REPO",
    ("delete", ""): "git -C REPO rm FILE, then datalad save -d REPO",
    ("glob", ""): "minipach datums NAME",
    ("start", ""): "minipach schedule NAME",
    ("stop", ""): "minipach cancel",
    ("restart", ""): "minipach retry NAME",
    ("rerun", ""): "minipach schedule --force NAME",
    ("run", ""): "minipach schedule NAME",
    ("finish", ""): "datalad save -d REPO",
    ("squash", ""): "nothing: git keeps all commits",
    ("subscribe", ""): "minipach logs --follow",
    ("flush", ""): "minipach wait",
    ("find", ""): "git -C REPO log -- FILE",
    ("draw", ""): "minipach dag",
    ("edit", ""): "edit NAME/spec.yml, datalad save -d NAME, then minipach schedule",
    ("validate", ""): "minipach check FILE",
    ("next", ""): "minipach shell NAME:DATUM",
}
_NOUNS = {noun for _, noun in VERBS if noun}
_OURS = {"diff", "get", "wait", "logs"}  # commands here, too: theirs where the noun says so
_WORD = re.compile(r"[a-z]+(-[a-z]+)*")


def instead(words: Sequence[str]) -> str | None:
    """Return the line for a command line that is pachctl's; None if it is none.

    Args:
        words: The arguments of minipach, without its own options.
    """
    if not words or not _WORD.fullmatch(words[0]):
        return None
    verb, noun = words[0], _noun(words[1]) if len(words) > 1 else ""
    if (verb, "") not in VERBS and verb not in _OURS and "-" in verb:  # pachctl 1.7 and before: list-pipeline
        first, _, rest = verb.partition("-")
        verb, noun = first, _noun(rest)
        if not noun:
            return None
    if verb in _OURS and ((verb, noun) not in VERBS or len(words) < 3):  # a pipeline may be called so
        return None
    found = VERBS.get((verb, noun)) or VERBS.get((verb, ""))
    if found is None:
        return None
    asked = f"{verb} {noun}" if (verb, noun) in VERBS and noun else verb
    return f"{asked}: a command of pachctl, not of minipach; here: {found}"


def _noun(word: str) -> str:
    """Return the noun in its singular; "" if it is none of pachctl's."""
    for noun in (word, word.removesuffix("s"), word.removesuffix("es")):
        if noun in _NOUNS:
            return noun
    return ""


def table() -> str:
    """Return all of them as a table in Markdown."""
    several = {verb for verb, noun in VERBS if noun}
    rows = [
        f"| `pachctl {' '.join(filter(None, words))}` | {text} |"
        for words, text in VERBS.items()
        if words[1] or words[0] not in several
    ]
    return "\n".join(["| Pachyderm | here |", "|---|---|", *rows]) + "\n"
