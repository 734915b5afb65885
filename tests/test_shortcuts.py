"""shortcuts.py: when datalad need not ask whether inputs are here."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.shortcuts import all_here, shortcuts
from tests.projects import Study

KEY = "SHA256E-s3--ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_plain_files_and_links_to_what_is_there_are_here(tmp_path: Path) -> None:
    (tmp_path / "code/sub").mkdir(parents=True)
    (tmp_path / "code/sub/a.py").write_text("print()\n")
    (tmp_path / "code/large").write_bytes(b"x" * 100_000)
    (tmp_path / "code/link").symlink_to("large")
    (tmp_path / "code/up").symlink_to("..")
    assert all_here(tmp_path, ["code", "code/link"])


@pytest.mark.parametrize("what", ["link", "pointer", "nothing"])
def test_what_must_be_fetched_is_not_here(tmp_path: Path, what: str) -> None:
    (tmp_path / "code").mkdir()
    if what == "link":
        (tmp_path / "code/a").symlink_to(f"../.git/annex/objects/aa/bb/{KEY}/{KEY}")
    elif what == "pointer":
        (tmp_path / "code/a").write_text(f"/annex/objects/{KEY}\n")
    assert all_here(tmp_path, ["code"]) == (what == "nothing")
    assert not all_here(tmp_path, ["code/a"])


def test_datalad_is_as_it_was_afterwards(study: Study) -> None:
    from datalad.core.local import run
    from datalad.distribution.dataset import Dataset

    repo = Dataset(str(study.root)).repo
    prepare = run.prepare_inputs
    with shortcuts(repo, study.root, ["missing"]):
        assert repo.call_git(["submodule", "status", "--recursive"]) == ""
        assert repo.call_git(["rev-parse", "HEAD"]).strip() == study.git(".", "rev-parse", "HEAD")
        assert run.prepare_inputs is not prepare
    assert run.prepare_inputs is prepare
    assert "call_git" not in vars(repo)
