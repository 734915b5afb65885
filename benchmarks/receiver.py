"""The events that `minipach serve` answers in a second: signed, forged and large ones; its memory, and the passes."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from common import MINIPACH, BenchmarkError, conditions, new_project, parser, table, workplace
from watch import use_of, wait

from minipach.triggers.payloads import sample, sign

SECRET = "a-secret-of-the-benchmark"
_STATE = Path(".git", "minipach")


@contextlib.contextmanager
def serving(project: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the receiver on a free port; yield its process and the port."""
    log = project / _STATE / "serve.log"
    env = {**os.environ, "MINIPACH_WEBHOOK_GITHUB_SECRET": SECRET}
    with log.open("wb") as out:
        process = subprocess.Popen([*MINIPACH, "serve", "--port", "0"], cwd=project, env=env, stdout=out, stderr=out)
    try:
        while not (found := re.search(r"listening on http://127\.0\.0\.1:([0-9]+)", log.read_text())):
            if process.poll() is not None:
                raise BenchmarkError(log.read_text())
            time.sleep(0.05)
        time.sleep(1)
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait()


def rate(port: int, path: str, body: bytes, headers: Mapping[str, str], wanted: int, seconds: float) -> float:
    """Return the answers in a second that two connections get; BenchmarkError for another status."""
    counts, wrong = [0, 0], []
    end = time.monotonic() + seconds

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            connection.request("POST" if body else "GET", path, body or None, dict(headers))
            answer = connection.getresponse()
            answer.read()
            if answer.status != wanted:
                wrong.append(answer.status)
                return
            counts[number] += 1
            if answer.will_close:
                connection.close()
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise BenchmarkError(f"{path}: answered {wrong[0]}, wanted {wanted}")
    return sum(counts) / seconds


def main() -> None:
    """Start a receiver, send events, print."""
    options = parser(__doc__ or "")
    options.add_argument("--seconds", type=float, default=15, help="for each kind of event")
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n")
        project = new_project(scratch / "project", "images")
        (project / _STATE).mkdir(exist_ok=True)
        headers, body = sample("github", SECRET, time.time(), "one")
        large = body[:-1] + b',"more":"' + b"x" * 1_000_000 + b'"}'
        signed = {**headers, **sign("github", SECRET, large, time.time(), "one")}
        forged = {**headers, "X-Hub-Signature-256": "sha256=" + "0" * 64}
        rows = []
        with serving(project) as (process, port):
            least = use_of(process.pid)
            for name, path, data, head, wanted in (
                ("/healthz", "/healthz", b"", {}, 200),
                ("signed push", "/hooks/github", body, headers, 202),
                ("forged push", "/hooks/github", body, forged, 401),
                ("signed push of 1 MB", "/hooks/github", large, signed, 202),
            ):
                before = use_of(process.pid)
                found = rate(port, path, data, head, wanted, chosen.seconds)
                after = use_of(process.pid)
                cpu = (after.cpu - before.cpu) / (found * chosen.seconds) * 1000
                rows.append([name, f"{found:.0f}", f"{cpu:.2f}", f"{after.memory:.1f}"])
            wait(project)
            most = use_of(process.pid)
        table(["request", "a second", "CPU ms each", "memory MB after"], rows)
        passes = (project / _STATE / "passes.log").read_text().count("a pass, asked for by")
        heard = sum(float(row[1]) * chosen.seconds for row in rows if row[0].startswith("signed"))
        health, push = (float(row[1]) for row in rows[:2])
        print(f"\nratio: a signed push costs {health / push:.1f} requests of /healthz")
        print(
            f"memory: {least.memory:.1f} MB before, {most.memory:.1f} MB after, ratio {most.memory / least.memory:.2f}"
        )
        print(f"passes: {passes} for {heard:.0f} events that ask for one")


if __name__ == "__main__":
    main()
