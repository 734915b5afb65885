"""A server: bare repositories, a push event, Redis and two workers. `git push` is enough.

The bare repositories stand in for a forge: their `post-receive` hook sends what Gitea would send, signed as Gitea signs
it. It is not Gitea. `python examples/server.py` takes about a minute. CI runs it as a test.
"""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from walkthrough import Failed, Project, main, need

SPEC = """\
input: {pfs: {repo: words, glob: "/*"}}
transform: {cmd: [sh, code/count.sh]}
"""
CODE = """\
wc -c < "$words" > "$PFS/out/$(basename "$words")"
"""
POST_RECEIVE = """\
#!{python}
# What a forge does after a push: send a signed event to the webhook. This is not Gitea; the event has its form.
import hashlib, hmac, json, os, sys, urllib.request, uuid

secret = open({secret!r}).read().strip()
for row in sys.stdin:
    before, after, ref = row.split()
    event = {{"ref": ref, "before": before, "after": after, "commits": [], "repository": {{"full_name": {name!r}}}}}
    body = json.dumps(event).encode()
    headers = {{
        "Content-Type": "application/json",
        "X-Gitea-Event": "push",
        "X-Gitea-Delivery": str(uuid.uuid4()),
        "X-Gitea-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }}
    try:
        url = open({address!r}).read() + "/hooks/gitea"
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=9)
    except OSError as error:
        print("webhook:", error)
"""
PATIENCE = 600  # seconds after which something is wrong
REPOS = (".", "words", "sizes")


class Example(Project):
    """The folders and processes of the example. Commands run in the project on the server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "study")
        self.folder = folder
        self.forge = folder / "forge"
        self.desk = folder / "desk"
        self.secret = folder / "secret"
        self.address = folder / "address"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, log: str, *command: str) -> None:
        """Start a process that runs until the end of the example."""
        print(f"$ {shlex.join(command)} &", flush=True)
        with (self.folder / log).open("wb") as out:
            self.processes.append(
                subprocess.Popen(command, cwd=self.root, env=self.env, stdout=out, stderr=out, start_new_session=True)
            )

    def project(self) -> None:
        """Make the project on the server."""
        self.run("minipach", "init", str(self.root), cwd=self.folder)
        self.run("datalad", "create", "-d", ".", "words")
        (self.root / "words" / "first").write_text("first")
        (self.root / "sizes" / "code").mkdir(parents=True)
        (self.root / "sizes" / "spec.yml").write_text(SPEC)
        (self.root / "sizes" / "code" / "count.sh").write_text(CODE)
        self.run("datalad", "save", "-d", ".", "-r", "-m", "a pipeline")
        self.run("minipach", "schedule")

    def bare(self, repo: str) -> Path:
        """Return the bare repository of a repo."""
        return self.forge / ("study.git" if repo == "." else f"{repo}.git")

    def repositories(self) -> None:
        """Make the bare repositories, with an event after each push."""
        self.secret.touch(mode=0o600)
        self.secret.write_text(secrets.token_hex(16))
        for repo in REPOS:
            bare = self.bare(repo)
            self.run("git", "clone", "-q", "--bare", str(self.root / repo), str(bare))
            self.run("git", "annex", "init", "-q", "forge", cwd=bare, quiet=True)
            self.run("git", "remote", "add", "origin", str(bare), cwd=self.root / repo)
            self.run("git", "fetch", "-q", "origin", cwd=self.root / repo, quiet=True)
            hook = bare / "hooks" / "post-receive"
            values = {"secret": str(self.secret), "address": str(self.address), "name": f"lab/{bare.stem}"}
            hook.write_text(POST_RECEIVE.format(python=sys.executable, **values))
            hook.chmod(0o755)

    def serve(self) -> None:
        """Start the receiver, Redis and two workers."""
        self.run("git", "config", "minipach.follow", "origin")
        self.run("git", "config", "minipach.webhook.gitea.secret-file", str(self.secret))
        self.run("minipach", "up", "-j", "1")
        self.start("worker.log", "minipach", "worker", "-j", "1")
        self.start("serve.log", "minipach", "serve", "--port", "0")
        log = self.folder / "serve.log"
        self.until(lambda: "listening on" in log.read_text(), "minipach serve does not start")
        found = re.search(r"listening on (\S+)", log.read_text())
        need(found is not None, log.read_text())
        self.address.write_text(found[1])

    def results(self) -> set[str]:
        """Return the names of the results in the bare repository."""
        names = self.run("git", "ls-tree", "--name-only", "HEAD", cwd=self.bare("sizes"), quiet=True).split()
        return {name for name in names if name.startswith(("word", "first"))}

    def push(self, *names: str) -> None:
        """Do what a person does in a clone on another machine."""
        for name in names:
            (self.desk / name).write_text(f"the word {name}")
        self.run("datalad", "save", "-m", f"{len(names)} words", cwd=self.desk)
        self.run("git", "annex", "copy", "-q", "--to", "origin", cwd=self.desk)
        self.run("git", "push", "-q", "origin", "HEAD", cwd=self.desk)

    def until(self, condition, otherwise: str) -> None:
        """Wait for something."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                passes = self.root / ".git" / "minipach" / "passes.log"
                raise Failed(f"{otherwise}; see {passes}:\n{passes.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End what runs."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(60)
        if (self.root / ".git").exists():
            self.run("minipach", "down")


def example(root: Path, pushes: int) -> None:
    """Walk through the example in a new folder."""
    root.mkdir(parents=True, exist_ok=True)
    here = Example(root)
    try:
        here.project()
        here.repositories()
        here.serve()

        print("\n=== a person pushes", flush=True)
        here.run("git", "clone", "-q", str(here.bare("words")), str(here.desk), cwd=root)
        began = time.monotonic()
        here.push("word0")
        here.until(lambda: here.results() == {"first", "word0"}, "no result of word0")
        print(f"the result is in the bare repository {time.monotonic() - began:.1f} s after the save began", flush=True)
        print(here.run("git", "log", "--oneline", "-3", cwd=here.bare("sizes")), end="", flush=True)

        print(f"\n=== {pushes} pushes in a row", flush=True)
        wanted = {"first", "word0"}
        for number in range(1, pushes + 1):
            here.push(f"word{number}")
            wanted.add(f"word{number}")
        here.until(lambda: here.results() == wanted, f"missing: {sorted(wanted - here.results())}")
        jobs = json.loads(here.run("minipach", "jobs", "--json", quiet=True))["jobs"]
        ran = sum(job["counts"]["ran"] for job in jobs)
        need(ran == len(wanted), f"{ran} datums ran; there are {len(wanted)}")
        print(f"{len(wanted)} datums, each ran once", flush=True)

        print("\n=== a forged event", flush=True)
        url = here.address.read_text() + "/hooks/gitea"
        forged = ["-s", "-o", os.devnull, "-w", "%{http_code}", "-H", "X-Gitea-Signature: 00", "-d", "{}", url]
        if shutil.which("curl"):
            need(here.run("curl", *forged) == "401", "a forged event was accepted")
        print(here.run("minipach", "triggers"), end="", flush=True)
    finally:
        here.stop()
    print("done", flush=True)


if __name__ == "__main__":
    sys.exit(main("server", __doc__, example, folder=".", count=("--pushes", 3, "how many pushes in a row")))
