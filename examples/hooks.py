"""Git, git-annex and a hook: `datalad save` is enough. The script makes a project and saves files.

`python examples/hooks.py` takes about 20 seconds; `--saves 500` makes 500 saves in a row. CI runs it as a test.
"""

import json
import sys
import time
from pathlib import Path

from walkthrough import Project, main, need, until

SPEC = """\
input: {pfs: {repo: words, glob: "/*"}}
transform: {cmd: [sh, code/count.sh]}
"""
CODE = """\
wc -c < "$words" > "$PFS/out/$(basename "$words")"
"""
PATIENCE = 600  # seconds after which something is wrong
STATE = Path(".git", "minipach")


class Words(Project):
    """The project of the example."""

    def wait(self) -> None:
        """Wait until each change that a hook saw is answered."""
        notes = [self.root / STATE / name for name in ("heard", "heard.taken", "waiting")]
        log = self.root / STATE / "passes.log"
        until(lambda: not any(note.exists() for note in notes), f"no end (see {log})", PATIENCE)

    def passes(self) -> int:
        """Return how many passes there were."""
        logs = [self.root / STATE / name for name in ("passes.log.1", "passes.log")]
        return sum(log.read_text().count("a pass, asked for by") for log in logs if log.is_file())

    def results(self) -> set[str]:
        """Return the names of the published results."""
        names = self.ask("git", "-C", "sizes", "ls-tree", "--name-only", "HEAD")
        return {name for name in names if name.startswith("word")}


def example(root: Path, saves: int) -> None:
    """Walk through the example in a new folder."""
    project = Words(root)
    project.run("minipach", "init", str(root), cwd=root.parent)
    project.run("datalad", "create", "-d", ".", "words")
    (root / "sizes" / "code").mkdir(parents=True)
    (root / "sizes" / "spec.yml").write_text(SPEC)
    (root / "sizes" / "code" / "count.sh").write_text(CODE)
    project.run("datalad", "save", "-m", "a pipeline")
    project.run("minipach", "hooks", "install")

    print("\n=== one save", flush=True)
    (root / "words" / "word0").write_text("hello")
    project.run("datalad", "save", "-d", ".", "-r", "-m", "one word")
    project.wait()
    need(project.results() == {"word0"}, f"results: {project.results()}")

    print("\n=== one more: the log has the save and the results, and no third commit", flush=True)
    before = project.ask("git", "rev-parse", "HEAD")[0]
    (root / "words" / "word1").write_text("hello hello")
    project.run("datalad", "save", "-d", ".", "-r", "-m", "another word")
    project.wait()
    log = project.ask("git", "log", "--format=%s", f"{before}..HEAD")
    print("\n".join(project.ask("git", "log", "--oneline", f"{before}..HEAD")), flush=True)
    need(log == ["minipach: sizes", "another word"], f"the log has {log}")
    time.sleep(2)  # whatever would start by itself would do so now
    project.wait()
    need(project.ask("git", "log", "--format=%s", f"{before}..HEAD") == log, "there is a third commit")

    print(f"\n=== {saves} saves in a row", flush=True)
    earlier, began = project.passes(), time.monotonic()
    for number in range(2, saves + 2):
        (root / "words" / f"word{number}").write_text("hello" * number)
        project.run("git", "annex", "add", "--quiet", ".", quiet=True, cwd=root / "words")
        project.run("git", "commit", "-q", "-m", f"word {number}", quiet=True, cwd=root / "words")
    saved = time.monotonic() - began
    project.wait()
    count = project.passes() - earlier
    print(
        f"{saves} saves in {saved:.0f} s; {count} passes; all done after {time.monotonic() - began:.0f} s", flush=True
    )
    wanted = {f"word{number}" for number in range(saves + 2)}
    need(project.results() == wanted, f"missing: {sorted(wanted - project.results())}")
    need(count <= saves, f"{count} passes: one was for nothing")
    plan = json.loads("\n".join(project.ask("minipach", "plan", "--json")))
    need(plan["pipelines"][0]["counts"]["run"] == 0, "something is left to run")

    print("\n=== without hooks, nothing happens by itself", flush=True)
    project.run("minipach", "hooks", "remove")
    project.run("git", "commit", "-q", "--allow-empty", "-m", "silence", cwd=root / "words")
    need(not (root / STATE / "heard").exists(), "a hook is left")
    print("done", flush=True)


if __name__ == "__main__":
    sys.exit(main("hooks", __doc__, example, count=("--saves", 20, "how many saves in a row")))
