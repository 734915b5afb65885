"""No variable and no setting of git that a user has changes what minipach reads, stores or publishes."""

from __future__ import annotations

import locale
import os
import subprocess
from pathlib import Path

import pytest

from minipach.git import settings
from minipach.git.checkout import dirty_paths
from minipach.git.child_environment import child_environment, entered, own_environment
from minipach.git.repo import Repo
from tests.fixtures.projects import Study, run
from tests.fixtures.repos import Files

# git(1), "Environment Variables", of git 2.30 to 2.52, with those of git-config(1) and of git's own hooks
_OF_GIT = """
GIT_INDEX_FILE GIT_INDEX_VERSION GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_DIR GIT_WORK_TREE
GIT_NAMESPACE GIT_CEILING_DIRECTORIES GIT_DISCOVERY_ACROSS_FILESYSTEM GIT_COMMON_DIR GIT_DEFAULT_HASH
GIT_DEFAULT_REF_FORMAT GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
GIT_COMMITTER_DATE GIT_DIFF_OPTS GIT_EXTERNAL_DIFF GIT_EXTERNAL_DIFF_TRUST_EXIT_CODE GIT_DIFF_PATH_COUNTER
GIT_DIFF_PATH_TOTAL GIT_MERGE_VERBOSITY GIT_PAGER GIT_PROGRESS_DELAY GIT_EDITOR GIT_SEQUENCE_EDITOR GIT_SSH
GIT_SSH_COMMAND GIT_SSH_VARIANT GIT_SSL_NO_VERIFY GIT_ATTR_SOURCE GIT_ASKPASS GIT_TERMINAL_PROMPT GIT_CONFIG_GLOBAL
GIT_CONFIG_SYSTEM GIT_CONFIG_NOSYSTEM GIT_FLUSH GIT_TRACE GIT_TRACE_FSMONITOR GIT_TRACE_PACK_ACCESS GIT_TRACE_PACKET
GIT_TRACE_PACKFILE GIT_TRACE_PERFORMANCE GIT_TRACE_REFS GIT_TRACE_SETUP GIT_TRACE_SHALLOW GIT_TRACE_CURL
GIT_TRACE_CURL_NO_DATA GIT_TRACE2 GIT_TRACE2_EVENT GIT_TRACE2_PERF GIT_TRACE_REDACT GIT_NO_LAZY_FETCH
GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_NOGLOB_PATHSPECS GIT_ICASE_PATHSPECS GIT_NO_REPLACE_OBJECTS
GIT_REFLOG_ACTION GIT_REF_PARANOIA GIT_COMMIT_GRAPH_PARANOIA GIT_ALLOW_PROTOCOL GIT_PROTOCOL_FROM_USER GIT_PROTOCOL
GIT_OPTIONAL_LOCKS GIT_REDIRECT_STDIN GIT_REDIRECT_STDOUT GIT_REDIRECT_STDERR GIT_PRINT_SHA1_ELLIPSIS GIT_ADVICE
GIT_CONFIG GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0 GIT_CONFIG_PARAMETERS GIT_ATTR_NOSYSTEM GIT_EXEC_PATH
GIT_TEMPLATE_DIR GIT_PREFIX GIT_QUARANTINE_PATH GIT_SHALLOW_FILE GIT_GRAFT_FILE GIT_REPLACE_REF_BASE
GIT_IMPLICIT_WORK_TREE GIT_INTERNAL_SUPER_PREFIX GIT_NOTES_REF GIT_NOTES_DISPLAY_REF GIT_TEXTDOMAINDIR
"""


@pytest.mark.parametrize("name", _OF_GIT.split())
def test_each_variable_of_git_is_decided_and_treated_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honoured = name in settings.HONOURED or name.startswith(settings.HONOURED_PREFIXES)
    assert honoured != (name in settings.DROPPED)
    monkeypatch.setenv(name, "1")
    assert (name in child_environment()) == honoured


def test_what_git_calls_local_to_a_repository_is_dropped() -> None:
    local = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    kept = {"GIT_CONFIG_COUNT"}  # unlike GIT_CONFIG_PARAMETERS, a person sets it
    assert set(local.stdout.split()) - kept <= settings.DROPPED


def test_a_call_may_set_what_is_dropped_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_INDEX_FILE", "theirs")
    assert child_environment({"GIT_INDEX_FILE": "ours"})["GIT_INDEX_FILE"] == "ours"


