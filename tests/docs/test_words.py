"""Words of pages, messages, helps and docstrings: standard terms, short sentences, subjects first."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / name for name in ("benchmarks/README.md", "containers/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
MODULES = sorted((ROOT / "minipach").rglob("*.py"))

# What a page or a message must not say, and the standard term.
INSTEAD = {
    r"tells?|told|telling": "report, say, show",
    r"go(?:es|ing|ne)? on|went on": "continue",
    r"ways? out": "fix",
    r"on (?:its|their|the) way": "submitted, in progress",
    r"hand(?:s|ed|ing)? over": "submit",
    r"tak(?:e|es|en|ing) (?:it |them )?in(?= |[.,;:])(?! the place)|took in": "record, accept",
    r"anew": "again",
    r"room": "capacity",
    r"house": "reserved files",
    r"what is true": "authoritative",
    r"ledger": "job database",
    r"engines?": "executor",
}
TERMS = (
    *("attempt", "base commit", "capacity", "datum", "datum set", "downstream", "executor", "job", "job database"),
    *("pass", "pending work", "pipeline", "publish", "queue", "results branch", "retry", "slot", "submit", "upstream"),
    *("worker", "working tree"),
)
_WRONG = re.compile("|".join(INSTEAD), re.IGNORECASE)
LONGEST = 25  # words in a sentence of a page, or in a part of it between colons, semicolons and brackets
_CLAUSES = ("What", "How", "Where", "Who", "Whose", "Whoever", "Why", "Which", "Of", "As", "That", "Those", "When")


_NOT_VERBS = (
    "The",
    "An?",
    "Its?",
    "All",
    "Each",
    "Every",
    "Whether",
    "This",
    "These",
    "There",
    "Nobody",
    "Several",
    "Few",
)
_RESULT = re.compile(r"; (?:its|their|how (?:many|often)|whether|what was done|which they were|(?:None|False) if)\b")


def wrong_words(text: str) -> list[str]:
    """The words of a text that have a standard term, with the words around them."""
    found = []
    for word, term in INSTEAD.items():
        for match in re.finditer(rf"(?i)(?<![\w./`-])(?:{word})(?![\w/`-]|\.\w)", text):
            found.append(f"{text[max(0, match.start() - 30) : match.end() + 20]!r}: say {term}")
    return found


def prose(page: str) -> str:
    """A page without code, addresses, the paths of links and what readers don't see."""
    page = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    page = re.sub(r"^ *```.*?^ *```", "\n\n", page, flags=re.MULTILINE | re.DOTALL)
    page = "\n".join("" if line.startswith("    ") else line for line in page.splitlines())
    page = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", page)
    return re.sub(r"`[^`]*`", "CODE", page)


def sentences(page: str) -> Iterator[str]:
    """The sentences of a page: those of paragraphs, of list items and of cells of tables."""
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.) ?)", prose(page)):
        for cell in block.split("|") if block.lstrip().startswith("|") else [block]:
            # A colon, a semicolon and a bracket end what has to be kept in mind, too.
            yield from (part.strip() for part in re.split(r"(?<=[.?!:;])\s+|[()]", cell) if part.strip())


def strings(module: str) -> Iterator[tuple[int, str]]:
    """The texts of a module that people may read: no docstrings, nothing without a blank."""
    tree = ast.parse(module)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docs:
            continue
        if isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def docstrings(module: str) -> Iterator[tuple[int, str, str]]:
    """The docstrings of a module's classes and functions: line, name, text."""
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield node.lineno, node.name, text


