"""The variables and settings of git that reach the processes which minipach starts: honoured, neutralised or dropped.

docs/design/git-settings.md gives the reason for each entry.
"""

from __future__ import annotations

import functools
import locale
import os
from collections.abc import Iterable, Mapping, MutableMapping

# Variables that belong to the one git command (or hook) that exported them. No child process gets them.
DROPPED = frozenset(
    {
        # they choose a repository, or a part of one; minipach names the repository of each call
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_QUARANTINE_PATH",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_GRAFT_FILE",
        "GIT_REPLACE_REF_BASE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_ATTR_SOURCE",
        # they change what arguments mean, or what is printed
        "GIT_LITERAL_PATHSPECS",
        "GIT_GLOB_PATHSPECS",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
        "GIT_DIFF_OPTS",
        "GIT_EXTERNAL_DIFF",
        "GIT_EXTERNAL_DIFF_TRUST_EXIT_CODE",
        "GIT_DIFF_PATH_COUNTER",
        "GIT_DIFF_PATH_TOTAL",
        "GIT_PRINT_SHA1_ELLIPSIS",
        "GIT_NOTES_REF",
        "GIT_NOTES_DISPLAY_REF",
        "GIT_REDIRECT_STDIN",
        "GIT_REDIRECT_STDOUT",
        "GIT_REDIRECT_STDERR",
        # they hold settings of one command (`git -c`), or redirect `git config`
        "GIT_CONFIG",
        "GIT_CONFIG_PARAMETERS",
        # they choose an object format that a superdataset of another format can't pin
        "GIT_DEFAULT_HASH",
        # they describe the command that is running
        "GIT_REFLOG_ACTION",
    }
)

# Variables by which a user says how git works here. Each child process gets them.
HONOURED = frozenset(
    {
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_AUTHOR_DATE",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
        "GIT_COMMITTER_DATE",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_COUNT",  # with GIT_CONFIG_KEY_<n> and GIT_CONFIG_VALUE_<n>
        "GIT_ATTR_NOSYSTEM",
        "GIT_EXEC_PATH",
        "GIT_TEMPLATE_DIR",
        "GIT_TEXTDOMAINDIR",
        "GIT_CEILING_DIRECTORIES",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
        "GIT_DEFAULT_REF_FORMAT",
        "GIT_INDEX_VERSION",
        "GIT_OPTIONAL_LOCKS",
        "GIT_REF_PARANOIA",
        "GIT_COMMIT_GRAPH_PARANOIA",
        "GIT_NO_LAZY_FETCH",
        "GIT_FLUSH",
        "GIT_ADVICE",
        "GIT_PROGRESS_DELAY",
        "GIT_MERGE_VERBOSITY",
        "GIT_PAGER",
        "GIT_EDITOR",
        "GIT_SEQUENCE_EDITOR",
        "GIT_ASKPASS",
        "GIT_TERMINAL_PROMPT",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_SSL_NO_VERIFY",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_CERT",
        "GIT_SSL_KEY",
        "GIT_HTTP_USER_AGENT",
        "GIT_CURL_VERBOSE",
        "GIT_PROXY_COMMAND",
        "GIT_PROXY_SSL_CAINFO",
        "GIT_ALLOW_PROTOCOL",
        "GIT_PROTOCOL",
        "GIT_PROTOCOL_FROM_USER",
        "GIT_ANNEX_USE_GIT_SSH",
        "GIT_ANNEX_VECTOR_CLOCK",
    }
)
HONOURED_PREFIXES = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "GIT_TRACE")

# `git merge` as minipach needs it, whatever merge.ff, merge.autoStash and branch.NAME.mergeOptions say: a merge that is
# left without a commit, or without its second parent, would be reported as one
_WHOLE = ("merge", "--quiet", "--commit", "--no-squash", "--no-autostash")
FAST_FORWARD = (*_WHOLE, "--ff-only")
MERGE = (*_WHOLE, "--ff", "--no-edit")

