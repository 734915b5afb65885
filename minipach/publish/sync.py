"""One project in two clones: merge what people write, keep what is computed for `schedule` to make again.

In a pipeline, the spec, code and other own files are merged as git merges them. Outputs, state and inputs stay as they
are here: a schedule regenerates them from inputs, code and results. A dataset with data gets an ordinary merge. In the
superdataset, gitlinks follow the repos. Nothing is lost: each merge has both commits as its parents.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay, check_free, move_branch
from minipach.git.git_error import GitError
from minipach.git.merging import NotMergedError, merge
from minipach.git.repo import Repo, is_dataset, private_index
from minipach.git.settings import MERGE
from minipach.git.tree_entries import FILE, GITLINK, TreeEntry, parse_ls_tree
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG, FOLDER, INPUTS
from minipach.project.project import Project
from minipach.publish import results_exchange
from minipach.publish.installed_inputs import follow_branches, heads
from minipach.publish.push_pull import Notify, no_remote, remote_for, tidy
from minipach.records.own_files import listed_entries
from minipach.records.published_outputs import added_by_hand
from minipach.records.published_state import reserved_entries
from minipach.storage.setup import git_remotes, keeps_contents
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import quoted

Side = Literal["ours", "theirs"]
_BY_SECTION = (".gitmodules", DATALAD_CONFIG)
_EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's empty tree


@dataclass(frozen=True, slots=True)
class Merged:
    """The outcome for one repo.

    Args:
        repo: The path in the project; "." is the superdataset.
        remote: The remote that was fetched.
        action: `current`, `ahead` (only this clone has commits), `moved` (fast-forward), `merged`, or `refused`.
        results: The results that came.
        problems: The reasons why it is not merged.
    """

    repo: str
    remote: str
    action: Literal["current", "ahead", "moved", "merged", "refused"] = "current"
    results: int = 0
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach sync --json`."""
        return {
            "repo": self.repo,
            "remote": self.remote,
            "action": self.action,
            "results": self.results,
            "problems": problems_json(self.problems),
        }


def merge_project(
    project: Project, target: str | None, notify: Notify, take: Side | None = None, *, with_data: bool = True
) -> list[Merged]:
    """Fetch and merge all repos of a project. The caller holds the project's lock.

    Args:
        project: The project.
        target: The remote; None: each repo's usual one.
        notify: Gets a line for each step.
        take: The side whose lines a conflict in a pipeline's own files takes; None: a conflict is a problem.
        with_data: Merge data that both sides have changed, too. Otherwise that is a problem.

    Returns:
        The outcome for each repo that has the remote; the superdataset is the last one.

    Raises:
        UserError: No repo has such a remote.
    """
    done: list[Merged] = []
    pipelines = {place.path for place in project.places}
    before = heads(project)
    _fetch_superdataset(project, target)
    for path, repo in _installed(project):
        remote = _remote(project, path, repo, target)
        if remote:
            done.append(_guarded(repo, Merged(path, remote), path in pipelines, take, notify, with_data))
    follow_branches(project, before)
    refused = [one.repo for one in done if one.problems]
    if remote := remote_for(project.repo, target):
        top = Merged(".", remote)
        if refused:
            problem = Problem(
                "sync.held", ".", f"not merged, since {', '.join(refused)} could not be", "mend those first"
            )
            done.append(replace(top, action="refused", problems=(problem,)))
        else:
            done.append(_guarded(project.repo, top, False, take, notify, with_data))
    if not done:
        raise UserError(no_remote(project, target, "sync", "to sync with"))
    return done


def _guarded(repo: Repo, one: Merged, is_pipeline: bool, take: Side | None, notify: Notify, with_data: bool) -> Merged:
    try:
        return _sync(repo, one, is_pipeline, take, notify, with_data)
    except InTheWay as error:
        problem = Problem("sync.uncommitted", one.repo, f"uncommitted changes are in the way ({error})", "commit them")
        return replace(one, action="refused", problems=(problem,))
    except UserError as error:
        return replace(one, action="refused", problems=tuple(problem.within(one.repo) for problem in error.problems))
    except GitError as error:
        line = results_exchange.without_credentials(error.reason)
        fix = f"git -C {quoted(repo.path)} fetch {one.remote}"
        return replace(
            one, action="refused", problems=(Problem("sync.failed", one.repo, f"{one.remote}: {line}", fix),)
        )


