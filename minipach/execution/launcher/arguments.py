"""The arguments: what the record says of the run, and of each datum."""

from __future__ import annotations

import os
import re

from minipach.execution.launcher.core import PROCESSES, Failure

SIZES = {
    **dict.fromkeys(("-W", "-N", "-b"), 1),
    **dict.fromkeys(
        ["-t", "-e", "-i", "-a", "-w", "-P", "-E", "-R", "-L", "-s", "-S", "-q", "-I", "-v", "-x", "-j"], 2
    ),
    **dict.fromkeys(("-d", "-n", "-r"), 3),
    **dict.fromkeys(("-f", "-l", "-z"), 4),
}


class Datum:
    """One datum: its name, the place of its output, and its options."""

    def __init__(self, name, out):
        self.name = name
        self.out = out
        self.variables = []  # K=V
        self.matches = []  # (option, input, folder, path)
        self.words = []  # (token, word)
        self.values = {}  # placeholder: value

    def neutral(self, path):
        """A path as the command sees it: of two words that begin at one place, the longer one counts."""
        return replaced(path, {word: token for token, word in self.words})

    def restored(self, path):
        """An output's path with the datum's own words."""
        return replaced(path, dict(self.words))


def replaced(text, table):
    """A text with other words: from left to right, each that stands beside no letter or digit, the longest first."""
    words = sorted((word for word in table if word in text), key=len, reverse=True)
    found, at = "", 0
    while words and at < len(text):
        for word in words if not text[at - 1 : at].isalnum() else ():
            if text.startswith(word, at) and not text[at + len(word) : at + len(word) + 1].isalnum():
                found, at = found + table[word], at + len(word)
                break
        else:
            found, at = found + text[at], at + 1
    return found + text[at:]


class Run:
    """All that the arguments say."""

    def __init__(self):
        self.limit = None
        self.variables = []
        self.stdin = []
        self.accepted = {0}
        self.workdir = None
        self.image_workdir = False
        self.path = "pipeline"
        self.network = True
        self.passed = []
        self.shown = []
        self.limits = {"processes": PROCESSES}
        self.secrets = {}
        self.secret_files = {}
        self.required = False
        self.writable = False
        self.batched = False
        self.datums = []
        self.recovery = []
        self.recovery_stdin = []
        self.command = []

    def shm(self):
        """The size of /dev/shm: it takes memory, which nothing else counts."""
        sizes = [self.limits[kind] for kind in ("memory", "disk") if kind in self.limits]
        return str(min(sizes)) if sizes else ""


def parse(words):
    """The run that the arguments describe. Raises Failure."""
    run = Run()
    at = 0
    while at < len(words):
        option = words[at]
        if words[at : at + 2] == ["sh", ".minipach/datum"]:  # records of earlier versions
            at += 2
            continue
        if option == "--":
            at += 1
            break
        if option not in SIZES:
            if run.datums or option.startswith("-"):
                raise Failure("unknown option: " + option)
            break  # no datum: a plain command
        values = words[at + 1 : at + SIZES[option]]
        if len(values) < SIZES[option] - 1:
            raise Failure("option " + option + " lacks a value")
        take(run, option, values)
        at += SIZES[option]
    run.command = words[at:]
    if not run.command:
        raise Failure("no command; usage: sh .minipach/launch IMAGE OPTION... -d NAME OUT ... -- CMD [ARG...]")
    if run.batched and (run.writable or not run.datums):
        raise Failure("-b is for datums whose inputs can't be written to")
    if not run.datums:
        run.datums = [Datum("", "")]
    return run


