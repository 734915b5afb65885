"""A drop folder on a lab machine: a file that is copied into it is saved when it is complete, and then processed.

`python examples/drop_folder.py` takes about 30 seconds. CI runs it as a test.
"""

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from walkthrough import Project, main, need, until

SPEC = """\
input: {pfs: {repo: scans, glob: "/incoming/*.raw"}}
transform: {cmd: [sh, code/size.sh]}
"""
CODE = """\
wc -c < "$scans" > "$PFS/out/$(basename -- "$scans" .raw).txt"
"""
PATIENCE = 300  # seconds after which something is wrong


class Scans(Project):
    """The project of the example."""

    def results(self) -> set[str]:
        """Return the names of the published results."""
        sizes = self.root / "sizes"
        return {path.name for path in sizes.glob("*.txt")}


def example(root: Path) -> None:
    """Walk through the example in a new folder."""
    project = Scans(root)
    project.run("minipach", "init", str(root), cwd=root.parent)
    project.run("datalad", "create", "-d", ".", "scans")
    incoming = root / "scans" / "incoming"
    incoming.mkdir()
    (root / "sizes" / "code").mkdir(parents=True)
    (root / "sizes" / "spec.yml").write_text(SPEC)
    (root / "sizes" / "code" / "size.sh").write_text(CODE)
    project.run("datalad", "save", "-m", "a pipeline")

    print("\n=== the watcher saves what arrives in scans/incoming", flush=True)
    command = ["minipach", "watch", "--save", "scans/incoming/**", "--quiet", "1"]
    print(f"$ {shlex.join(command)} &", flush=True)
    watcher = subprocess.Popen(command, cwd=root, env=project.env, start_new_session=True)
    try:
        deliver(project, incoming)
    finally:
        watcher.send_signal(signal.SIGTERM)
        code = watcher.wait(PATIENCE)
    need(code == 0, f"the watcher ended with exit code {code}")
    print("done", flush=True)


def deliver(project: Scans, incoming: Path) -> None:
    """Deliver files as instruments and people do."""
    notes = project.root / "scans" / "notes.md"
    notes.write_text("not finished")  # somebody is writing this; nobody else may save it

    print("\n=== an instrument writes a file bit by bit", flush=True)
    with (incoming / "slow.raw").open("w") as writer:
        for _ in range(4):
            writer.write("x" * 1000)
            writer.flush()
            time.sleep(0.8)
    until(lambda: "slow.txt" in project.results(), "no result of slow.raw", PATIENCE)
    size = (project.root / "sizes" / "slow.txt").read_text().strip()
    need(size == "4000", f"slow.raw was processed when it had {size} bytes")

    print("\n=== an upload under another name, and a name with special characters", flush=True)
    (incoming / "upload.raw.part").write_text("half")
    (incoming / "-rf $(touch x) *.raw").write_text("odd")
    until(lambda: "-rf $(touch x) *.txt" in project.results(), "no result of the odd name", PATIENCE)
    need("upload.txt" not in project.results(), "half an upload was processed")
    (incoming / "upload.raw.part").rename(incoming / "upload.raw")
    until(lambda: "upload.txt" in project.results(), "no result of upload.raw", PATIENCE)

    status = project.run("git", "status", "--porcelain", cwd=project.root / "scans")
    need(status == "?? notes.md\n", f"git status: {status}")
    print(project.run("minipach", "triggers"), end="", flush=True)


if __name__ == "__main__":
    sys.exit(main("drop_folder", __doc__, example))
