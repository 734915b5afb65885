"""`minipach.templates.script`: how a script is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.support.errors import UserError
from minipach.templates.script import from_script

ARGUMENTS = 'exec {} "$images" "$PFS/raw-t1" "$PFS/out"'


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("a.py", "open('/pfs/images')", ["python3", "code/a.py"]),
        ("a.R", "# reads below /pfs", ["Rscript", "code/a.R"]),
        ("a", "#!/usr/bin/env -S bash -e\n# $PFS", ["bash", "-e", "code/a"]),
        ("a", "#!/bin/dash\n# $PFS", ["dash", "code/a"]),
        ("a.py", "import sys; sys.argv", ["sh", "-c", ARGUMENTS.format("python3 code/a.py")]),
        ("a b.sh", "cat $1", ["sh", "-c", ARGUMENTS.format("sh 'code/a b.sh'")]),
        ("a.py", "print(1)", ["python3", "code/a.py"]),
        (
            "a.py",
            "import sys; open('/pfs/out/x', 'w').write(sys.argv[1])",
            ["sh", "-c", 'exec python3 code/a.py "$images" "$PFS/raw-t1"'],
        ),
        ("a.sh", 'cp "$images" "$PFS/out/$1"', ["sh", "code/a.sh"]),
        ("a.sh", 'cp "${PFS}"/raw-t1/* "$PFS/out/$1"', ["sh", "code/a.sh"]),
        ("a.py", "import sys; os.path.join(os.environ['PFS'], 'images')", ["python3", "code/a.py"]),
        ("a.py", "import sys; os.environ['PFS'] + '/images'", ["python3", "code/a.py"]),
        ("a.js", "process.argv; process.env.PFS; process.env.images", ["node", "code/a.js"]),
        # a name that is a part of another word is no input
        (
            "a.sh",
            'cp "$1" "$PFS/out/subimages"; echo images',
            ["sh", "-c", 'exec sh code/a.sh "$images" "$PFS/raw-t1"'],
        ),
        ("a.sh", 'cp "$1" "$PFS/out/$images_new"', ["sh", "-c", 'exec sh code/a.sh "$images" "$PFS/raw-t1"']),
    ],
)
def test_the_command(tmp_path: Path, name: str, text: str, command: list[str]) -> None:
    (tmp_path / name).write_text(text)
    found, _, files = from_script(tmp_path / name, ["images", "raw-t1"])
    assert found == command
    assert [(file.path, file.content) for file in files] == [(f"code/{name}", text.encode())]


def test_a_short_name_is_not_found_in_other_words(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text('cp "$1" /pfs/out/u.txt')
    command, _, _ = from_script(tmp_path / "a.sh", ["u"])
    assert command == ["sh", "-c", 'exec sh code/a.sh "$u"']


@pytest.mark.parametrize(
    ("name", "content", "code"), [("a.xyz", b"x", "new.no-interpreter"), ("a.py", b"\0", "new.no-script")]
)
def test_what_is_no_script(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        from_script(tmp_path / name, ["images"])
    assert [problem.code for problem in caught.value.problems] == [code]
