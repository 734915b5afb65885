"""`minipach lock` with an image that was fetched by its URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fixtures.projects import Study


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    folder = tmp_path / "web"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.slow
def test_lock_fetches_a_url_again(web: tuple[Path, str], study: Study) -> None:
    folder, address = web
    url = f"{address}/box.sqfs"
    study.put("images/a.txt", "alpha")
    study.copier()
    spec = study.root / "edges" / "spec.yml"
    spec.write_text(spec.read_text().replace("{cmd", f"{{image: '{url}', cmd"))
    study.ok("datalad", "create", "-d", ".", "--force", "edges")
    study.save("edges")
    study.git("edges", "config", "annex.security.allowed-ip-addresses", "127.0.0.1")
    ids = []
    for content in ("first", "second"):
        (folder / "box.sqfs").write_text(content)
        if ids:
            assert study.plan()["edges"]["datums"][0]["id"] == ids[0], "nobody asked for it again"
        done = study.minipach("lock", "edges")
        assert done.code == 0, done.err
        assert f"{url} " in done.out
        assert study.git("edges", "log", "-1", "--format=%s") == f"minipach: fetch the image {url} again"
        (image,) = study.git("edges", "ls-files", ".datalad/environments").splitlines()
        assert study.read(f"edges/{image}") == content.encode()
        assert study.git("edges", "status", "--porcelain") == ""
        ids.append(study.plan()["edges"]["datums"][0]["id"])
    assert len(set(ids)) == 2, "another image is another identity"
    head = study.git("edges", "rev-parse", "HEAD")
    same = study.minipach("lock", "edges")
    assert (same.code, same.out) == (0, "edges: the environment on record is the one of now; nothing to do\n")
    (folder / "box.sqfs").unlink()
    gone = study.minipach("lock", "edges")
    assert gone.code == 2
    assert gone.reports("image.fetch-failed", f"image {url}")
    assert study.git("edges", "rev-parse", "HEAD") == head


def test_lock_says_that_it_knows_no_way_to_fetch_again(study: Study) -> None:
    study.copier()
    spec = study.root / "edges" / "spec.yml"
    spec.write_text(spec.read_text().replace("{cmd", "{image: 'shub://some/box', cmd"))
    done = study.minipach("lock", "edges")
    assert done.code == 2
    assert done.reports("image.not-fetchable", "edges/spec.yml:2:20", "shub://some/box")
