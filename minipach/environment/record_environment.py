"""`minipach lock`: record the environment of now, as a change of identity like any other. No mutex: `project/lock.py`.

Without an image that is this host's environment; with an image of a registry, what its tag names now; with one that
was fetched by its URL, what lies there now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minipach.environment import host
from minipach.environment.image import UNKNOWN_DIGEST, Image, resolve_image
from minipach.environment.import_image import fetch_entries
from minipach.environment.oci_registry import SCHEME, parse_reference
from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay, check_free, move_branch
from minipach.git.content import classify
from minipach.git.merging import settle
from minipach.git.repo import Repo, is_dataset, need_identity, private_index
from minipach.git.tree_entries import FILE, SYMLINK, TreeEntry
from minipach.model.messages import SUBJECT
from minipach.project.branch_check import need_branch
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted, short

_WEB = ("https://", "http://")


def lock_environment(project: Project, path: str) -> tuple[str, ...]:
    """Commit the environment of now to the pipeline's branch.

    Returns:
        What changed, a line each; nothing where nothing did, and then there is no commit.

    Raises:
        UserError: There is nothing to record, or it can't be recorded.
    """
    pipeline = project.pipeline(path)
    repo = Repo(project.root / path)
    try:
        image = _refreshable(project, path) if pipeline.transform.image is not None else None
        if not is_dataset(project.root / path):
            raise UserError(
                Problem(
                    "pipeline.not-a-dataset",
                    path,
                    "not a dataset yet",
                    f"minipach schedule {pipeline.name}",
                )
            )
        head, branch = repo.head(), need_branch(repo, path)
        if head is None:
            raise UserError(Problem("repo.no-commit", path, "no commit yet", f"datalad save -d {quoted(repo.path)}"))
        need_identity(repo)
        if image is not None:
            return _lock_image(repo, path, image, head, branch)
        return _lock_host(repo, path, pipeline.transform.cmd, head, branch)
    finally:
        repo.close()


def _lock_host(repo: Repo, path: str, cmd: Sequence[str], head: str, branch: str) -> tuple[str, ...]:
    now = host.fingerprint(cmd)
    old = repo.objects.read(f"{head}:{host.PATH_IN_REPO}")
    before = old.decode("utf-8", "replace") if old else ""
    if before == now:
        return ()
    changes = host.drift(before, now) if before else ("first fingerprint",)
    entry = TreeEntry(FILE, repo.hash_blob(now.encode()), host.PATH_IN_REPO)
    commit_entries(repo, path, (head, branch), {entry.path: entry}, "record this host's environment", changes)
    return changes


def _refreshable(project: Project, path: str) -> Image:
    """Return the image of a pipeline, if it is a registry's by a tag or has a web address.

    UserError if there is nothing to fetch again.
    """
    pipeline = project.pipeline(path)
    at, image = pipeline.at("transform.image"), resolve_image(project, path)
    reference = parse_reference(image.remote) if image.remote.startswith(SCHEME) else None
    if image.remote.startswith(_WEB):
        return image
    if image.recipe is not None:
        raise UserError(
            Problem(
                "image.not-fetchable",
                at,
                f"the image of {image.label} is built, not fetched",
                f"minipach image build {pipeline.name} --again",
            )
        )
    if image.remote and reference is None:
        raise UserError(
            Problem(
                "image.not-fetchable",
                at,
                f"the image {pipeline.transform.image} was fetched by its URL, and is not fetched again",
                "name another image, or one with an https address",
            )
        )
    if reference is None:
        raise UserError(
            Problem(
                "image.not-fetchable",
                at,
                f"the image {pipeline.transform.image} is no registry's, so there is nothing to fetch again "
                "(a change of its file or container is seen by itself)",
            )
        )
    if reference.digest:
        raise UserError(
            Problem(
                "image.pinned-by-digest",
                at,
                "the image is named by its digest, which never moves",
                "write another digest, or a tag",
            )
        )
    return image


def _lock_image(repo: Repo, path: str, image: Image, head: str, branch: str) -> tuple[str, ...]:
    fetched = {entry.path: entry for entry in fetch_entries(repo, image)}
    there = {e.path: e for e in repo.ls_tree(head, ":(literal)" + image.path.rpartition("/")[0], recursive=True)}
    found = fetched[image.path]
    now, decides = classify(repo, [found])[found.sha, found.mode == SYMLINK][1], image.path
    if image.digest_path in fetched:
        text = (repo.objects.read(fetched[image.digest_path].sha) or b"").decode()
        if text == UNKNOWN_DIGEST:
            now = "of unknown digest"
        else:  # the archive's bytes may differ though its digest is the same
            now, decides = f"OCI--{text.strip().removeprefix('sha256:')}", image.digest_path
    if there.get(decides) == fetched[decides]:
        return ()
    before = image.content if image.source is None else "absent"
    changes = (f"{image.label} {short(before)} -> {short(now)}",)
    commit_entries(repo, path, (head, branch), fetched, f"fetch the image {image.label} again", changes)
    return changes


def commit_entries(
    repo: Repo,
    path: str,
    at: tuple[str, str],
    entries: Mapping[str, TreeEntry],
    what: str,
    changes: Sequence[str],
) -> None:
    """Commit entries to the branch that is checked out, and bring its checkout along. at: its commit and its name."""
    head, branch = at
    settle(repo)  # a move that was cut short comes before the next one
    crash_cleanup.begin(repo)
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", head, env=env)
        for entry in entries.values():
            repo.git("update-index", "--add", "--cacheinfo", f"{entry.mode},{entry.sha},{entry.path}", env=env)
        tree = repo.line("write-tree", env=env)
    text = "\n".join(changes)
    new = repo.commit_tree(tree, f"{SUBJECT}{what}\n\n{text}\n", [head])
    try:
        check_free(repo, head, new)
    except InTheWay as error:
        raise UserError(
            Problem(
                "repo.uncommitted-changes", path, f"uncommitted changes are in the way ({error})", "commit or move them"
            )
        ) from None
    move_branch(repo, f"refs/heads/{branch}", head, new)
    crash_cleanup.end(repo)