def _sync(repo: Repo, one: Merged, is_pipeline: bool, take: Side | None, notify: Notify, with_data: bool) -> Merged:
    tidy(repo, one.repo, notify)
    results = 0
    if keeps_contents(repo):
        results = results_exchange.take(repo, one.remote)
    with crash_cleanup.cleared(repo):
        repo.git("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", one.remote)
        return _merged_with(repo, replace(one, results=results), is_pipeline, take, notify, with_data)


def _merged_with(
    repo: Repo, one: Merged, is_pipeline: bool, take: Side | None, notify: Notify, with_data: bool
) -> Merged:
    """Merge what was fetched."""
    branch, here = repo.branch(), repo.head()
    if branch is None or here is None:
        raise UserError(Problem("sync.detached", "", "no branch is checked out", "git switch BRANCH"))
    there = repo.resolve(f"refs/remotes/{one.remote}/{branch}")
    if there is None or here == there:
        return one
    if repo.succeeds("merge-base", "--is-ancestor", there, here):
        return replace(one, action="ahead")
    if repo.succeeds("merge-base", "--is-ancestor", here, there):
        check_free(repo, here, there)
        move_branch(repo, f"refs/heads/{branch}", here, there)
        notify(f"{one.repo}: {branch} moved to {there[:12]} of {one.remote}")
        return replace(one, action="moved")
    if one.repo == "." or is_pipeline:
        tree = _pipeline_tree(repo, here, there, take) if is_pipeline else _super_tree(repo, here, there, take)
        new = repo.commit_tree(tree, f"{SUBJECT}merge {one.remote}\n", [here, there])
        check_free(repo, here, new)
        move_branch(repo, f"refs/heads/{branch}", here, new)
    elif with_data:
        _ordinary_merge(repo, one.remote, there)
    else:
        raise UserError(
            Problem("sync.data", "", f"{branch} and {one.remote}/{branch} have both changed", "minipach sync")
        )
    notify(f"{one.repo}: {branch} merged with {there[:12]} of {one.remote}")
    return replace(one, action="merged")


def _ordinary_merge(repo: Repo, remote: str, there: str) -> None:
    """Merge a dataset with data as git does, with the user's own settings and hooks."""
    if repo.resolve("MERGE_HEAD"):
        raise UserError(Problem("sync.merging", "", "a merge is unfinished", f"git -C {quoted(repo.path)} status"))
    try:
        merge(repo, there, (*MERGE, "-m", f"{SUBJECT}merge {remote}"))
    except NotMergedError as error:
        shown = ", ".join(error.files[:3]) or error.reason
        fix = f"git -C {quoted(repo.path)} pull --no-rebase {remote}, which shows the conflicts"
        raise UserError(Problem("sync.conflict", "", f"git can't merge: {shown}", fix)) from None


def _pipeline_tree(repo: Repo, here: str, there: str, take: Side | None) -> str:
    """Return our tree with the own files of both sides merged."""
    base = repo.line("merge-base", here, there) if repo.succeeds("merge-base", here, there) else None
    sides = [_tree_of(repo, _own(repo, commit)) if commit else _EMPTY for commit in (base, here, there)]
    merged = _merged(repo, sides, take)
    ours = {entry.path: entry for entry in _own(repo, here)}
    theirs = {entry.path: entry for entry in _listed(repo, merged)}
    return _changed(repo, here, ours.keys() - theirs.keys(), [e for e in theirs.values() if ours.get(e.path) != e])


def _super_tree(repo: Repo, here: str, there: str, take: Side | None) -> str:
    """Return the merge of two superdatasets, whose gitlinks are the commits that the installed repos have now."""
    now: dict[str, str] = {}
    for entry in (*repo.ls_tree(here, recursive=True), *repo.ls_tree(there, recursive=True)):
        if (
            entry.mode == GITLINK
            and is_dataset(repo.path / entry.path)
            and (head := Repo(repo.path / entry.path).head())
        ):
            now[entry.path] = head
    base = repo.line("merge-base", here, there) if repo.succeeds("merge-base", here, there) else None
    sides = [_with_links(repo, commit, now) if commit else _EMPTY for commit in (base, here, there)]
    return _merged(repo, sides, take)


def _own(repo: Repo, commit: str) -> list[TreeEntry]:
    """Return the files of a pipeline that people write: no outputs, no inputs and nothing of minipach's."""
    by_hand = sorted(added_by_hand(repo, commit))
    found = [*reserved_entries(repo, commit), *listed_entries(repo, commit)]
    for start in range(0, len(by_hand), 500):
        found += repo.ls_tree(
            commit, *(f":(top,literal){path}" for path in by_hand[start : start + 500]), recursive=True
        )
    ours = {entry.path: entry for entry in found}
    return [
        e for path, e in sorted(ours.items()) if path != ".gitmodules" and not path.startswith((INPUTS, f"{FOLDER}/"))
    ]


