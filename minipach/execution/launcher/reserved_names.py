"""The names that are no output, and no input: the same table as in `model/repo_layout.py`."""

from __future__ import annotations

SPECS = ("spec.yml", "spec.yaml", "spec.json")


def reserved_in_data(name):
    """Whether a name at the root of any dataset is housekeeping, not data."""
    return name in (".datalad", ".minipach") or name.startswith(".git")


def reserved_in_pipeline(name):
    """Whether a name at the root of a pipeline's repository is no output."""
    if name.endswith((".jsonnet", ".libsonnet")):
        return True
    return name in ("code", "inputs", *SPECS) or name.startswith("README") or reserved_in_data(name)


def is_pipeline(names):
    """Whether a repository with these names at its root is a pipeline's."""
    return "spec.yml" in names or (".minipach" in names and any(spec in names for spec in SPECS))
