"""The cache: what can't be trusted isn't there."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.support import disk_cache as cache_module
from minipach.support.disk_cache import Cache, user_cache

VALUE = ("tree", ["a/b.txt", "c"], [1, None, True, 2.5])


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path)
    made.put("plan", "edges", VALUE)
    return made


def only_file(folder: Path) -> Path:
    [path] = [p for p in folder.rglob("*") if p.is_file()]
    return path


def test_a_value_comes_back_as_it_was(cache: Cache) -> None:
    assert cache.get("plan", "edges") == VALUE
    assert cache.get("plan", "other") is None
    assert cache.get("snapshot", "edges") is None


def test_a_module_of_any_package_that_changes_makes_all_values_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "minipach" / "git" / "repo.py"
    (tmp_path / "minipach" / "support").mkdir(parents=True)
    module.parent.mkdir()
    module.write_text("ONE = 1\n")
    monkeypatch.setattr(cache_module, "__file__", str(tmp_path / "minipach" / "support" / "disk_cache.py"))
    monkeypatch.setattr(cache_module, "_code", cache_module._code.__wrapped__)
    cache = Cache(tmp_path / "cache")
    cache.put("plan", "edges", VALUE)
    assert cache.get("plan", "edges") == VALUE
    module.write_text("ONE = 1000\n")
    assert cache.get("plan", "edges") is None


def test_a_file_cut_off_anywhere_is_no_value(cache: Cache, tmp_path: Path) -> None:
    path = only_file(tmp_path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert cache.get("plan", "edges") is None, size


def test_a_changed_byte_is_no_value(cache: Cache, tmp_path: Path) -> None:
    path = only_file(tmp_path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert cache.get("plan", "edges") is None, at


def test_what_other_code_wrote_is_no_value(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_code", lambda: b"another release.")
    assert cache.get("plan", "edges") is None
    cache.put("plan", "edges", "new")
    assert cache.get("plan", "edges") == "new"


def test_what_cannot_be_written_is_only_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the folder")
    Cache(tmp_path / "file").put("plan", "edges", VALUE)
    assert Cache(tmp_path / "file").get("plan", "edges") is None


def test_a_file_that_another_user_has_signed_is_no_value(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_key", lambda: b"k" * 32)
    assert cache.get("plan", "edges") is None, "as in a project that was copied from somewhere"


def test_a_value_is_none_under_another_name(cache: Cache, tmp_path: Path) -> None:
    path = only_file(tmp_path)
    cache.put("plan", "montage", "other")
    [other] = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    path.replace(other)
    assert cache.get("plan", "montage") is None


def test_the_key_is_the_users_and_outside_of_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = cache_module._key.__wrapped__()
    file = tmp_path / "minipach" / "cache.key"
    assert file.read_bytes() == made == cache_module._key.__wrapped__() and file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o666)
    assert cache_module._key.__wrapped__() != made, "anybody may have written it"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert len(cache_module._key.__wrapped__()) == 32


def test_what_holds_for_all_projects_is_kept_for_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = user_cache()
    cache.put("host", "python3", "3.13")
    assert user_cache() is cache and cache.get("host", "python3") == "3.13"
    assert only_file(tmp_path / "minipach" / "machine").is_file()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert user_cache().get("host", "python3") is None
