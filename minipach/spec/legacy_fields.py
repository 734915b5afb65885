"""Fields of Pachyderm's specs, of 1.x and 2.x, that minipach does not have: what to write instead."""

from __future__ import annotations

_INSPECTED = ("what pachctl prints about a pipeline, no part of a spec", "remove it (pachctl inspect pipeline --raw)")
_BUILD = ("not supported", "build the image yourself, and name it or its archive in `image`")
_GIT = ("not supported", "add the repository to the project (datalad clone -d . URL), and write `pfs`")

# By the object that holds the field: what the field is, and what to write instead.
_FIELDS: dict[str, dict[str, tuple[str, str]]] = {
    "": {
        "inputs": ("a field of Pachyderm 1.4 and before", "write `input: {pfs: {...}}`, or several below `cross`"),
        "job_input": ("a field of Pachyderm 1.2 and before", "write `input: {pfs: {...}}`"),
        "chunk_spec": ("called `datum_set_spec` since Pachyderm 2.0", "rename it"),
        "resource_spec": ("called `resource_requests` since Pachyderm 1.6", "rename it"),
        "standby": ("called `autoscaling` since Pachyderm 2.0", "remove it: no worker waits without work"),
        "scale_down_threshold": ("obsolete", "remove it: no worker waits without work"),
        "enable_stats": ("obsolete", "remove it: times and resources are kept for all datums (minipach usage)"),
        "cache_size": ("obsolete", "remove it: inputs are read from the annex, without a cache"),
        "max_queue_size": ("obsolete", "remove it, or write `datum_set_spec`"),
        "hashtree_spec": ("obsolete", "remove it: outputs are git trees"),
        "incremental": ("obsolete", "remove it: a datum that has a result never runs again"),
        "batch": ("obsolete", "remove it: no pipeline runs until `minipach schedule`"),
        "output_batch": ("obsolete", "remove it: a job publishes its results in one step"),
        "job_tries": ("no field of a spec", "write `datum_tries`, or run `minipach retry`"),
        "reprocess": ("an option of a command here", "remove it, and run `minipach schedule --force PIPELINE`"),
        "no_skip": ("called `reprocess_spec: every_job` since Pachyderm 2.0", "write that"),
        "update": ("an option of pachctl", "remove it: commit the changed spec, and run `minipach schedule`"),
        "dry_run": ("an option of pachctl", "remove it, and run `minipach plan`"),
        "spec_commit": ("set by Pachyderm", "remove it: git has each version of the spec"),
        "from_commit": ("obsolete", "remove it: name a `branch` in the input"),
        "githook_url": _GIT,
        "auth_token": _INSPECTED,
        "created_at": _INSPECTED,
        "details": _INSPECTED,
        "effective_spec_json": _INSPECTED,
        "job_counts": _INSPECTED,
        "last_job_state": _INSPECTED,
        "recent_error": _INSPECTED,
        "reason": _INSPECTED,
        "spec": _INSPECTED,
        "state": _INSPECTED,
        "stopped": _INSPECTED,
        "type": _INSPECTED,
        "unclaimed_tasks": _INSPECTED,
        "user_spec_json": _INSPECTED,
        "version": _INSPECTED,
        "worker_rc": _INSPECTED,
        "workers_available": _INSPECTED,
        "workers_requested": _INSPECTED,
    },
    "InputSpec": {
        "atom": ("called `pfs` since Pachyderm 1.8", "rename it"),
        "git": _GIT,
        "sql": ("not supported", "let what reads the database commit files to a repo, and write `pfs`"),
    },
    "PfsSpec": {
        "from_commit": ("obsolete", "remove it: name a `branch`; a commit that ran already is not computed again"),
        "method": ("obsolete", "write `glob` (`/` for all files together, `/*` for each by itself)"),
        "reference": ("not supported", "remove it"),
        "lazy_files": ("called `lazy`", "rename it"),
    },
    "TransformSpec": {
        "image_pull_secrets": (
            "not supported",
            "remove it, and log in with the program that fetches images, once "
            "(apptainer remote login, podman login, skopeo login, docker login)",
        ),
        "build": _BUILD,
        "dockerfile": _BUILD,
        "debug": ("obsolete", "remove it: minipach logs shows all that a datum prints"),
        "memory_volume": ("obsolete", "remove it: /dev/shm is there"),
        "overwrite": ("obsolete", "remove it"),
    },
    "ParallelismSpec": {
        "strategy": ("obsolete", "write `constant`, the number of datum sets at once"),
        "coefficient": ("obsolete", "write `constant`, the number of datum sets at once"),
    },
}
_OF_MODEL = {"PipelineSpec": ""}


def instead(model: str, name: str) -> tuple[str, str] | None:
    """Return what a field is, and what to write instead; None if Pachyderm never had it.

    Args:
        model: The name of the class of the object that holds the field.
        name: The name of the field.
    """
    return _FIELDS.get(_OF_MODEL.get(model, model), {}).get(name)


def obsolete() -> tuple[tuple[str, str, str, str], ...]:
    """Return all fields as (the class of the object, the field, what it is, what to write instead)."""
    models = {folder: model for model, folder in _OF_MODEL.items()}
    return tuple((models.get(m, m), name, *texts) for m, fields in _FIELDS.items() for name, texts in fields.items())
