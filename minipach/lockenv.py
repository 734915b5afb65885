"""`minipach lock`: take in this host's environment as the one on record, a change of identity like any other."""

from __future__ import annotations

from minipach import hostenv, leftovers
from minipach.checkout import InTheWay, check_free, move_branch, recover
from minipach.errors import UserError
from minipach.git import FILE, Repo, is_dataset, need_identity, private_index
from minipach.offbranch import need_branch
from minipach.project import Project
from minipach.wording import quoted


def lock_environment(project: Project, path: str) -> tuple[str, ...]:
    """Commit the new fingerprint to the pipeline's branch; what changed, a line each (nothing: no commit)."""
    pipeline = project.pipeline(path)
    if pipeline.transform.image is not None:
        at = pipeline.at("transform.image")
        raise UserError(f"{at}: it runs in the image {pipeline.transform.image}; there is nothing to lock")
    if not is_dataset(project.root / path):
        raise UserError(f"{path}: not a dataset yet; minipach schedule {pipeline.name} writes the first fingerprint")
    repo = Repo(project.root / path)
    try:
        head, branch = repo.head(), need_branch(repo, path)
        if head is None:
            raise UserError(f"{path}: no commit yet; datalad save -d {quoted(repo.path)}")
        now = hostenv.fingerprint(pipeline.transform.cmd)
        old = repo.objects.read(f"{head}:{hostenv.PATH_IN_REPO}")
        before = old.decode("utf-8", "replace") if old else ""
        if before == now:
            return ()
        need_identity(repo)
        leftovers.clear(repo)
        recover(repo)  # a move that was cut short comes before the next one
        leftovers.begin(repo)
        with private_index(repo.common_dir / "minipach-index") as env:
            repo.git("read-tree", head, env=env)
            blob = repo.hash_blob(now.encode())
            repo.git("update-index", "--add", "--cacheinfo", f"{FILE},{blob},{hostenv.PATH_IN_REPO}", env=env)
            tree = repo.line("write-tree", env=env)
        changes = hostenv.drift(before, now) if before else ("first fingerprint",)
        text = "\n".join(changes)
        new = repo.commit_tree(tree, f"minipach: take in this host's environment\n\n{text}\n", [head])
        try:
            check_free(repo, head, new)
        except InTheWay as error:
            raise UserError(f"{path}: uncommitted changes are in the way ({error}); commit or move them") from None
        move_branch(repo, f"refs/heads/{branch}", head, new)
        leftovers.end(repo)
        return changes
    finally:
        repo.close()
