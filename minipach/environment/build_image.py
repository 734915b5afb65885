"""`minipach image build`: build the image of a pipeline from its recipe, and commit it to the pipeline's branch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from minipach.environment.image import Image, resolve_image
from minipach.environment.import_image import fetch_entries
from minipach.environment.record_environment import commit_entries
from minipach.git.content import classify
from minipach.git.repo import Repo, is_dataset, need_annex, need_identity
from minipach.git.tree_entries import SYMLINK
from minipach.project.branch_check import need_branch
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted


@dataclass(frozen=True, slots=True)
class Built:
    """The image of a pipeline after a build.

    is_new: whether it was built now · content: its content id · size: bytes · lines: what was noted beside it.
    """

    pipeline: str
    recipe: str
    is_new: bool
    content: str
    size: int
    lines: tuple[str, ...]


def build_image(project: Project, path: str, *, again: bool = False, allow_builds: bool = False) -> Built:
    """Build a pipeline's image, unless it was built from the recipe as it is committed now.

    Args:
        project: The project.
        path: The pipeline's path.
        again: Build also if the recipe is as before: for newer versions of what it does not pin.
        allow_builds: Let uv run the code of source distributions, outside of a sandbox.

    Raises:
        UserError: The spec names no recipe, or the build fails. Nothing is changed then.
    """
    pipeline = project.pipeline(path)
    image = resolve_image(project, path) if pipeline.transform.image is not None else None
    if image is None or image.recipe is None:
        raise UserError(
            Problem(
                "environment.none",
                pipeline.source,
                "names no recipe to build an image from",
                "write `minipach: {environment: requirements.txt}`, and add that file",
            )
        )
    if not is_dataset(project.root / path):
        raise UserError(
            Problem("pipeline.not-a-dataset", path, "not a dataset yet", f"minipach schedule {pipeline.name}")
        )
    repo = Repo(project.root / path)
    try:
        head, branch = repo.head(), need_branch(repo, path)
        if head is None:
            raise UserError(Problem("repo.no-commit", path, "no commit yet", f"datalad save -d {quoted(repo.path)}"))
        if not image.is_away and not again:
            return Built(pipeline.name, image.label, False, image.content, 0, _noted(repo, head, image))
        need_identity(repo)
        need_annex(repo)
        recipe = image.recipe.with_builds() if allow_builds else image.recipe
        wanted = replace(image, recipe=recipe)
        entries = {entry.path: entry for entry in fetch_entries(repo, wanted)}
        found = entries[image.path]
        content = classify(repo, [found])[found.sha, found.mode == SYMLINK][1]
        text = (repo.objects.read(entries[image.recipe_path].sha) or b"").decode("utf-8", "replace")
        there = {e.path: e for e in repo.ls_tree(head, ":(literal)" + image.path.rpartition("/")[0], recursive=True)}
        if any(there.get(p) != entry for p, entry in entries.items()):
            what = f"build the environment {image.label}"
            commit_entries(repo, path, (head, branch), entries, what, text.splitlines()[1:])
        target = (repo.objects.read(found.sha) or b"").decode("utf-8", "surrogateescape")
        size = (repo.path / image.path).parent.joinpath(target).resolve().stat().st_size
        return Built(pipeline.name, image.label, True, content, size, tuple(text.splitlines()[1:]))
    finally:
        repo.close()


def _noted(repo: Repo, head: str, image: Image) -> tuple[str, ...]:
    text = repo.objects.read(f"{head}:{image.recipe_path}") or b""
    return tuple(text.decode("utf-8", "replace").splitlines()[1:])