def take(run, option, values):
    """Note one option. Raises Failure."""
    value = values[0] if values else ""
    if option in ("-v", "-f", "-l", "-z", "-n", "-r"):
        if not run.datums:
            raise Failure(option + " comes before the first -d")
        take_of_datum(run.datums[-1], option, values)
    elif option == "-d":
        run.datums.append(Datum(value, plain_path(values[1].strip("/") or ".")))
    elif option == "-t":
        run.limit = number(value, option)
    elif option == "-a":
        run.accepted.add(number(value, option, least=0))
    elif option == "-e":
        run.variables.append(assignment(value, option))
    elif option == "-i":
        run.stdin.append(value)
    elif option == "-w":
        run.workdir = value
    elif option == "-P":
        run.path = plain_path(value.strip("/"))
    elif option in ("-W", "-N", "-b"):
        run.image_workdir, run.batched = run.image_workdir or option == "-W", run.batched or option == "-b"
        run.network = run.network and option != "-N"
    elif option == "-E":
        run.passed.append(identifier(value, option))
    elif option == "-R":
        run.shown.append(value)
    elif option == "-L":
        kind, _, size = value.partition("=")
        if kind not in ("memory", "disk", "file-size", "processes"):
            raise Failure("unknown limit: -L " + value)
        run.limits[kind] = number(size, "-L")
    elif option in ("-s", "-S"):
        name, _, source = value.rpartition("=")
        is_secret = source.startswith("MINIPACH_SECRET_") and len(source) > len("MINIPACH_SECRET_")
        if not (is_secret and is_identifier(source) and (option == "-S" or is_identifier(name))):
            raise Failure("not a secret: " + option + " " + value)
        if option == "-s":
            run.secrets[identifier(name, option)] = source
        elif re.fullmatch(r"/[\w.@+/-]+", name) and ".." not in name.split("/"):  # runtimes' options have separators
            run.secret_files["/" + os.path.normpath(name).strip("/")] = source
        else:
            raise Failure("not an absolute path, or one with odd characters: -S " + value)
    elif option in ("-q", "-I"):
        run.required, run.writable = run.required or value == "required", run.writable or value == "writable"
    elif option == "-x":
        run.recovery.append(value)
    elif option == "-j":
        run.recovery_stdin.append(value)


def filled(word, table):
    """A word of a command with what the table has for each {KEY}, but where the braces are the command's own."""
    begin, *others = word.split("{")
    found, before = begin, begin
    for piece in others:
        key, brace, after = piece.partition("}")
        is_own = not brace or is_literal(before, key, after)
        found += "{" + piece if is_own else table.get(key, "{" + key + "}") + after
        before += "{" + piece
    return found


def is_literal(before, key, after):
    """Whether braces are the command's own: `${x}`, `{{x}}`, and how often (`[0-9]{2}`) in a regular expression."""
    if before.endswith("$") or (before.endswith("{") and after.startswith("}")):
        return True
    before = before[:-1] if before.endswith("\n") else before
    return key.isdigit() and (before.endswith(("]", ")")) or (before[-2:-1] == "\\" and before[-1] != "\n"))


def take_of_datum(datum, option, values):
    """Note an option of one datum. Raises Failure."""
    if option == "-v":
        datum.variables.append(assignment(values[0], option))
    elif option == "-n":
        if not values[0] or not values[1]:
            raise Failure("an empty word: -n")
        datum.words.append((values[0], values[1]))
    elif option == "-r":
        datum.values[values[0]] = values[1]
    else:
        name, folder, path = values
        if name in ("", ".", "..", "out") or "/" in name:
            raise Failure("not a name for an input: " + name)
        whole = "/." if folder.endswith("/.") else ""  # all that a repository itself has
        place = plain_path(folder.strip("/")) + whole
        datum.matches.append((option, name, place, plain_path(path.strip("/") or ".")))


def number(text, option, least=1):
    """A whole number. Raises Failure."""
    if not (text.isascii() and text.isdigit() and len(text) < 19) or int(text) < least:
        raise Failure("not a number: " + option + " " + text)
    return int(text)


def is_identifier(text):
    """Whether a shell can have a variable of this name."""
    return text.isascii() and text.isidentifier()


def identifier(text, option):
    """A name of a variable that no program loader or runtime obeys. Raises Failure."""
    obeyed = text in ("PATH", "HOME") or text.startswith(("LD_", "DYLD_", "GLIBC_", "APPTAINER_", "SINGULARITY_"))
    if obeyed or not is_identifier(text):
        raise Failure("not a variable that can be set: " + option + " " + text)
    return text


def assignment(text, option):
    """K=V. Raises Failure."""
    if text.find("=") < 1 or text.startswith("-"):
        raise Failure("not a variable: " + option + " " + text)
    return text


def plain_path(path):
    """A relative path that leads nowhere else. Raises Failure."""
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise Failure("not a plain path: " + path)
    path = os.path.normpath(path)
    return "" if path == "." else path
