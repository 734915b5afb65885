"""Services from the command line: real servers in sandboxes, replaced without a refused connection."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.launchers import wait_until
from tests.fixtures.projects import Study, need

SERVER = """
import http.server, os, sys
page = open("/pfs/pages/index.txt").read()
if "broken" in page:
    sys.exit("no page to serve")
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/kill":
            os._exit(3)
        self.send_response(200 if self.path in ("/", "/ready") else 404)
        self.end_headers()
        self.wfile.write(page.encode())
try:
    open("/pfs/pages/index.txt", "w")
except OSError:
    print("read-only", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """A project with one service."""

    def __init__(self, root: Path, more: str = "") -> None:
        self.port = free_port()
        self.study = Study.create(root, "pages")
        self.study.put("pages/index.txt", "one")
        self.study.pipeline(
            "site",
            f"""
input: {{pfs: {{repo: pages, glob: /}}}}
transform: {{cmd: [python3, code/serve.py]}}
service: {{internal_port: 8080, external_port: {self.port}}}
minipach: {{health: /ready{more}}}
""",
        )
        (root / "site/code/serve.py").write_text(SERVER)
        self.study.schedule()

    def get(self, path: str = "/") -> str:
        """Return a page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def state(self) -> dict[str, Any]:
        """Return the line of `services --json`."""
        (found,) = self.study.minipach("services", "--json").json["services"]
        return dict(found)

    @property
    def supervisor(self) -> int:
        """The process of the supervisor."""
        return int(self.study.minipach("services", "list", "--json").json["supervisor"])

    def slots(self) -> list[str]:
        """The names of slots of the service."""
        folder = self.study.root / "site/.git/minipach/slots"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


@contextlib.contextmanager
def started(site: Site) -> Iterator[None]:
    done = site.study.minipach("services", "start")
    assert done.code == 0, done.err
    try:
        yield
    finally:
        assert site.study.minipach("services", "stop").code == 0


@pytest.mark.slow
def test_a_service_is_replaced_when_its_datum_changes(tmp_path: Path) -> None:
    need("bwrap")
    site = Site(tmp_path / "study")
    with started(site):
        first = site.state()
        assert (first["state"], first["address"], site.get()) == ("serving", f"127.0.0.1:{site.port}", "one")
        assert "read-only" in site.study.minipach("services", "logs", "site").out
        row = site.study.minipach("status", "--json").json["pipelines"][0]
        assert row["state"] == "service" and f"serving at 127.0.0.1:{site.port}" in row["details"][0]

        site.study.put("other.txt", "x")  # another commit of the superdataset, and the same datum
        site.study.put("pages/index.txt", "two")
        wait_until(lambda: site.get() == "two")  # a refused connection raises
        second = site.state()
        assert second["datum"] != first["datum"] and second["restarts"] == 0

        site.study.put("pages/index.txt", "broken")  # the old program serves on
        wait_until(lambda: "no page to serve" in site.state()["why"])
        assert site.get() == "two" and site.state()["state"] == "updating"
        site.study.put("pages/index.txt", "two")
        wait_until(lambda: site.state()["state"] == "serving")
        assert site.state()["datum"] == second["datum"]

        before = site.state()["restarts"]
        with contextlib.suppress(OSError):
            site.get("/kill")
        wait_until(lambda: site.state()["restarts"] > before and site.state()["state"] == "serving")
        assert site.get() == "two"

        refused = site.study.minipach("services", "run")
        assert refused.code == 2 and refused.reports("service.supervised", "services")

        os.kill(site.supervisor, signal.SIGKILL)
        wait_until(lambda: site.study.minipach("services", "--json").json["supervisor"] is None)
        assert site.state()["state"] == "stopped" and site.slots()
        assert site.study.minipach("services", "start").code == 0  # what was left is ended, not in the way
        assert site.get() == "two" and len({name.rpartition(".")[0] for name in site.slots()}) == 1

        assert site.study.minipach("services", "stop", "site").out == "site: stopped\n"
        with pytest.raises(urllib.error.URLError):
            site.get()
        assert site.study.minipach("services", "start", "site").code == 0
    assert site.slots() == [] and site.study.git("site", "status", "--porcelain") == ""
    branches = site.study.git("site", "for-each-ref", "--format=%(refname)", "refs/heads/minipach")
    assert branches == ""  # nothing is published


@pytest.mark.slow
def test_with_a_network_the_program_gets_its_port(tmp_path: Path) -> None:
    site = Site(tmp_path / "study", ", network: true")
    with started(site):
        assert site.get() == "one"


@pytest.mark.slow
def test_outputs_from_before_it_was_a_service_stay(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "pages")
    study.put("pages/index.txt", "one")
    spec = "input: {pfs: {repo: pages, glob: /}}\ntransform: {cmd: [sh, -c, 'cp -r /pfs/pages/index.txt /pfs/out/']}\n"
    study.pipeline("site", spec)
    study.schedule()
    study.pipeline("site", f"{spec}service: {{internal_port: 8080}}\n")
    study.save("site")
    checked = study.minipach("check", "site")
    assert checked.code == 0 and "site/spec.yml:3:1" in checked.err
    made = study.minipach("plan", "site", "--json")
    assert made.json["pipelines"][0]["hints"], (made.out, made.err)
    study.schedule()
    assert (study.root / "site/index.txt").read_text() == "one"


@pytest.mark.slow
def test_what_is_no_service_is_refused(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "images")
    study.copier()
    none = study.minipach("services", "start")
    assert none.code == 2 and none.reports("service.none", "")
    assert study.minipach("services", "stop", "edges").reports("service.none", "edges")
    assert study.minipach("services").out.startswith("no services")
    study.pipeline(
        "site",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [x]}\nservice: {internal_port: 8080}\n',
    )
    study.put("images/a.txt", "a", save=False)
    study.put("images/b.txt", "b")
    for command in (("plan", "site"), ("schedule", "site"), ("status",), ("check", "site")):
        done = study.minipach(*command)
        assert done.code == 2 and done.reports("service.several-datums", "site/spec.yml:1:8"), command
    study.copier("below", repo="site")
    assert study.minipach("check", "below").reports("input.of-service", "below/spec.yml:1:21")
