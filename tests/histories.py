"""A project through random edits, beside a model that says what must be there: the outputs of the content of now."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.projects import Study
from tests.remains import Background

# --- what the pipelines do, in sh and in the model ------------------------------------------------------------

# `mode path content` for each file of an input, as it lies below /pfs
_LIST = """\
list() {{ find -L "$1" -type f | LC_ALL=C sort | while IFS= read -r f; do
  mode=-; [ -x "$f" ] && mode=x
  printf '%s %s ' "$mode" "$f"; cat "$f"; done; }}
cd "$PFS" || exit
V="$TMPDIR/version"
printf 'version {version}\\n' > "$V"
"""
_SCRIPTS = {
    # with identity: content the command sees no name, and the name is in the path of its output
    "each": '! grep -q EMPTY "$data" || exit 0; p=${data#*/data/}; mkdir -p "$(dirname "out/$p")"\n'
    '{ cat "$V"; tr a-z A-Z < "$data"; } > "out/$p.up"',
    # the command sees the name and writes it
    "named": 'p=${data#*/data/}; mkdir -p "$(dirname "out/$p")"; { cat "$V"; echo "$p"; cat "$data"; } > "out/$p.n"',
    # a link to an input becomes that file
    "folders": '{ cat "$V"; list data; } > "out/$MINIPACH_DATUM.list"\n'
    'ln -s "$(find -L "$PFS/data" -type f | LC_ALL=C sort | head -n 1)" "out/$MINIPACH_DATUM.first"',
    "pairs": 'cat "$V" "$left" "$right" > "out/$(basename "$left")+$(basename "$right")"',
    "keys": '{ cat "$V"; list data; } > "out/$MINIPACH_DATUM.list"',
    "whole": '{ cat "$V"; list each; } > out/all.list',
    "some": '! grep -q BAD "$data" || exit 9; mkdir -p "out/$(dirname "${data#*/data/}")"\n'
    'cat "$V" "$data" > "out/${data#*/data/}"',
    "after": '{ cat "$V"; list strict; } > out/all.list',
}
_SCRIPTS["strict"] = _SCRIPTS["some"]
_INPUTS = {
    "each": '{pfs: {repo: data, glob: "/**.txt"}}',
    "named": '{pfs: {repo: data, glob: "/**.txt"}}',
    "folders": '{pfs: {repo: data, glob: "/*"}}',
    "pairs": '{cross: [{pfs: {repo: data, name: left, glob: "/a/*.txt"}},'
    ' {pfs: {repo: each, name: right, glob: "/b/*.up"}}]}',
    "keys": '{group: [{pfs: {repo: data, glob: "/(*)/(*).txt", group_by: "$2"}}]}',
    "whole": '{pfs: {repo: each, glob: "/"}}',
    "some": '{pfs: {repo: data, glob: "/*/*.txt"}}',
    "strict": '{pfs: {repo: data, glob: "/*/*.txt"}}',
    "after": '{pfs: {repo: strict, glob: "/"}}',
}
_MORE = {
    "each": "minipach: {identity: content}\n",
    "some": "minipach: {publish: available}\n",
    "named": 'minipach: {out: "OUT"}\n',
}

Files = Mapping[str, tuple[bytes, bool]]  # content and whether it may be executed, by path
Outputs = dict[str, bytes]


@dataclass(frozen=True)
class Expected:
    """A datum: what of it counts (its name aside), and its outputs. None: it fails."""

    content: object
    outputs: Outputs | None


def _list(name: str, files: Files) -> bytes:
    rows = sorted((f"{name}/{path}".encode(), content, runs) for path, (content, runs) in files.items())
    return b"".join(b"%s %s %s" % (b"x" if runs else b"-", path, content) for path, content, runs in rows)


def _below(files: Files, top: str) -> Files:
    return {path: row for path, row in files.items() if path == top or path.startswith(f"{top}/")}


def _whole(pipeline: str, version: bytes, source: str, files: Files) -> dict[str, Expected]:
    return {"/": Expected(sorted(files.items()), {"all.list": version + _list(source, files)})} if files else {}


def datums_of(pipeline: str, number: str, data: Files, of: Mapping[str, Files]) -> dict[str, Expected]:
    """The datums that a pipeline must have, by name. of: what is published by the pipelines that it takes from."""
    version = b"version %s\n" % number.encode()
    if pipeline in ("whole", "after"):
        source = "each" if pipeline == "whole" else "strict"
        return _whole(pipeline, version, source, of[source])
    if pipeline == "folders":
        tops = {path.split("/")[0] for path in data}
        return {
            top: Expected(
                sorted((path.removeprefix(top), row) for path, row in _below(data, top).items()),
                {
                    f"{top}.list": version + _list("data", _below(data, top)),
                    f"{top}.first": min(_below(data, top).items(), key=lambda row: row[0].encode())[1][0],
                },
            )
            for top in tops
        }
    if pipeline == "keys":
        two = {path: row for path, row in data.items() if path.count("/") == 1}
        keys = {path.split("/")[1].removesuffix(".txt") for path in two}
        rows = {key: {p: row for p, row in two.items() if p.split("/")[1] == f"{key}.txt"} for key in keys}
        return {
            key: Expected(sorted(rows[key].items()), {f"{key}.list": version + _list("data", rows[key])})
            for key in keys
        }
    if pipeline == "pairs":
        found = {}
        for left in (p for p in data if p.startswith("a/") and p.count("/") == 1):
            for right in (p for p in of["each"] if p.startswith("b/") and p.count("/") == 1):
                one, two = data[left], of["each"][right]
                out = f"{left.split('/')[1]}+{right.split('/')[1]}"
                found[f"{left}~{right}"] = Expected((one, two), {out: version + one[0] + two[0]})
        return found
    found = {}
    for path, (content, runs) in data.items():
        if pipeline == "each":
            outputs: Outputs | None = {} if b"EMPTY" in content else {f"{path}.up": version + content.upper()}
        elif pipeline == "named":
            outputs = {f"{path}.n": version + path.encode() + b"\n" + content}
        elif path.count("/") != 1:
            continue
        else:
            outputs = None if b"BAD" in content else {path: version + content}
        found[path] = Expected((content, runs), outputs)
    return found


# --- the project and the model, edit by edit ------------------------------------------------------------------

_PATHS = (
    "a/one.txt", "a/two.txt", "a/x y.txt", "b/one.txt", "b/two.txt", "b/ü.txt", "c/one.txt", "d.txt",
    "a/deep/one.txt", "$(e).txt",
)  # fmt: skip
_CONTENTS = (b"liberty\n", b"liberty\n", b"chelsea\n", b"comet\n", b"moon\n", b"BAD\n", b"EMPTY\n")


@dataclass
class History:
    """A study and the model of it. `said` tells what was done, for whom a test fails."""

    study: Study
    rng: random.Random
    data: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: dict.fromkeys(_INPUTS, "A"))
    out: str = "/"  # where the outputs of `named` land
    cut: bool = False  # a schedule was killed since the last whole one
    published: dict[str, dict[str, Outputs]] = field(default_factory=lambda: {name: {} for name in _INPUTS})
    known: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _INPUTS})
    said: list[str] = field(default_factory=list)

    @staticmethod
    def begin(root: Path, seed: int) -> History:
        """A project with all the pipelines and a few files."""
        new = History(Study.create(root, "data"), random.Random(seed))
        new.study.ok("git", "config", "minipach.give-up-after", "0")  # the model knows of no job that gives up
        for name in _INPUTS:
            new._write_pipeline(name)
        for _ in range(4):
            new._add()
        new._commit()
        return new

    def _write_pipeline(self, name: str) -> None:
        spec = f"input: {_INPUTS[name]}\ntransform: {{cmd: [sh, code/run.sh]}}\ndatum_tries: 1\n"
        spec += _MORE.get(name, "").replace("OUT", self.out)
        self.study.pipeline(name, spec, run=_LIST.format(version=self.versions[name]) + _SCRIPTS[name] + "\n")

    # edits

    def edit(self) -> None:
        """One to three edits, committed."""
        edits: list[Callable[[], None]] = [
            self._add, self._add, self._change, self._change, self._remove, self._rename, self._move_folder,
            self._turn_executable, self._unlock, self._change_code, self._change_out, self._mend, self._go_back,
            self._forget,
        ]  # fmt: skip
        for edit in self.rng.sample(edits, self.rng.randint(1, 3)):
            edit()
        self._commit()

    def _say(self, *words: object) -> None:
        self.said.append(" ".join(map(str, words)))

    def _commit(self) -> None:
        self.study.save("data")

    def _some(self) -> str | None:
        return self.rng.choice(sorted(self.data)) if self.data else None

    def _put(self, path: str, content: bytes) -> None:
        if any(p.startswith(f"{path}/") for p in self.data):
            return
        self._say("put", path, content)
        self.study.put(f"data/{path}", content, save=False)
        self.data[path] = content, False

    def _add(self) -> None:
        self._put(self.rng.choice(_PATHS), self.rng.choice(_CONTENTS))

    def _change(self) -> None:
        if path := self._some():
            self._put(path, self.rng.choice((*_CONTENTS, b"new %d\n" % self.rng.randrange(1000))))

    def _mend(self) -> None:
        for path, (content, _) in sorted(self.data.items()):
            if b"BAD" in content:
                self._put(path, b"mended\n")

    def _remove(self) -> None:
        if path := self._some():
            self._say("remove", path)
            (self._at(path)).unlink()
            del self.data[path]
            self._drop_empty()

    def _rename(self) -> None:
        old, new = self._some(), self.rng.choice(_PATHS)
        if old and new not in self.data:
            self._say("rename", old, new)
            self._move(old, new)

    def _move_folder(self) -> None:
        old, new = self.rng.sample(("a", "b", "c"), 2)
        if any(p.startswith(f"{new}/") for p in self.data):
            return
        self._say("move the folder", old, new)
        for path in [p for p in self.data if p.startswith(f"{old}/")]:
            self._move(path, new + path.removeprefix(old))

    def _move(self, old: str, new: str) -> None:
        content, _ = self.data.pop(old)
        there = self._at(old)
        there.unlink()
        self._drop_empty()
        self.study.put(f"data/{new}", content, save=False)
        self.data[new] = content, False  # locked, and so a link

    def _turn_executable(self) -> None:
        """A file in git, as annexed links have no mode: unlocked."""
        if path := self._some():
            content, runs = self.data[path]
            self._say("turn executable", path, not runs)
            self.study.put(f"data/{path}", content, save=False)
            self._commit()
            self.study.git("data", "annex", "unlock", "--quiet", "--", path)
            self._at(path).chmod(0o644 if runs else 0o755)
            self.study.git("data", "add", "--", path)
            self.study.git("data", "commit", "--quiet", "--allow-empty", "-m", "its mode")  # annex add would lock it
            self.data[path] = content, not runs

    def _unlock(self) -> None:
        """The same content stored in another way is nothing new."""
        self._commit()
        if path := self._some():
            word = "unlock" if self._at(path).is_symlink() else "lock"
            if self.data[path][1]:
                return
            self._say(word, path)
            self.study.git("data", "annex", word, "--quiet", "--force", "--", path)
            self.study.git("data", "commit", "--quiet", "--allow-empty", "-m", word)

    def _change_code(self) -> None:
        name = self.rng.choice(sorted(_INPUTS))
        self.versions[name] = self.rng.choice("ABC")
        self._say("version", name, self.versions[name])
        self._write_pipeline(name)
        self.study.save(name)

    def _change_out(self) -> None:
        self.out = "{name}/" if self.out == "/" else "/"
        self._say("out", self.out)
        self._write_pipeline("named")
        self.study.save("named")

    def _go_back(self) -> None:
        """Undo all since an earlier commit of the data."""
        self._commit()
        commits = self.study.git("data", "log", "--format=%H").split()
        back = self.rng.choice(commits[:4])
        self._say("go back", back[:8])
        self.study.git("data", "checkout", "--quiet", "--no-overlay", back, "--", ".")
        self.study.git("data", "commit", "--quiet", "--allow-empty", "-m", "go back")
        self.data = dict(self._read_data())

    def _forget(self) -> None:
        """What is local and disposable."""
        what = self.rng.choice(("cache", "ledger.sqlite"))
        self._say("forget the", what)
        for folder in (self.study.root, *(self.study.root / name for name in _INPUTS)):
            there = folder / ".git/minipach" / what
            shutil.rmtree(there) if there.is_dir() else there.unlink(missing_ok=True)

    def _at(self, path: str) -> Path:
        return self.study.root / "data" / path

    def _drop_empty(self) -> None:
        for folder, _, _ in os.walk(self.study.root / "data", topdown=False):
            if ".git" not in Path(folder).parts and folder != str(self.study.root / "data"):
                try:
                    Path(folder).rmdir()
                except OSError:
                    continue

    def _read_data(self) -> Iterator[tuple[str, tuple[bytes, bool]]]:
        top = self.study.root / "data"
        for row in self.study.git("data", "ls-files", "-z").split("\0"):
            if row and not row.startswith((".datalad", ".git")):
                mode = (top / row).lstat().st_mode
                yield row, ((top / row).read_bytes(), not (top / row).is_symlink() and bool(mode & 0o100))

    # what must come of it

    def cut_short(self) -> None:
        """A `schedule` that is killed at some moment."""
        seconds = self.rng.uniform(0.2, 4)
        self._say(f"killed after {seconds:.2f} s")
        scheduler = Background(self.study, "schedule")
        with suppress(subprocess.TimeoutExpired):
            scheduler.process.wait(seconds)
        scheduler.kill()
        self.cut = True

    def bring_up(self) -> None:
        """`schedule`, and all that must be true after it."""
        unsaved = self._leave_unsaved()
        planned = self.study.plan()
        expected, failing, blocked = self._expected()
        done = self.study.schedule(code=1 if failing else 0)
        self._say("scheduled", {name: report["counts"] for name, report in done.items()})
        story = "\n".join(self.said)
        for name in _INPUTS:
            ran, wanted = done[name]["counts"]["ran"], expected[name]
            if name in blocked:
                assert done[name]["state"] == "blocked", f"{name}\n{story}"
                continue
            self._check_runs(name, wanted, done[name], planned[name], story)
            self._publish(name, wanted)
            assert self._outputs(name) == self._model(name), f"{name}, of which {ran} ran\n{story}"
            if not any(path.startswith(f"{name}/") for path in unsaved):
                assert self.study.git(name, "status", "--porcelain") == "", f"{name}\n{story}"
        self._take_back(unsaved, story)
        self.cut = False
        again = self.study.schedule(code=1 if failing else 0)
        for name, report in again.items():
            assert not report["counts"]["ran"], f"{name} once more\n{story}"
            assert name in blocked or self._outputs(name) == self._model(name), f"{name} once more\n{story}"
            assert report["commit"] == done[name]["commit"], f"{name} once more\n{story}"

    def _leave_unsaved(self) -> dict[str, bytes]:
        """Now and then, edits that no commit has: they count for nothing, and nobody overwrites them."""
        if self.rng.random() < 0.5:
            return {}
        name = self.rng.choice(list(_INPUTS))
        edits = {"data/unsaved.txt": b"unsaved\n", f"{name}/code/run.sh": b"exit 9\n", f"{name}/spec.yml": b"{}\n"}
        if not (self.study.root / name / ".git").exists():  # its first schedule commits what is there
            edits = {"data/unsaved.txt": b"unsaved\n"}
        left = {path: edits[path] for path in self.rng.sample(sorted(edits), self.rng.randint(1, len(edits)))}
        self._say("left unsaved", *left)
        for path, content in left.items():
            (self.study.root / path).write_bytes(content)
        return left

    def _take_back(self, unsaved: Mapping[str, bytes], story: str) -> None:
        for path, content in unsaved.items():
            there = self.study.root / path
            assert there.read_bytes() == content, f"{path} was overwritten\n{story}"
            there.unlink()
            repo, _, inside = path.partition("/")
            if repo != "data":
                self.study.git(repo, "checkout", "--", inside)

    def _expected(self) -> tuple[dict[str, dict[str, Expected]], set[str], set[str]]:
        """Each pipeline's datums, those of which some fail, and those that wait for one whose outputs must stay."""
        of: dict[str, Files] = {}
        found: dict[str, dict[str, Expected]] = {}
        failing: set[str] = set()
        for name in ("each", "strict", *(n for n in _INPUTS if n not in ("each", "strict"))):
            found[name] = datums_of(name, self.versions[name], self.data, of)
            if name == "named" and self.out != "/":
                found[name] = {
                    datum: Expected(d.content, {f"{datum}/{path}": text for path, text in (d.outputs or {}).items()})
                    for datum, d in found[name].items()
                }
            if any(d.outputs is None for d in found[name].values()):
                failing.add(name)
            of[name] = {
                path: (content, False) for d in found[name].values() for path, content in (d.outputs or {}).items()
            }
        return found, failing, {"after"} if "strict" in failing else set()

    def _publish(self, name: str, wanted: Mapping[str, Expected]) -> None:
        """What the model has published after it: nothing new where one fails, unless what is available is wanted."""
        if name == "strict" and any(d.outputs is None for d in wanted.values()):
            return
        before = self.published[name]
        new = {datum: d.outputs if d.outputs is not None else before.get(datum) for datum, d in wanted.items()}
        self.published[name] = {datum: outputs for datum, outputs in new.items() if outputs is not None}

    def _model(self, name: str) -> Outputs:
        return {path: content for outputs in self.published[name].values() for path, content in outputs.items()}

    def _outputs(self, name: str) -> Outputs:
        return {path: self.study.read(f"{name}/{path}") for path in self.study.outputs(name)}

    def _check_runs(
        self, name: str, wanted: Mapping[str, Expected], done: Mapping[str, Any], planned: Mapping[str, Any], story: str
    ) -> None:
        """Nothing is computed twice, and what needs no name is computed once per content."""
        ran = done["counts"]["ran"]
        version = self.versions[name] + (self.out if name == "named" else "")
        good = {datum: d for datum, d in wanted.items() if d.outputs is not None}
        once = {repr((version, d.content)) for d in good.values()}
        each = {repr((version, datum, d.content)) for datum, d in good.items()}
        alike = {repr((version, datum.count("/"), d.content)) for datum, d in good.items()}
        several = len(alike) > len(once)  # one content under names of different builds: no copy is sure to be allowed
        told = planned["counts"]
        assert ran <= len(each - self.known[name]), f"{name}: {ran} ran, some of them known\n{story}"
        if not self.cut:  # else some are known already
            assert ran >= len(once - self.known[name]), f"{name}: only {ran} ran\n{story}"
        if name == "each" and not (self.cut or several):
            assert ran == len(alike - self.known[name]), f"{name}: {ran} ran, not once per content\n{story}"
        if name not in ("pairs", "whole", "after") and not self.cut:  # of those the plan can't know what they will get
            tried = ran + len(done["failed"])
            least = told["run"] + told["skip"]  # what failed in two jobs is told of, and not run
            assert least <= tried <= least + told["reuse"], f"{name}: {told}\n{story}"
        failing = {datum: repr(d.content) for datum, d in wanted.items() if d.outputs is None}
        failed = {row["name"] for row in done["failed"]}
        assert failed <= failing.keys(), f"{name}: {failed}\n{story}"
        assert {failing[datum] for datum in failed} == set(failing.values()), f"{name}: {failed}\n{story}"
        self.known[name] |= once | each | alike