def test_settings_come_after_those_of_the_caller_and_only_once() -> None:
    given = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    given |= {"GIT_CONFIG_KEY_1": "Color.UI", "GIT_CONFIG_VALUE_1": "always"}
    once = given | settings.with_settings(given, [("color.ui", "false")])
    assert once == once | settings.with_settings(once, [("color.ui", "false")])
    assert (once["GIT_CONFIG_COUNT"], once["GIT_CONFIG_KEY_0"], once["GIT_CONFIG_VALUE_1"]) == (
        "2",
        "safe.directory",
        "false",
    )


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["diff-tree", "-r", "a", "b"], ["diff-tree", "--ignore-submodules=none", "-r", "a", "b"]),
        (["-c", "x.y=z", "status", "-z"], ["-c", "x.y=z", "status", "--ignore-submodules=none", "-z"]),
        (["status", "--ignore-submodules=dirty"], ["status", "--ignore-submodules=dirty"]),
        (["--literal-pathspecs", "add", "-A"], ["--literal-pathspecs", "add", "-A"]),
        (
            ["log", "-z", "HEAD"],
            ["log", "--ignore-submodules=none", "--no-ext-diff", "--no-textconv", "--no-color", "-z", "HEAD"],
        ),
    ],
)
def test_commands_that_show_differences_get_their_options(args: list[str], wanted: list[str]) -> None:
    assert settings.complete(args) == wanted


HOSTILE = {
    "core.quotePath": "true",
    "core.splitIndex": "true",
    "core.untrackedCache": "true",
    "core.ignoreStat": "true",
    "color.ui": "always",
    "column.ui": "always",
    "diff.ignoreSubmodules": "all",
    "diff.external": "false",
    "diff.noprefix": "true",
    "diff.relative": "true",
    "diff.renames": "copies",
    "diff.submodule": "log",
    "diff.wordRegex": ".",
    "feature.manyFiles": "true",
    "format.pretty": "%h nonsense",
    "grep.patternType": "fixed",
    "i18n.commitEncoding": "ISO-8859-1",
    "i18n.logOutputEncoding": "ISO-8859-1",
    "index.version": "4",
    "log.date": "relative",
    "log.decorate": "full",
    "log.follow": "true",
    "log.showSignature": "true",
    "status.branch": "true",
    "status.renames": "copies",
    "status.short": "true",
    "status.showUntrackedFiles": "no",
    "submodule.recurse": "true",
    "fetch.recurseSubmodules": "true",
    "fetch.prune": "true",
    "push.default": "nothing",
    "push.followTags": "true",
    "commit.gpgSign": "true",
    "commit.cleanup": "strip",
    "gpg.program": "false",
    "core.autocrlf": "true",
    "core.safecrlf": "true",
    "init.defaultBranch": "trunk",
    "worktree.guessRemote": "true",
    "annex.addunlocked": "true",
    "annex.thin": "true",
    "annex.addsmallfiles": "false",
    "annex.gitaddtoannex": "false",
    "annex.autocommit": "false",
    "annex.dotfiles": "true",
    "annex.backend": "MD5E",
}


def _hostile(folder: Path) -> dict[str, str]:
    """Variables with a global configuration that sets all of this, hooks, ignored and filtered files included."""
    (folder / "hooks").mkdir(parents=True)
    for hook in ("pre-commit", "commit-msg", "prepare-commit-msg", "post-commit", "post-checkout"):
        (folder / "hooks" / hook).write_text("#!/bin/sh\nexit 1\n")
        (folder / "hooks" / hook).chmod(0o755)
    (folder / "ignored").write_text("*.out\n")
    (folder / "attributes").write_text("*.out text eol=crlf ident\n")
    more = {name: str(folder / file) for name, file in _FILES.items()}
    config = folder / "config"
    for key, value in (HOSTILE | more).items():
        subprocess.run(["git", "config", "--file", config, key, value], check=True)
    return {"GIT_CONFIG_GLOBAL": str(config)}


_FILES = {"core.hooksPath": "hooks", "core.excludesFile": "ignored", "core.attributesFile": "attributes"}


