"""Record the commands of the README in a pseudo-terminal: docs/images/terminal.svg, and the contact sheet."""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

import demo  # noqa: E402  (examples/demo.py)

IMAGES = ROOT / "docs" / "images"
WIDTH = 100
COMMANDS = (
    "minipach schedule",
    'cp ../chelsea.png images && datalad save -r -m "one more"',
    "minipach plan",
    "minipach schedule",
    "git -C edges log --oneline -2",
)
SHEET_WIDTH = 640  # pixels

# rich's own template loads a font from another server.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>{commands}</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run(command: str, folder: Path, env: dict[str, str]) -> bytes:
    """Run a command line in a pseudo-terminal and return all that it writes; it must exit with 0."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    process = subprocess.Popen(
        command, shell=True, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux reports the end of a pseudo-terminal as an error
            break
        if not part:
            break
        written += part
    os.close(ours)
    if process.wait():
        raise SystemExit(f"`{command}` exited with {process.returncode}:\n{written.decode(errors='replace')}")
    return written


def screen(written: str) -> list[str]:
    """Return the lines that stay on a terminal, with their colours: bars that were drawn over are left out."""
    lines, row, begins = [""], 0, False
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", written):
        if token == "\r":
            begins = True
        elif token == "\n":
            row, begins = row + 1, False
            lines.extend([""] * (row + 1 - len(lines)))
        elif token.endswith("A") and token.startswith("\x1b"):
            row = max(0, row - int(token[2:-1] or 1))
        elif token.endswith("K") and token.startswith("\x1b"):
            lines[row] = ""
        elif not token.startswith("\x1b") or token.endswith("m"):
            lines[row] = token if begins else lines[row] + token
            begins = False
    return [line for line in lines if re.sub(r"\x1b\[[0-9;]*m", "", line).strip()]


def project(folder: Path, env: dict[str, str]) -> Path:
    """Make the project of the demo below a folder, with one photograph left out; return its path."""
    pictures = demo.photographs()
    shutil.copyfile(pictures[demo.LATECOMER], folder / demo.LATECOMER)
    walk = demo.Walk(folder / "study", env)
    demo.make_project(walk, pictures)
    return walk.project


def record(study: Path, env: dict[str, str]) -> str:
    """Run the commands and return the picture of the terminal."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        for number, command in enumerate(COMMANDS):
            print(f"$ {command}", flush=True)
            console.print(Text(("\n" if number else "") + "$ ", "bold green") + Text(command, "bold"))
            written = run(command, study, env).decode().replace(str(ROOT), "~/minipach")
            for line in screen(written):
                console.print(Text.from_ansi(line))
    return console.export_svg(title="minipach", code_format=_SVG.replace("{commands}", _escaped("; ".join(COMMANDS))))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def main() -> int:
    """Write the pictures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    env = demo.environment() | {"TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        study = project(Path(folder), env)
        svg = record(study, env)
        with Image.open(study / "montage" / "contact-sheet.png") as sheet:
            small = sheet.convert("RGB").resize((SHEET_WIDTH, round(sheet.height * SHEET_WIDTH / sheet.width)))
        for top, _, _ in os.walk(study):
            os.chmod(top, 0o700)  # git-annex makes folders read-only
    (IMAGES / "terminal.svg").write_text(svg)
    small.save(IMAGES / "contact-sheet.jpg", quality=82, optimize=True)
    print(f"wrote {IMAGES / 'terminal.svg'} and {IMAGES / 'contact-sheet.jpg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
