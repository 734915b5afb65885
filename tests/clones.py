"""Clones of one project, and results made by hand: for tests of what goes from one clone to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minipach.fastimport import Stream, committer
from minipach.git import FILE
from minipach.keeping import RESULTS_FILE
from minipach.results import BRANCH, PENDING, RESULT_FILE, folder_of, to_json
from tests.projects import Study
from tests.repos import Files, tree_of

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: ["true"]}\n'


def project(root: Path) -> Study:
    """`edges` copies each of `images`: one datum is published, four more are still to be computed."""
    study = Study.create(root)
    study.put("images/first.txt", "first\n")
    study.copier()
    study.schedule()
    for name in ("a1", "a2", "b1", "b2"):
        study.put(f"images/{name}.txt", f"content of {name}\n", save=False)
    study.ok("datalad", "save", "-r", "-m", "four more")
    return study


def clone(source: Study, root: Path) -> Study:
    """A clone of a project with all its repos, without contents."""
    source.ok("datalad", "clone", str(source.root), str(root))
    copy = Study(root)
    copy.ok("datalad", "get", "-n", "-r", "images", "edges")
    return copy


def small_project(root: Path) -> tuple[Study, Files]:
    """The least that passes for a project: one pipeline's repo with a spec, and nothing to compute with."""
    top = Files.create(root)
    top.put(".datalad/config", '[datalad "dataset"]\n\tid = 1\n')
    top.commit()
    edges = Files.create(root / "edges", annex=True)
    edges.in_git("spec.yml", SPEC)
    edges.commit()
    return Study(root), edges


def datum_id(short: str) -> str:
    """A datum id that begins with some hexadecimal digits."""
    return short.ljust(64, "0")


def add_result(repo: Files, short: str, name: str = "one", out: str = "") -> str:
    """Commit a result to the results branch; its folder. One of that name takes the place of the one before."""
    where = folder_of(datum_id(short), name, [w for w, n in names(repo).items() if n != name])
    stream = Stream("refs/minipach/build/test", repo.resolve(BRANCH), committer(repo))
    stream.commit(f"result {name}\n")
    stream.write(FILE, to_json(_described(short, name)), f"{where}/{RESULT_FILE}")
    stream.write(FILE, out.encode(), f"{where}/out/f")
    repo.git("update-ref", BRANCH, stream.run(repo) or "")
    return where


def add_pending(repo: Files, short: str, name: str, **changes: Any) -> None:
    """A result as a worker leaves it, not folded in yet. changes: values of it that are others."""
    data = json.dumps({"results": [{**_described(short, name), "record": "", "files": [], **changes}]}).encode()
    commit = repo.commit_tree(tree_of(repo, {RESULTS_FILE: data}), "a result\n")
    repo.git("update-ref", f"{PENDING}{short}", commit)


def _described(short: str, name: str) -> dict[str, Any]:
    result = {"id": datum_id(short), "name": name, "words": [], "dest": "", "matches": []}
    author = "A <a@example.org> 0 +0000"
    return {**result, "recipe": {}, "inputs": {}, "author": author, "code_tree": ""}


def drop_result(repo: Files, where: str) -> None:
    """Commit a results branch without a result."""
    stream = Stream("refs/minipach/build/test", repo.resolve(BRANCH), committer(repo))
    stream.commit("dropped\n")
    stream.delete(where)
    repo.git("update-ref", BRANCH, stream.run(repo) or "")


def names(repo: Files, rev: str = BRANCH) -> dict[str, str]:
    """The results on a results branch: folder to the name that it was made under."""
    found = {}
    for path in repo.listing(rev) if repo.resolve(rev) else ():
        folder, _, file = path.decode().rpartition("/")
        if file == RESULT_FILE:
            found[folder] = json.loads(repo.read(rev, path.decode()))["name"]
    return found
