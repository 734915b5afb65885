"""Edits while sets run: files are renamed, deleted and added, and edits are left that no commit has.

A name is used once, so that whatever happens each datum of now is published, and on record, exactly once.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from minipach.model.run_record import parse
from tests.fixtures.projects import Study

# The command sees `datum.txt`, whatever the file is called; its output gets the file's name.
NEUTRAL = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]}
datum_set_spec: {number: 4}
minipach: {identity: content}
"""
NEUTRAL_SCRIPT = """
[ "${images##*/}" = datum.txt ] || exit 9
{ echo neutral; cat "$images"; } >"$PFS/out/datum.txt"
"""
_KINDS = ("rename", "rename", "delete", "add", "unsaved")


@dataclass
class Edits:
    """A study and what its files must be. changed: files that were renamed or deleted, whose runs may be wasted."""

    study: Study
    random: random.Random
    files: dict[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    unsaved: bool = False
    _next: int = 0

    def add(self, count: int) -> None:
        """Commit more files."""
        for _ in range(count):
            self._write()
        self.study.save("images")

    def _write(self) -> None:
        name, content = f"{self._next:04d}.txt", f"{self._next}\n"
        self._next += 1
        self.study.put(f"images/{name}", content, save=False)
        self.files[name] = content

    def make(self) -> str:
        """Make one edit; its kind."""
        kind = self.random.choice(_KINDS)
        images = self.study.root / "images"
        if kind == "unsaved":
            (images / "unsaved.txt").write_text("in no commit\n")
            script = self.study.root / "neutral/code/run.sh"
            if (self.study.root / "neutral/.git").exists():  # its first schedule commits what is there
                script.write_text("exit 9\n")
            self.unsaved = True
            self.done[kind] += 1
            return kind
        self.take_back()  # a save would commit them
        old = self.random.choice(sorted(self.files))
        if kind == "add":
            self._write()
        elif kind == "rename":
            new = f"{self._next:04d}.txt"
            self._next += 1
            self.study.git("images", "mv", old, new)
            self.files[new] = self.files.pop(old)
        else:
            self.study.git("images", "rm", "--quiet", old)
            del self.files[old]
        self.study.save("images")
        self.done[kind] += 1
        return kind

    def take_back(self) -> None:
        """Take back what no commit has, which nobody may have overwritten."""
        if not self.unsaved:
            return
        images, script = self.study.root / "images", self.study.root / "neutral/code/run.sh"
        assert (images / "unsaved.txt").read_text() == "in no commit\n"
        (images / "unsaved.txt").unlink()
        if (self.study.root / "neutral/.git").exists() and script.read_text() == "exit 9\n":
            self.study.git("neutral", "checkout", "--quiet", "--", "code/run.sh")
        self.unsaved = False

    def problems(self, *pipelines: str) -> list[str]:
        """What is not as it must be in these pipelines: each file of now published once, on record once."""
        found = []
        for pipeline in pipelines:
            begin = "neutral\n" if pipeline == "neutral" else ""
            outputs = set(self.study.outputs(pipeline))
            if outputs != set(self.files):
                lost, more = sorted(set(self.files) - outputs)[:5], sorted(outputs - set(self.files))[:5]
                found.append(f"{pipeline}: lost: {lost}; too many: {more}")
                continue
            wrong = [
                name
                for name, content in self.files.items()
                if self.study.read(f"{pipeline}/{name}").decode() != begin + content
            ]
            if wrong:
                found.append(f"{pipeline}: other content: {wrong[:5]}")
            recorded = records_of(self.study, pipeline)
            if twice := [name for name, count in recorded.items() if count > 1]:
                found.append(f"{pipeline}: on record more than once: {twice[:5]}")
            if unrecorded := sorted(set(self.files) - set(recorded))[:5]:
                found.append(f"{pipeline}: not on record: {unrecorded}")
        return found


def records_of(study: Study, pipeline: str) -> Counter[str]:
    """How many records on the pipeline's branch each datum has."""
    found: Counter[str] = Counter()
    for row in study.git(pipeline, "log", "-z", "--format=%B", "HEAD").split("\0"):
        try:
            ours = parse(row.rstrip("\n") + "\n")[1].get("minipach", {})
        except ValueError:
            continue
        found.update(str(datum["name"]) for datum in ours.get("datums", []))
    return found
