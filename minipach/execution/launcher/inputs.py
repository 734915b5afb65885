"""Inputs and own files: which files of a repository or folder there are, and how each is placed."""

from __future__ import annotations

import os

from minipach.execution.launcher.core import Failure, Fault, Suppress, parents, shown
from minipach.execution.launcher.files import MAX_POINTER, POINTER, copy_file, is_taken_for_pointer
from minipach.execution.launcher.git_objects import Objects, git
from minipach.execution.launcher.reserved_names import is_pipeline, reserved_in_data, reserved_in_pipeline

FEW = 100  # objects of git that are asked for one by one
LARGE = 1 << 20  # bytes from which on a file that can't be linked is mounted
MOST_MOUNTS = 500  # of such files for a datum
UNPROTECTED, PROTECTED, PRIVATE = range(3)  # what becomes of a file of ours: copied, linked, or a copy to write to


class Placed(dict):
    """The files that lie in all trees.

    mounts: {target: source} of the files that the runtime mounts at an empty one; None: it does not · copied: bytes ·
    folders: those that are no link
    """

    def __init__(self):
        super().__init__()
        self.mounts = None
        self.most = 0
        self.odd = ""
        self.copied = 0
        self.folders = set()

    def begin(self, odd, most=MOST_MOUNTS):
        """Begin with another datum. odd: characters of paths that the runtime can't mount; None: it mounts no files."""
        self.clear()
        self.most = most
        self.mounts = {} if odd is not None else None
        self.odd = odd or ""
        self.copied = 0
        self.folders.clear()

    def mount(self, source, target):
        """Have a large file mounted that can't be linked, being on another disk or another user's. Whether it is."""
        if self.mounts is None or len(self.mounts) >= self.most or os.path.getsize(source) < LARGE:
            return False
        if any(c in path for c in self.odd for path in (source, target)):
            return False
        with open(target, "xb"):
            self.mounts[target] = source
        return True


NO_PIPELINES = {"code", "inputs", ".datalad", ".minipach"}  # a spec below such a folder makes no pipeline


