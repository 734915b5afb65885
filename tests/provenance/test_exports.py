"""Exports of where files come from, read back by the programs that they are for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prov.model import ProvActivity, ProvDocument, ProvGeneration, ProvUsage
from rocrate.rocrate import ROCrate

from minipach.provenance.bids import description
from minipach.provenance.lineage import Code, Commit, Computation, Environment, FileUse, FileVersion, Lineage
from minipach.provenance.prov import as_prov
from minipach.provenance.ro_crate import METADATA, as_crate, write_crate
from minipach.provenance.trace import Tracer
from tests.fixtures.projects import Study, run
from tests.fixtures.refusals import refused

ODD = 'a "b" #%\u00e9\x1b\udcff:@.txt'
SECOND = Commit("b" * 40, "A <b>", "a@example.org", "2026-11-30T07:00:00Z", "x", "https://github.com/lab/e/commit/b")


def lineage() -> Lineage:
    """One computed file and its input, under names that are hard to write."""
    made = FileVersion("edges@b:" + ODD, "edges", ODD, "b" * 40, "MD5--1", "MD5E-s1--1.txt", 1, origin="computed")
    made = FileVersion(
        **{**{f: getattr(made, f) for f in made.__slots__}, "computation": "edges@b#1", "change": SECOND}
    )
    raw = FileVersion("raw@a:x", "raw", "x", "a" * 40, "git:1", origin="committed", change=SECOND, web=("http://h/x",))
    image = Environment("box:1", "SHA256--2", "sha256:3", ".datalad/environments/box/image")
    run_ = Computation(
        "edges@b#1", "edges", "1", "c" * 64, "d" * 32, SECOND, 1.5, ("sh", "a b"), (), (), (), True, image,
        Code(SECOND), (FileUse("raw", raw.key, "a" * 40),), (ODD,),
    )  # fmt: skip
    return Lineage((made.key,), {made.key: made, raw.key: raw}, {run_.key: run_})


def test_prov_is_read_by_prov() -> None:
    document = ProvDocument.deserialize(content=json.dumps(as_prov(lineage())), format="jsonld")
    (activity,) = document.get_records(ProvActivity)
    (generation,) = document.get_records(ProvGeneration)
    used = {str(use.args[1]) for use in document.get_records(ProvUsage)}
    assert str(generation.args[1]) == str(activity.identifier) == "minipach:edges%40b%231"
    assert used == {"minipach:raw%40a%3Ax", "minipach:environment%20SHA256--2"}


def test_a_crate_has_each_entity_once_and_no_open_reference() -> None:
    graph = as_crate(lineage())["@graph"]
    ids = [entity["@id"] for entity in graph]
    assert len(ids) == len(set(ids))

    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if set(value) == {"@id"}:
                yield value["@id"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    open_ones = {one for entity in graph for one in references({**entity, "@id": {"@id": entity["@id"]}})} - set(ids)
    assert open_ones == {"https://w3id.org/ro/crate/1.1"}


def test_bids_names_the_pipeline_and_its_source() -> None:
    found = description(lineage())
    assert found["GeneratedBy"][0] == {
        "Name": "edges",
        "Version": "b" * 40,
        "CodeURL": SECOND.url,
        "Container": {"Type": "container", "Tag": "box:1", "URI": "sha256:3"},
    }
    assert found["SourceDatasets"] == [{"URL": "../raw", "Version": "a" * 40}]
    assert found["DatasetType"] == "derivative"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A dataset with an annexed file, a link, and a file under a name that is hard to write."""
    study = Study.create(tmp_path_factory.mktemp("exports") / "study")
    study.put("images/moon.txt", "moon\n", save=False)
    study.put("images/a b#%.txt", "odd\n", save=False)
    (study.root / "images/link").symlink_to("/etc/passwd")
    study.save("images")
    return study


def of(study: Study, *paths: str) -> Lineage:
    """The lineage of files of `images`."""
    tracer = Tracer(study.root)
    try:
        return tracer.trace("images", study.git("images", "rev-parse", "HEAD"), paths)
    finally:
        tracer.close()


def test_a_crate_is_read_by_rocrate(data: Study, tmp_path: Path) -> None:
    assert write_crate(data.root, of(data, "moon.txt", "a b#%.txt"), tmp_path / "crate") == 2
    crate = ROCrate(tmp_path / "crate")
    assert {str(e.id) for e in crate.data_entities} == {"data/images/moon.txt", "data/images/a%20b%23%25.txt"}
    assert (tmp_path / "crate/data/images/a b#%.txt").read_text() == "odd\n"
    assert not (tmp_path / "crate/data/images/moon.txt").is_symlink()


def test_a_crate_takes_no_link_and_no_existing_folder(data: Study, tmp_path: Path) -> None:
    for paths, folder, code in (
        (["link"], tmp_path / "crate", "crate.link"),
        (["moon.txt"], tmp_path, "crate.exists"),
        (["moon.txt"], tmp_path / "no/crate", "crate.no-folder"),
    ):
        with refused(code):
            write_crate(data.root, of(data, *paths), folder)
    assert list(tmp_path.iterdir()) == []


def test_a_path_of_a_hostile_tree_stays_outside(data: Study, tmp_path: Path) -> None:
    (key,) = (found := of(data, "moon.txt")).wanted
    for path in ("../../../pwned", "a//b", "./x"):
        evil = Lineage((key,), {key: replace(found.files[key], path=path)}, {})
        with refused("crate.bad-path", f"images/{path}"):
            write_crate(data.root, evil, tmp_path / "crate")
    assert list(tmp_path.iterdir()) == []


def test_a_crate_needs_the_contents(data: Study, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    assert run("git", "clone", "-q", str(data.root), str(clone), cwd=tmp_path).code == 0
    assert run("git", "clone", "-q", str(data.root / "images"), str(clone / "images"), cwd=tmp_path).code == 0
    done = Study(clone).minipach("explain", "images/moon.txt", "--ro-crate", str(tmp_path / "crate"))
    assert (done.code, done.out) == (2, "") and done.reports("crate.no-content", "images/moon.txt")
    assert not (tmp_path / "crate").exists()


def test_the_command_prints_each_form(data: Study, tmp_path: Path) -> None:
    assert "@graph" in data.minipach("explain", "images/moon.txt", "--prov").json
    assert data.minipach("explain", "images/moon.txt", "--bids").json["DatasetType"] == "raw"
    assert data.minipach("explain", "images", "--bids", "--prov").code == 2
    done = data.minipach("explain", "images/moon.txt", "--ro-crate", str(tmp_path / "crate"))
    assert done.code == 0 and json.loads((tmp_path / "crate" / METADATA).read_text())["@graph"]