def _merged(repo: Repo, sides: Iterable[str], take: Side | None) -> str:
    """Return the tree of a three-way merge of trees (base, ours, theirs). Raises UserError on a conflict."""
    base, ours, theirs = sides = tuple(sides)
    root = repo.commit_tree(base, "base\n", [])
    commits = [repo.commit_tree(tree, "side\n", [root]) for tree in (ours, theirs)]
    out = repo.git("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", *commits, ok=(0, 1))
    tree, *files = os.fsdecode(out).split("\0")
    conflicts = list(dict.fromkeys(file for file in files if file))
    for file in set(_BY_SECTION).intersection(conflicts):
        if (settings := _merged_settings(*(repo.objects.read(f"{side}:{file}") or b"" for side in sides))) is not None:
            tree = _changed(repo, tree, (), [TreeEntry(FILE, repo.hash_blob(settings), file)])
            conflicts.remove(file)
    if not conflicts:
        return tree
    if take is None:
        fix = "put both changes into one side and save, then minipach sync --take ours (or theirs)"
        raise UserError(Problem("sync.conflict", "", f"both sides changed {', '.join(conflicts[:3])}", fix))
    side = ours if take == "ours" else theirs
    kept = {e.path: e for e in repo.ls_tree(side, *(f":(top,literal){path}" for path in conflicts), recursive=True)}
    return _changed(repo, tree, set(conflicts) - kept.keys(), list(kept.values()))


def _merged_settings(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Return the merge of files of settings, section by section; None: both sides changed one section.

    git merges lines, and finds a conflict where both have added a section at the end.
    """
    old, here, there = map(_sections, (base, ours, theirs))
    merged = []
    for header in dict.fromkeys((*here, *there)):
        before, one, other = (side.get(header, b"") for side in (old, here, there))
        if one != other and before not in (one, other):
            return None
        merged.append(other if one == before else one)
    return b"".join(merged)


def _sections(text: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    header = b""
    for line in text.splitlines():
        if line.startswith(b"["):
            header = line.strip()
        found[header] = found.get(header, b"") + line + b"\n"
    return found


def _changed(repo: Repo, treeish: str, gone: Iterable[str], put: Iterable[TreeEntry]) -> str:
    rows = [b"0 " + b"0" * 40 + b"\t" + os.fsencode(path) for path in gone]
    rows += [f"{e.mode} {e.sha}\t".encode() + os.fsencode(e.path) for e in put]
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", treeish, env=env)
        repo.git("update-index", "-z", "--index-info", stdin=b"".join(row + b"\0" for row in rows), env=env)
        return repo.line("write-tree", env=env)


def _tree_of(repo: Repo, entries: Iterable[TreeEntry]) -> str:
    return _changed(repo, _EMPTY, (), entries)


def _with_links(repo: Repo, commit: str, now: Mapping[str, str]) -> str:
    found = [e for e in _listed(repo, commit) if e.mode == GITLINK and now.get(e.path, e.sha) != e.sha]
    return _changed(repo, commit, (), [TreeEntry(GITLINK, now[e.path], e.path) for e in found])


def _listed(repo: Repo, treeish: str) -> list[TreeEntry]:
    return list(parse_ls_tree(repo.git("ls-tree", "-r", "-z", "--full-tree", treeish)))


def _installed(project: Project) -> Iterator[tuple[str, Repo]]:
    for path in sorted(project.repos, key=lambda path: (-path.count("/"), path)):
        if is_dataset(project.root / path):
            repo = Repo(project.root / path)
            yield path, repo
            repo.close()


def _remote(project: Project, path: str, repo: Repo, target: str | None) -> str:
    """Return the remote of a repo. Where it has none, the superdataset's address and the repo's path are tried."""
    if (found := remote_for(repo, target)) or not (above := remote_for(project.repo, target)):
        return found
    address = project.repo.config(f"remote.{above}.url") or ""
    place = f"{address.rstrip('/')}/{path}"
    if git_remotes(repo) or not repo.succeeds("ls-remote", "--quiet", "--", place):
        return ""
    repo.git("remote", "add", "--", above, place)
    return above


def _fetch_superdataset(project: Project, target: str | None) -> None:
    if remote := remote_for(project.repo, target):
        with crash_cleanup.cleared(project.repo):
            project.repo.git("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", remote)