def comments(module: str) -> Iterator[tuple[int, str]]:
    """The comments of a module."""
    for token in tokenize.generate_tokens(io.StringIO(module).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def explanations(module: str) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a module, without the names of parameters that they begin with.

    Nothing of a module that has no wrong word at all: to read the tokens of all modules takes seconds.
    """
    if not _WRONG.search(module):
        return
    if text := ast.get_docstring(ast.parse(module)):
        yield 1, text
    for line, text in (*((line, text) for line, _, text in docstrings(module)), *comments(module)):
        yield line, re.sub(r"(?:^|[·.\n]) *(?:tell|told|room):", "", text)


def functions(module: str) -> Iterator[tuple[int, str, str]]:
    """The docstrings of a module's functions: line, name, first line. Not those of properties and constructors."""
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__"):
            marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
            if "property" not in marks and "setter" not in marks and (text := ast.get_docstring(node)):
                yield node.lineno, node.name, text.splitlines()[0]


def begins_with_a_verb(line: str) -> bool:
    """Whether a docstring may begin with a verb: no article, pronoun, exception or code stands there."""
    return line[:1].isupper() and not re.match(rf"(?:{'|'.join(_NOT_VERBS)}|\w+Error)\b", line)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pages_use_standard_terms(page: Path) -> None:
    assert wrong_words(prose(page.read_text())) == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_sentences_of_pages_are_short(page: Path) -> None:
    assert [text for text in sentences(page.read_text()) if len(text.split()) > LONGEST] == []


def test_messages_and_helps_use_standard_terms() -> None:
    found = [
        f"{_name(path)}:{line}: {wrong}"
        for path in MODULES
        for line, text in strings(path.read_text())
        for wrong in wrong_words(text)
    ]
    assert found == []


def test_docstrings_and_comments_use_standard_terms() -> None:
    found = [
        f"{_name(path)}:{line}: {wrong}"
        for path in MODULES
        for line, text in explanations(path.read_text())
        for wrong in wrong_words(text)
    ]
    assert found == []


def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    found = [
        f"{_name(path)}:{line}: {name}: {text.splitlines()[0]}"
        for path in MODULES
        for line, name, text in docstrings(path.read_text())
        if text.split()[0] in _CLAUSES
    ]
    assert found == []


def test_docstrings_of_functions_begin_with_a_verb_and_name_their_result() -> None:
    """Not those of the launcher, whose parts have a style of their own."""
    found = [
        f"{_name(path)}:{line}: {name}: {text}"
        for path in MODULES
        if "launcher" not in path.parts and "specs" not in path.parts
        for line, name, text in functions(path.read_text())
        if not begins_with_a_verb(text) or (not text.startswith(("Return", "Yield")) and _RESULT.search(text))
    ]
    assert found == []


_NAMES = ("Argo", "Kubernetes", "Markdown", "Redis", "Slurm", "Snakemake")  # may begin a message


def problems(module: str) -> Iterator[tuple[int, str, str]]:
    """The messages and fixes of problems that a module writes as plain text: line, message, fix."""
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
            texts = [_begin(part) for part in (*node.args[2:4], None, None)]
            yield node.lineno, texts[0], texts[1]


def _begin(node: ast.expr | None) -> str:
    """The text of a node; of a formatted one, with X for each value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_begin(part) if isinstance(part, ast.Constant) else "X" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_plain_problem(message: str, fix: str) -> bool:
    """Whether a message is part of a line, and its fix says in the imperative what to do."""
    is_part = not re.match(r"[A-Z][a-z]", message) or message.startswith(_NAMES)
    is_order = not re.match(r"(?:[A-Z][a-z]|(?:to|in|such|of|or|so|then|as|for|it|with)\b)", fix)
    return is_part and is_order and not message.endswith(".") and not re.search(r"[a-z]\.$", fix)


def test_problems_are_parts_of_a_line_with_a_fix_in_the_imperative() -> None:
    found = [
        f"{_name(path)}:{line}: {message}. Fix: {fix}"
        for path in MODULES
        if "Problem(" in (text := path.read_text())
        for line, message, fix in problems(text)
        if not is_plain_problem(message, fix)
    ]
    assert found == []


def test_the_glossary_has_each_term_once() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    terms = [term.lower() for row in rows if row != "term" for term in row.split(", ")]
    assert sorted(terms) == sorted(set(terms))
    assert set(TERMS) <= set(terms)


def test_what_is_wrong_is_found() -> None:
    assert len(wrong_words("The worker is told. It goes on, anew, in this room.")) == 4
    assert wrong_words("`tell`, tell.py, the restaurant, mentions, in the workroom") == []
    page = "# One\n\nTwo three. Four\nfive `a b c`.\n\n- six\n- seven\n\n```\nnot this\n```\n\n| eight | nine ten |\n"
    assert [len(text.split()) for text in sentences(page)] == [2, 2, 3, 2, 2, 1, 2]
    module = '"""Doc of it."""\nx = "a message"\ny = "key"\ndef f():\n    """What it is."""\n'
    assert list(strings(module)) == [(2, "a message")]
    assert list(docstrings(module)) == [(4, "f", "What it is.")]
    module = '"""Doc of it."""\ndef f(tell):  # goes on\n    """Do it.\n\n    tell: Is told each step.\n    """\n'
    assert [line for line, text in explanations(module) for _ in wrong_words(text)] == [2, 2]
    assert begins_with_a_verb("Return it.") and begins_with_a_verb("Allow it.")
    assert not any(
        map(begins_with_a_verb, ("The file.", "UserError if so.", "`x` of it.", "(a, b) of it.", "It ends."))
    )
    assert _RESULT.search("Run it; its exit code.") and not _RESULT.search("Run it; it ends.")
    call = 'raise UserError(Problem("a.b", where, f"no {name} here", "add it"))'
    assert list(problems(call)) == [(1, "no X here", "add it")]
    assert is_plain_problem("no X here", "add it") and is_plain_problem("Slurm is away", "")
    assert not any([is_plain_problem("No file", ""), is_plain_problem("it is.", ""), is_plain_problem("no", "to add")])
