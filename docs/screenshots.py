"""Write the pictures of the console in docs/images/console, with a real Chromium: `python docs/screenshots.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEPT = (  # of each page one
    *("overview-light", "pipeline-dark", "datum-light", "failures-phone", "job-light", "large-job-light"),
    *("log-light", "history-light", "jobs-light", "storage-light", "workers-dark"),
    *("compose-light", "report-light"),
)


def main() -> int:
    """Run the tests of the console in a browser, which visit each page, and keep some of their pictures."""
    target = HERE / "images" / "console"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "tests/console/test_browser.py",
            "-k",
            "accessible or phone or report or large_job",
        ]
        code = subprocess.run(
            command, check=False, cwd=HERE.parent, env={**os.environ, "MINIPACH_SCREENSHOTS": folder}
        ).returncode
        if code:
            return code
        target.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            _copy(Path(folder) / f"{name}.png", target / f"{name}.png")
    print(f"wrote {', '.join(KEPT)} into {target}")
    return 0


def _copy(picture: Path, target: Path) -> None:
    """Copy a picture with 256 colours, which takes a third of the space in git, if Pillow is there."""
    try:
        from PIL import Image
    except ImportError:
        shutil.copyfile(picture, target)
        return
    with Image.open(picture) as opened:
        opened.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
