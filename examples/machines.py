"""Machines that share no file system: a laptop, a server, a store and two workers. A save and a push are enough.

Each of them is a process tree under bubblewrap with a host name of its own, that sees its own folder alone; they share
programs and the network. The server has bare repositories (git daemon), whose `post-receive` hook sends a signed event;
it also has the project, Redis and `minipach serve`. Contents go through S3 (SeaweedFS). CI runs it as a test.
"""

import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from server import CODE, POST_RECEIVE, SPEC
from walkthrough import Failed, environment, main, need

from minipach.executors.rq.private_server import redis_program

PATIENCE = 300  # seconds after which something is wrong
REPOS = (".", "words", "sizes")
PARTS = ("s3", "master", "volume", "filer")  # of the S3 server; each has two ports
PORTS = ("git", "redis", "events", *PARTS, *(f"{part}.grpc" for part in PARTS))
ACCESS, SECRET = "example-access", secrets.token_hex(16)


class Machine:
    """A machine: a folder, a host name, and processes that see no other machine's folder."""

    def __init__(self, name: str, root: Path, **variables: str) -> None:
        self.name = name
        self.root = root
        self.home = root / name
        self.home.mkdir(parents=True)
        (self.home / "tmp").mkdir()
        (self.home / ".gitconfig").write_text(f"[user]\n\tname = {name}\n\temail = {name}@example.org\n")
        own = {"HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), "XDG_CACHE_HOME": str(self.home / "cache")}
        self.env = {**environment(), **own, **variables}
        for name_ in [n for n in self.env if n.startswith(("GIT_", "XDG_CONFIG"))]:
            del self.env[name_]
        self.running: list[subprocess.Popen[bytes]] = []

    def within(self, *command: str) -> list[str]:
        """Return a command as this machine runs it."""
        box = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", str(self.root), "--bind", str(self.home), str(self.home)]
        box += ["--unshare-pid", "--proc", "/proc", "--unshare-uts", "--hostname", self.name, "--die-with-parent"]
        return [*box, *(["--cap-add", "ALL"] if os.getuid() == 0 else []), "--", *command]

    def run(self, *command: str, cwd: str = ".", quiet: bool = False) -> str:
        """Run a command, which must exit with 0, and return what it prints."""
        if not quiet:
            print(f"{self.name}$ {shlex.join(command)}", flush=True)
        folder = self.home / cwd
        boxed = self.within("env", "-C", str(folder), *command)
        done = subprocess.run(boxed, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(
                f"{self.name}: `{shlex.join(command)}` ended with {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    def start(self, log: str, *command: str, cwd: str = ".") -> Path:
        """Start a process that runs until the end of the example; return its log."""
        print(f"{self.name}$ {shlex.join(command)} &", flush=True)
        file = self.home / log
        boxed = self.within("env", "-C", str(self.home / cwd), *command)
        with file.open("wb") as out:
            self.running.append(subprocess.Popen(boxed, env=self.env, stdout=out, stderr=out, start_new_session=True))
        return file

    def stop(self) -> None:
        """End what runs: first as an administrator does, then for certain."""
        for process in self.running:
            for number, patience in ((signal.SIGTERM, 30), (signal.SIGKILL, 30)):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    try:
                        process.wait(patience)
                    except subprocess.TimeoutExpired:
                        continue


def until(condition, otherwise: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{otherwise} after {PATIENCE} s")
        time.sleep(0.2)


def answers(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def free_ports(*more: str) -> dict[str, int]:
    """Return a free port for each service, and for more."""
    names = (*PORTS, *more)
    opened = [socket.socket() for _ in names]
    for one in opened:
        one.bind(("127.0.0.1", 0))
    found = {name: one.getsockname()[1] for name, one in zip(names, opened, strict=True)}
    for one in opened:
        one.close()
    return found


def start_s3(store: Machine, ports: dict[str, int]) -> None:
    """Start the S3 server."""
    command = ["weed", "server", f"-dir={store.home}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    for part in PARTS:
        command += [f"-{part}.port={ports[part]}", f"-{part}.port.grpc={ports[f'{part}.grpc']}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=100"]
    (store.home / "data").mkdir()
    store.start("weed.log", *command)
    until(lambda: answers(ports["s3"]), "the S3 server does not answer")


class Person:
    """The person with the laptop. git: where the bare repositories are · log: of the passes."""

    laptop: Machine
    git: str
    log: Path

    def clone(self) -> None:
        """Clone the project on the laptop, and confirm its store."""
        laptop = self.laptop
        laptop.run("git", "clone", "-q", f"{self.git}/study.git", "study")
        laptop.run("git", "annex", "init", "-q", "laptop", cwd="study", quiet=True)
        laptop.run("datalad", "get", "-n", "words", "sizes", cwd="study")
        laptop.run("minipach", "store", "add", "lab", cwd="study")

    def save_and_push(self, *names: str) -> None:
        """Do what a person does on the laptop."""
        for name in names:
            (self.laptop.home / "study/words" / name).write_text(f"the word {name}")
        self.laptop.run("datalad", "save", "-d", ".", "-r", "-m", f"{len(names)} words", cwd="study")
        self.laptop.run("minipach", "push", "origin", cwd="study")

    def pull(self) -> set[str]:
        """Pull on the laptop, and return the results that are there."""
        self.laptop.run("minipach", "pull", "origin", cwd="study", quiet=True)
        names = self.laptop.run("git", "ls-tree", "--name-only", "HEAD", cwd="study/sizes", quiet=True).split()
        return {name for name in names if name.startswith(("word", "first"))}

    def until_results(self, wanted: set[str]) -> None:
        """Pull until all results are there."""
        try:
            until(lambda: time.sleep(2) is None and self.pull() == wanted, f"not all of {sorted(wanted)}")
        except Failed as error:
            raise Failed(f"{error}; the log of passes: {self.log.read_text()[-3000:]}") from None

    def need_sizes(self, wanted: dict[str, int]) -> None:
        """Get the contents of the results, and compare them."""
        print("laptop$ minipach pull origin", flush=True)
        self.laptop.run("minipach", "get", "sizes", cwd="study")
        found = {name: int((self.laptop.home / "study/sizes" / name).read_text()) for name in wanted}
        need(found == wanted, f"results: {found}")
        print(f"results on the laptop: {json.dumps(found, sort_keys=True)}", flush=True)


class Example(Person):
    """The machines of the example."""

    def __init__(self, root: Path, workers: int) -> None:
        self.ports = free_ports()
        self.address = f"git://127.0.0.1:{self.ports['git']}"
        self.git = f"{self.address}/forge"
        keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
        queue = {
            "MINIPACH_EXECUTOR": "rq",
            "MINIPACH_REDIS": f"redis://127.0.0.1:{self.ports['redis']}",
            "MINIPACH_PROJECT_ID": "words-of-the-lab",
        }
        self.store = Machine("store", root, **keys)
        self.server = Machine("server", root, **keys, **queue)
        self.workers = [Machine(f"worker{n}", root, **keys, **queue) for n in range(1, workers + 1)]
        self.laptop = Machine("laptop", root, **keys)
        self.all = [self.laptop, *self.workers, self.server, self.store]
        self.log = self.server.home / "study/.git/minipach/passes.log"

    def project(self) -> None:
        """Make the project on the server, and its bare repositories."""
        server, home = self.server, self.server.home
        server.run("minipach", "init", "study")
        server.run("datalad", "create", "-d", ".", "words", cwd="study")
        (home / "study/words/first").write_text("first")
        (home / "study/sizes/code").mkdir(parents=True)
        (home / "study/sizes/spec.yml").write_text(SPEC)
        (home / "study/sizes/code/count.sh").write_text(CODE)
        server.run("datalad", "save", "-d", ".", "-r", "-m", "a pipeline", cwd="study")
        server.run("env", "MINIPACH_EXECUTOR=local", "minipach", "schedule", cwd="study")
        for repo in ("words", "sizes"):
            server.run("git", "config", "-f", ".gitmodules", f"submodule.{repo}.url", f"../{repo}.git", cwd="study")
        server.run("datalad", "save", "-m", "addresses of the repositories", ".gitmodules", cwd="study")
        self.bare_repositories()
        server.run("minipach", "store", "add", "lab", "--s3", f"http://127.0.0.1:{self.ports['s3']}", cwd="study")
        server.run("minipach", "push", "origin", cwd="study")

    def bare_repositories(self) -> None:
        """Make the bare repositories, with a signed event after each push."""
        server, home = self.server, self.server.home
        secret, address = home / "secret", home / "address"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(16))
        address.write_text(f"http://127.0.0.1:{self.ports['events']}")
        for repo in REPOS:
            name = "study" if repo == "." else repo
            server.run("git", "clone", "-q", "--bare", f"study/{repo}", f"forge/{name}.git", quiet=True)
            server.run("git", "remote", "add", "origin", f"{self.git}/{name}.git", cwd=f"study/{repo}")
            hook = home / f"forge/{name}.git/hooks/post-receive"
            values = {"secret": str(secret), "address": str(address), "name": f"lab/{name}"}
            hook.write_text(POST_RECEIVE.format(python=sys.executable, **values))
            hook.chmod(0o755)
        served = ["git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"]
        server.start("git.log", *served, f"--port={self.ports['git']}", f"--base-path={home}", str(home))
        until(lambda: answers(self.ports["git"]), "git daemon does not answer")
        for repo in REPOS:
            server.run("git", "fetch", "-q", "origin", cwd=f"study/{repo}", quiet=True)

    def services(self) -> None:
        """Start Redis, the worker that publishes, the receiver, and the workers that run datums."""
        server = self.server
        redis = [redis_program(), "--port", str(self.ports["redis"]), "--bind", "127.0.0.1", "--save", ""]
        server.start("redis.log", *redis)
        until(lambda: answers(self.ports["redis"]), "Redis does not answer")
        server.run("git", "config", "minipach.follow", "origin", cwd="study")
        server.run("git", "config", "minipach.webhook.gitea.secret-file", str(server.home / "secret"), cwd="study")
        server.start("publish.log", "minipach", "worker", "-j", "0", cwd="study")
        server.start("serve.log", "minipach", "serve", "--port", str(self.ports["events"]), cwd="study")
        until(lambda: answers(self.ports["events"]), "minipach serve does not answer")
        for worker in self.workers:
            clone = [
                "minipach",
                "-C",
                "scratch",
                "worker",
                "-j",
                "1",
                "--clone",
                f"{self.address}/study",
                "--store",
                "lab",
            ]
            (worker.home / "scratch").mkdir()
            log = worker.start("worker.log", *clone)
            until(lambda log=log: "contents go to the store lab" in log.read_text(), f"{worker.name} does not start")


def example(root: Path, workers: int) -> None:
    """Walk through the example in a new folder."""
    root.mkdir(parents=True, exist_ok=True)
    here = Example(root, workers)
    try:
        print("=== five machines, none of which sees another's folder", flush=True)
        for machine in here.all:
            seen = machine.run("ls", str(root), quiet=True).split()
            need(seen == [machine.name], f"{machine.name} sees {seen}")
        start_s3(here.store, here.ports)
        here.project()
        here.services()

        print("\n=== a person saves and pushes on the laptop", flush=True)
        here.clone()
        here.save_and_push("word0", "word1", "word2")
        wanted = {"first", "word0", "word1", "word2"}
        here.until_results(wanted)
        here.need_sizes({"first": 5, "word0": 14, "word1": 14, "word2": 14})

        print("\n=== each datum ran once, on the workers", flush=True)
        jobs = json.loads(here.server.run("minipach", "jobs", "--json", cwd="study", quiet=True))["jobs"]
        ran = sum(job["counts"].get("ran", 0) for job in jobs)
        need(ran == len(wanted), f"{ran} datums ran; there are {len(wanted)}")
        print(here.laptop.run("git", "log", "--oneline", "-3", cwd="study/sizes"), end="", flush=True)
        print(here.server.run("minipach", "triggers", cwd="study"), end="", flush=True)
    finally:
        for machine in here.all:
            machine.stop()
    print("done", flush=True)


if __name__ == "__main__":
    sys.exit(main("machines", __doc__, example, folder="machines", count=("--workers", 2, "how many workers")))
