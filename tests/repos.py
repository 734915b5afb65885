"""Small repositories for the tests of single modules: plain git, or with an annex. Quicker than a whole project."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from minipach.git import Repo


class Files(Repo):
    """A repository that tests write into."""

    @staticmethod
    def create(path: Path, *, annex: bool = False) -> Files:
        """An empty repository; with `annex`, one that puts every file into git-annex as SHA256E."""
        path.mkdir(parents=True)
        repo = Files(path)
        repo.git("init", "--quiet", "-b", "main")
        if annex:
            repo.git("annex", "init", "--quiet")
            repo.git("config", "annex.backend", "SHA256E")
        return repo

    def put(self, path: str | bytes, content: str | bytes = "") -> None:
        """Write a file (in the annex, where there is one) and stage it."""
        there = os.path.join(os.fsencode(self.path), os.fsencode(path))
        os.makedirs(os.path.dirname(there), exist_ok=True)
        with open(there, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
        self.stage(path)

    def stage(self, path: str | bytes) -> None:
        """Stage a path as it is: into the annex, where there is one and it is a file."""
        there = os.path.join(os.fsencode(self.path), os.fsencode(path))
        annexed = (self.path / ".git" / "annex").is_dir() and not os.path.islink(there)
        self.git(*(["annex", "add", "--quiet"] if annexed else ["add"]), "--", os.fsdecode(path))

    def in_git(self, path: str, content: str | bytes = "") -> None:
        """Write a file and stage it in git itself, annex or not."""
        there = self.path / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("-c", "annex.largefiles=nothing", "add", "--", path)

    def commit(self, message: str = "test") -> str:
        """Commit what is staged; the commit's id."""
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.line("rev-parse", "HEAD")

    def listing(self, treeish: str) -> dict[bytes, bytes]:
        """The files of a tree as git itself lists them: path (bytes) to `mode kind id`."""
        rows = self.git("ls-tree", "-r", "-z", "--full-tree", treeish).split(b"\0")
        return {path: meta for meta, _, path in (row.partition(b"\t") for row in rows if row)}

    def read(self, rev: str, path: str) -> bytes:
        """The content of one path of a commit."""
        data = self.objects.read(f"{rev}:{path}")
        assert data is not None, f"no {path} in {rev}"
        return data


def tree_of(repo: Repo, files: Mapping[str, bytes]) -> str:
    """A tree of plain files, stored without an index or a work tree."""
    from minipach.git import FILE, TreeEntry

    return repo.write_tree(TreeEntry(FILE, repo.hash_blob(data), path) for path, data in files.items())