# Settings of every git process that minipach starts by itself: what git prints, and what it does besides.
PLUMBING: tuple[tuple[str, str], ...] = (
    ("core.quotePath", "false"),
    ("core.fsmonitor", "false"),
    ("core.splitIndex", "false"),
    ("core.ignoreStat", "false"),
    ("core.useReplaceRefs", "false"),
    ("core.safecrlf", "false"),
    ("color.ui", "false"),
    ("column.ui", "never"),
    ("diff.ignoreSubmodules", "none"),
    ("diff.noprefix", "false"),
    ("diff.mnemonicPrefix", "false"),
    ("diff.orderFile", os.devnull),
    ("diff.relative", "false"),
    ("diff.renames", "false"),
    ("diff.submodule", "short"),
    ("format.pretty", "medium"),
    ("grep.extendedRegexp", "false"),
    ("grep.patternType", "default"),
    ("i18n.commitEncoding", "UTF-8"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("log.follow", "false"),
    ("log.showRoot", "true"),
    ("log.showSignature", "false"),
    ("status.renames", "false"),
    ("status.submoduleSummary", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("commit.gpgSign", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("init.defaultObjectFormat", "sha1"),
    ("worktree.guessRemote", "false"),
    ("worktree.useRelativePaths", "false"),
)

# Settings of git, git-annex and DataLad in what is minipach's own (slots, new datasets): only what is committed counts.
OWN: tuple[tuple[str, str], ...] = (
    ("core.sparseCheckout", "false"),
    ("core.sparseCheckoutCone", "false"),
    ("index.sparse", "false"),
    ("core.untrackedCache", "false"),
    ("core.hooksPath", os.devnull),
    ("core.autocrlf", "false"),
    ("core.eol", "lf"),
    ("core.excludesFile", os.devnull),
    ("core.attributesFile", os.devnull),
    ("core.symlinks", "true"),
    ("commit.cleanup", "default"),
    ("commit.status", "true"),
    ("annex.thin", "false"),
    ("annex.addsmallfiles", "true"),
    ("annex.autoinit", "true"),
)

# Options of each command that prints differences: no setting of `.gitmodules` or of the user hides one.
_DIFFS = ("--ignore-submodules=none",)
_SHOWN = ("--no-ext-diff", "--no-textconv", "--no-color")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "diff-tree": _DIFFS,
    "diff-index": _DIFFS,
    "diff-files": _DIFFS,
    "status": _DIFFS,
    "diff": (*_DIFFS, *_SHOWN),
    "log": (*_DIFFS, *_SHOWN),
}
_WITH_VALUE = ("-c", "-C", "--git-dir", "--work-tree", "--namespace")


def complete(args: Iterable[str]) -> list[str]:
    """Return the arguments of a git command, with the options that its result must not depend on settings for."""
    words = list(args)
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _WITH_VALUE else 1
    options = OPTIONS.get(words[at], ()) if at < len(words) else ()
    given = {word.partition("=")[0] for word in words}
    more = [option for option in options if option.partition("=")[0] not in given]
    return [*words[: at + 1], *more, *words[at + 1 :]]


def drop_variables(environment: MutableMapping[str, str]) -> None:
    """Remove the variables that belong to another git command."""
    for name in DROPPED:
        environment.pop(name, None)


def with_settings(environment: Mapping[str, str], settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return variables that give git these settings, after those that the environment gives already."""
    known = _given(environment)
    wanted = list(settings)
    names = {key.lower() for key, _ in wanted}
    pairs = [pair for pair in known if pair[0].lower() not in names] + wanted
    found = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for at, (key, value) in enumerate(pairs):
        found[f"GIT_CONFIG_KEY_{at}"], found[f"GIT_CONFIG_VALUE_{at}"] = key, value
    return found


def _given(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    count = environment.get("GIT_CONFIG_COUNT", "")
    found = []
    for at in range(int(count) if count.isdecimal() else 0):
        key, value = environment.get(f"GIT_CONFIG_KEY_{at}"), environment.get(f"GIT_CONFIG_VALUE_{at}")
        if key is not None and value is not None:
            found.append((key, value))
    return found


def utf8_locale(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the changes to an environment after which git-annex and DataLad take file names for UTF-8.

    Only the encoding of characters changes: sorting, numbers and messages keep their locale. None removes a variable.
    """
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    charset = _charset(*(environment.get(name, "") for name in names))
    if charset is None:
        return {}
    every = environment.get("LC_ALL", "")
    return {"LC_CTYPE": charset, **({"LC_ALL": None, "LANG": every} if every else {})}


@functools.lru_cache(maxsize=16)
def _charset(every: str, charset: str, language: str) -> str | None:
    """Return the locale to take for LC_CTYPE; None: the one that is set has UTF-8, or there is none that has."""
    wanted = every or charset or language or "C"
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        if _has_utf8(wanted):
            return None
        return next((name for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8", "UTF-8") if _has_utf8(name)), None)
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _has_utf8(name: str) -> bool:
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    return locale.nl_langinfo(locale.CODESET).replace("-", "").lower() == "utf8"
