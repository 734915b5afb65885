"""Draw the packages of minipach from their imports: docs/images/packages.svg, and the table in docs/architecture.md.

Use: python docs/packages.py [--check]
"""

from __future__ import annotations

import ast
import html
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ROOT / "minipach"
PICTURE = ROOT / "docs" / "images" / "packages.svg"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- Written by docs/packages.py: -->", "<!-- end -->"

BOX, GAP, ROW = (190, 40), 60, 92  # width and height of a box, space between boxes, height of a floor; pixels
WIDTH = 4 * BOX[0] + 3 * GAP


def packages() -> dict[str, str]:
    """Return the packages, each with the first sentence of its docstring."""
    found = {}
    for path in sorted(CODE.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.parent.name] = re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0].rstrip(".")
    return found


def imports(names: Mapping[str, str]) -> dict[str, set[str]]:
    """Return for each package those on lower floors that its modules import; import-linter forbids all others."""
    floor = {name: number for number, row in enumerate(floors(names)) for name in row}
    found: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        for path in sorted((CODE / name).rglob("*.py")):
            found[name] |= {other for other in _imported(path) if floor.get(other, 0) > floor[name]}
    return found


def _imported(path: Path) -> Iterator[str]:
    """Yield the first name below minipach of each import of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] == "minipach" and len(parts) > 1:
                yield parts[1]


def floors(names: Mapping[str, str]) -> list[list[str]]:
    """Return the packages by layer, the highest first, as pyproject.toml has them for import-linter."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in tool["contracts"] if contract["type"] == "layers")
    rows = [[name for name in re.split(r"\s*[|:]\s*", layer.strip("() ")) if name in names] for layer in layers]
    placed = {name for row in rows for name in row}
    if missing := sorted(names.keys() - placed):
        raise SystemExit(f"no layer in pyproject.toml for: {', '.join(missing)}")
    return [row for row in rows if row]


def reduced(uses: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others: what a package imports directly only."""

    def below(name: str) -> set[str]:
        return uses[name].union(*(below(other) for other in uses[name]))

    return sorted((a, b) for a in uses for b in uses[a] if not any(b in below(c) for c in uses[a] if c != b))


def drawn(names: Mapping[str, str], uses: Mapping[str, set[str]]) -> str:
    """Return the picture."""
    rows = floors(names)
    at = {}
    for row, members in enumerate(rows):
        left = (WIDTH - len(members) * BOX[0] - (len(members) - 1) * GAP) / 2
        for column, name in enumerate(members):
            at[name] = (left + column * (BOX[0] + GAP), row * ROW + 10)
    arrows = []
    for upper, lower in reduced(uses):
        (x1, y1), (x2, y2) = at[upper], at[lower]
        x1, y1, x2 = x1 + BOX[0] / 2, y1 + BOX[1], x2 + BOX[0] / 2
        middle = (y1 + y2) / 2
        arrows.append(
            f'<path d="M{x1:g},{y1:g} C{x1:g},{middle:g} {x2:g},{middle:g} {x2:g},{y2 - 4:g}" marker-end="url(#head)"/>'
        )
    boxes = [
        f'<g><title>{html.escape(names[name])}</title><rect x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" '
        f'rx="6"/><text x="{x + BOX[0] / 2:g}" y="{y + 26:g}">{name}</text></g>'
        for name, (x, y) in at.items()
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {WIDTH + 20} {len(rows) * ROW - 30}">',
            "<title>The packages of minipach; an arrow leads from a package to one that it imports</title>",
            "<style>rect{fill:#e0f2f1;stroke:#00796b}text{font:16px sans-serif;text-anchor:middle;fill:#111}"
            "path{fill:none;stroke:#607d8b;stroke-width:1.2}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7"'
            ' orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" style="fill:#607d8b;stroke:none"/></marker></defs>',
            f'<rect x="-10" y="0" width="{WIDTH + 20}" height="{len(rows) * ROW - 30}" style="fill:#fff;stroke:none"/>',
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def table(names: Mapping[str, str]) -> str:
    """Return the table of the packages, the lowest first."""
    rows = ["| floor | package | duty |", "|---|---|---|"]
    for number, members in enumerate(reversed(floors(names)), start=1):
        rows += [f"| {number} | `{name}/` | {names[name]} |" for name in members]
    return "\n".join(rows)


def main() -> int:
    """Write the picture and the table, or check them; return the exit code."""
    names = packages()
    uses = imports(names)
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    wanted = {PICTURE: drawn(names, uses), PAGE: f"{head}{BEGIN}\n\n{table(names)}\n\n{END}{tail}"}
    if "--check" in sys.argv[1:]:
        old = [str(path.relative_to(ROOT)) for path, text in wanted.items() if path.read_text() != text]
        if old:
            print(f"out of date: {', '.join(old)}. Fix: python docs/packages.py", file=sys.stderr)
        return 1 if old else 0
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
