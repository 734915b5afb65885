"""The origin of files as `dataset_description.json` of a BIDS derivative (https://bids-specification.readthedocs.io)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minipach import __version__
from minipach.provenance.lineage import Computation, Environment, Lineage

_VERSION = "1.10.0"  # of BIDS


def description(found: Lineage) -> dict[str, Any]:
    """Return the description: a name, the pipelines that made the files, and the datasets that they were made of."""
    repos = dict.fromkeys(found.files[key].repo for key in found.wanted)
    made = [found.computations[c] for key in found.wanted if (c := found.files[key].computation) in found.computations]
    return {
        "Name": ", ".join(repos),
        "BIDSVersion": _VERSION,
        "DatasetType": "derivative" if made else "raw",
        "GeneratedBy": [
            *_each_once(_generated_by(one) for one in made),
            {"Name": "minipach", "Version": __version__, "Description": "ran the pipelines"},
        ],
        "SourceDatasets": _each_once(
            {"URL": f"../{found.files[use.key].repo}", "Version": use.at} for one in made for use in one.inputs
        ),
    }


def _generated_by(one: Computation) -> dict[str, Any]:
    about: dict[str, Any] = {"Name": one.pipeline}
    if one.code is not None:
        about["Version"] = one.code.commit.commit
        about |= {"CodeURL": one.code.commit.url} if one.code.commit.url else {}
    return about | ({} if one.environment.is_host else {"Container": _container(one.environment)})


def _container(environment: Environment) -> dict[str, str]:
    about = {"Type": "container", "Tag": environment.name or environment.path}
    return about | {"URI": environment.digest or environment.content}


def _each_once(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in rows:
        found += [] if row in found else [row]
    return found