def test_plumbing_answers_the_same_under_all_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files.create(tmp_path / "repo")
    files.put("ä.txt", "alpha")
    files.commit("minipach: grün")
    inner = Files.create(files.path / "sub")
    inner.put("s.txt", "one")
    inner.commit("one")
    for command in (
        ["submodule", "add", "./sub", "sub"],
        ["config", "-f", ".gitmodules", "submodule.sub.ignore", "all"],
        ["add", "."],
    ):
        subprocess.run(["git", "-c", "protocol.file.allow=always", *command], cwd=files.path, check=True)
    files.commit("with sub")
    inner.put("s.txt", "two")
    inner.commit("two")
    subprocess.run(
        ["git", "update-index", "--add", "--cacheinfo", f"160000,{inner.head()},sub"], cwd=files.path, check=True
    )
    files.commit("moved")
    (files.path / "new.txt").write_text("new")

    def answers() -> list[object]:
        repo = Repo(files.path)
        return [
            repo.git("diff-tree", "-r", "--name-only", "HEAD~", "HEAD"),
            repo.git("log", "--name-only", "--format=%s", "HEAD~..HEAD"),
            repo.git("log", "--format=%s", "--grep=^minipach: "),
            repo.git("diff", "HEAD~", "HEAD"),
            dirty_paths(repo),
            repo.commit_tree(
                str(repo.resolve("HEAD^{tree}")),
                "grün",
                env={"GIT_COMMITTER_DATE": "@0 +0000", "GIT_AUTHOR_DATE": "@0 +0000"},
            ),
        ]

    plain = answers()
    assert plain[:3] == [b"sub\n", b"moved\n\nsub\n", "minipach: grün\n".encode()]
    assert plain[4] == ["new.txt"]
    for name, value in _hostile(tmp_path / "hostile").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_ICASE_PATHSPECS", "1")
    assert answers() == plain


def test_an_environment_is_entered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    before = dict(os.environ)
    with entered(own_environment({"DATALAD_LOG_LEVEL": "error"})):
        assert "GIT_DIR" not in os.environ
        assert os.environ["GIT_CONFIG_COUNT"] == str(len(settings.PLUMBING) + len(settings.OWN))
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"LANG": "C.UTF-8"}, {}),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, {}),
        ({"LC_ALL": "C"}, {"LC_CTYPE": "C.UTF-8", "LC_ALL": None, "LANG": "C"}),
        ({"LC_ALL": "xx_XX.UTF-8"}, {"LC_CTYPE": "C.UTF-8", "LC_ALL": None, "LANG": "xx_XX.UTF-8"}),
        ({"LANG": "POSIX"}, {"LC_CTYPE": "C.UTF-8"}),
        ({}, {"LC_CTYPE": "C.UTF-8"}),
    ],
)
def test_file_names_are_utf8_in_every_locale(given: dict[str, str], wanted: dict[str, str | None]) -> None:
    before = locale.setlocale(locale.LC_CTYPE)
    assert settings.utf8_locale(given) == wanted
    assert locale.setlocale(locale.LC_CTYPE) == before


@pytest.mark.slow
def test_a_whole_life_under_hostile_settings(study: Study, tmp_path: Path) -> None:
    """New datasets, runs, downstream, a rename: as without these settings."""
    study.put("images/größe.txt", "eins\n")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/up.sh]}\n',
        up='tr a-z A-Z <"$images" >"$PFS/out/$(basename "$images").out"\n',
    )
    study.pipeline(
        "sums",
        'input: {pfs: {repo: edges, glob: "/"}}\ntransform: {cmd: [sh, code/sum.sh]}\n',
        sum='cat "$PFS"/edges/*.out >"$PFS/out/all"\n',
    )
    env = _hostile(tmp_path / "hostile") | {"LC_ALL": "C", "GIT_LITERAL_PATHSPECS": "1"}
    for source, target in (("größe.txt", None), ("größe.txt", "neu.txt")):
        if target:
            study.ok("git", "mv", source, target, cwd=study.root / "images")
            study.save("images")
        done = study.minipach("schedule", env=env)
        assert done.code == 0, done.out + done.err
        output = study.root / "edges" / f"{target or source}.out"
        assert output.read_text() == "EINS\n"
        assert (study.root / "sums" / "all").read_text() == "EINS\n"
        again = study.minipach("schedule", env=env)
        assert (again.code, again.out) == (0, "nothing to do\n")
    assert run("git", "status", "--porcelain", cwd=study.root / "edges").out == ""
    assert not (study.root / "edges" / "größe.txt.out").exists()


def test_doctor_names_signing_and_hooks(study: Study, tmp_path: Path) -> None:
    found = study.minipach("doctor", "--json", env=_hostile(tmp_path / "hostile")).json["findings"]
    notes = [f["what"] for f in found if f["fix"].endswith("docs/design/git-settings.md")]
    assert notes == [
        "commit.gpgSign is set: commits of minipach have no signature",
        "core.hooksPath is set: commits of minipach run no hooks",
    ]