class Tree:
    """The committed files of one repository, or of a plain folder in one, or files that a worker has laid out."""

    def __init__(self, folder, protects, placed, dataset=""):
        self.folder = folder
        self.dataset = dataset  # the pipeline's, if this is one of its inputs
        self.placed = placed  # what lies where, in all trees
        self.protects = protects  # how: hard links can be handed out only where they are PROTECTED
        self.is_repo = not folder.endswith("/.") and os.path.lexists(os.path.join(folder, ".git"))
        self._names = None

    def lay_out(self, path, target, rename, keep=None, nested=True):
        """Place what is at `path` ("" is everything) below the folder `target`, each at rename(its path).

        keep: whether a name at the repository's root belongs to it. nested: with subdatasets.
        Returns {target path: source path}. Raises Fault.
        """
        if not self.is_repo:
            holder = self._holder()
            if holder is not None:
                return self._from_holder(holder, path, target, rename)
            return self._from_folder(path, target, rename)
        for above in parents(path):
            inner = Tree(os.path.join(self.folder, above), self.protects, self.placed)
            if inner.is_repo:
                if not (keep or self._keep())(above.split("/", 1)[0]):
                    raise Fault(self.folder + "/" + path + ": no such input")
                return inner.lay_out(
                    path[len(above) + 1 :], target, lambda inside, above=above: rename(above + "/" + inside)
                )
        rows = Objects.of(self.folder).files(path)
        if keep is None:
            own = self._listed() if is_pipeline(self.names()) else ()
            rows = [row for row in rows if row[3] not in own]
        keep = keep or self._keep()
        rows = [row for row in rows if keep(row[3].split("/", 1)[0])]
        if not rows:
            raise Fault((self.folder + "/" + path).rstrip("/") + ": no such input")
        blobs = self._read([sha for _, kind, sha, _ in rows if kind == "blob"])
        found = {}
        for mode, kind, sha, name in rows:
            if kind == "commit" and not nested:
                continue  # its files are pinned in .minipach/code
            if kind == "commit":
                found.update(self._nested(name, target, rename))
            else:
                self._place(mode, blobs[sha], name, os.path.join(target, rename(name)), found)
        return found

    def _holder(self):
        """The repository whose plain folder this is, where it is installed."""
        above = os.path.dirname(self.folder)
        top = os.path.join(self.dataset, "inputs")
        while self.dataset and above.startswith(top + "/"):
            if os.path.lexists(os.path.join(above, ".git")):
                return above
            above = os.path.dirname(above)
        return None

    def _from_holder(self, holder, path, target, rename):
        """Place what a repository itself has in its plain folder: neither subdatasets nor pipelines."""
        repo = Tree(holder, self.protects, self.placed)
        inside = self.folder[len(holder) + 1 :]
        prefix = "" if inside == "." else inside + "/"
        rows = [row for row in Objects.of(holder).files((prefix + path).rstrip("/")) if row[1] == "blob"]
        rows = [(*row[:3], row[3][len(prefix) :]) for row in rows]
        others = {os.path.dirname(row[3]) for row in rows if os.path.basename(row[3]) == "spec.yml"}
        others = {folder for folder in others if not NO_PIPELINES.intersection(folder.split("/"))}
        kept = [
            row for row in rows if not reserved_in_data(row[3].split("/", 1)[0]) and others.isdisjoint(parents(row[3]))
        ]
        if not kept:
            raise Fault((self.folder + "/" + path).rstrip("/") + ": no such input")
        blobs = repo._read([sha for _, _, sha, _ in kept])
        found: dict[str, str | None] = {}
        for mode, _, sha, name in kept:
            repo._place(mode, blobs[sha], prefix + name, os.path.join(target, rename(name)), found)
        return found

    def names(self):
        """The names at the repository's root."""
        if self._names is None:
            self._names = {name for _, _, _, name in Objects.of(self.folder).tree("HEAD^{tree}") or ()}
        return self._names

    def _keep(self):
        reserved = reserved_in_pipeline if is_pipeline(self.names()) else reserved_in_data
        return lambda name: not reserved(name)

    def _listed(self):
        """A pipeline's own files at no reserved name: they are no outputs."""
        found = Objects.of(self.folder).read("HEAD:.minipach/files")
        return set(os.fsdecode(found[2]).split("\n")) if found else set()

    def _nested(self, name, target, rename):
        inner = Tree(os.path.join(self.folder, name), self.protects, self.placed)
        if not inner.is_repo and not (os.path.isdir(inner.folder) and os.listdir(inner.folder)):
            raise Fault(inner.folder + ": this subdataset is not here; fetch it with: datalad get " + inner.folder)
        return inner.lay_out("", target, lambda path: rename(name + "/" + path))

    def _read(self, shas):
        """The content of git's blobs, by id."""
        wanted = list(dict.fromkeys(shas))
        if len(wanted) < FEW:
            answers = {sha: Objects.of(self.folder).read(sha) for sha in wanted}
            for sha, answer in answers.items():
                if answer is None:
                    raise Failure(self.folder + ": git object " + sha + " is missing; git fsck")
            return {sha: answer[2] for sha, answer in answers.items()}
        data = git(self.folder, "cat-file", "--batch", stdin="".join(sha + "\n" for sha in wanted).encode())
        found, at = {}, 0
        for sha in wanted:
            end = data.index(b"\n", at)
            head = data[at:end].split()
            if len(head) != 3:
                raise Failure(self.folder + ": git object " + sha + " is missing; git fsck")
            size = int(head[2])
            found[sha] = data[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
        return found

    def _make_folder(self, target):
        """The folder of a target; not through a link, which another match may have put there. Raises Fault."""
        folder = os.path.dirname(target)
        if folder not in self.placed.folders:
            if os.path.realpath(folder) != folder:
                what = "a file lies below what is a symbolic link in another match"
                raise Fault(f"{self.folder}: {what}: {shown(target)}")
            self.placed.folders.add(folder)
        os.makedirs(folder, exist_ok=True)

    def _is_there(self, name, target):
        """Whether a file was matched before. Raises Fault where another one has its path."""
        source = os.path.join(self.folder, name)
        if os.path.lexists(target) and self.placed.get(target) != source:
            raise Fault(f"{source}: another matched file has this path already: {shown(os.path.basename(target))}")
        return self.placed.setdefault(target, source) == source and os.path.lexists(target)

    def _place(self, mode, data, name, target, found):
        self._make_folder(target)
        if self._is_there(name, target):
            return
        key = key_of_link(data) if mode == "120000" else key_of_pointer(data)
        if key:
            source = self._content(name, key)
            self._put(source, target, mode == "100755")
            found[target] = source
        elif mode == "120000":
            os.symlink(os.fsdecode(data), target)
        else:
            with open(target, "xb") as file:
                file.write(data)
                os.fchmod(file.fileno(), 0o755 if mode == "100755" else 0o644)
            found[target] = None

    def _content(self, name, key):
        """The path of an annexed file's content."""
        there = os.path.join(self.folder, name)
        if os.path.islink(there):
            real = os.path.realpath(there)
            if os.path.basename(real) == key and os.path.isfile(real):
                return real
        elif os.path.isfile(there) and not is_pointer(there):
            with Suppress(Failure):  # unlocked: git knows whether it was changed
                if not git(self.folder, "diff-index", "--name-only", "HEAD", "--", ":(top,literal)" + name):
                    return there
        with Suppress(Failure):
            said = os.fsdecode(git(self.folder, "annex", "contentlocation", key)).strip()
            common = os.fsdecode(git(self.folder, "rev-parse", "--path-format=absolute", "--git-common-dir")).strip()
            for base in (self.folder, os.path.dirname(common), common):
                if said and os.path.isfile(os.path.join(base, said)):
                    return os.path.realpath(os.path.join(base, said))
        raise Fault(there + ": its content is not here; fetch it with: datalad get " + there)

    def _put(self, source, target, executable):
        # the mode is that of all links; that of an annexed content may have bits that its git mode has not
        if self.protects == PROTECTED and not executable and not os.stat(source).st_mode & 0o111:
            with Suppress(OSError):
                os.link(source, target)
                return
            if self.placed.mount(source, target):
                return
        copy_file(source, target, 0o755 if executable else 0o644 if self.protects == PRIVATE else 0o444)
        self.placed.copied += os.path.getsize(target)

    def _from_folder(self, path, target, rename):
        top = os.path.join(self.folder, path) if path else self.folder
        found: dict[str, str | None] = {}
        if os.path.islink(top) or os.path.isfile(top):
            self._take(top, path, target, rename, found)
        elif os.path.isdir(top):
            for here, folders, names in os.walk(top):
                folders[:] = [f for f in folders if f != ".git"]
                links = [f for f in folders if os.path.islink(os.path.join(here, f))]
                for name in (*names, *links):
                    there = os.path.join(here, name)
                    self._take(there, os.path.relpath(there, self.folder), target, rename, found)
        else:
            raise Fault(top + ": no such input")
        return found

    def _take(self, there, name, target, rename, found):
        source = there
        place = os.path.join(target, rename(name))
        self._make_folder(place)
        if self._is_there(name, place):
            return
        if os.path.islink(source):
            to = os.readlink(source)
            if "/annex/objects/" not in to:
                os.symlink(to, place)
                return
            if not os.path.isfile(source):
                raise Fault(source + ": its content is not here; fetch it with: datalad get " + source)
            source = os.path.realpath(source)
        self._put(source, place, not os.path.islink(there) and bool(os.stat(source).st_mode & 0o100))
        found[place] = source


def is_pointer(path):
    """Whether a file is annexed, unlocked, and its content not here."""
    with open(path, "rb") as file:
        return key_of_pointer(file.read(MAX_POINTER + 1)) is not None


def key_of_link(target):
    """The annex key that a link's target names, or None."""
    if POINTER not in b"/" + target:
        return None
    return os.fsdecode(target.rpartition(b"/")[2]) or None


def key_of_pointer(data):
    """The annex key that an unlocked file's blob names, or None: any other text may have such a path, too."""
    if len(data) > MAX_POINTER or not data.startswith(POINTER) or not is_taken_for_pointer(data):
        return None
    return os.fsdecode(data.split(b"\n", 1)[0][len(POINTER) :].removesuffix(b"\r"))
