"""Names in repositories that outlive a process: refs, folders and files. No other module spells them.

`docs/design/formats.md` says what each of them holds.
"""

from __future__ import annotations

from collections.abc import Collection

# --- files on a pipeline's branch ---
SPEC = "spec.yml"
SPECS = (SPEC, "spec.yaml", "spec.json")  # a pipeline has one of these
CODE = "code"
INPUTS = "inputs/"  # each input's subdataset is below it; see `run_record.slugs`
FOLDER = ".minipach"  # beside a spec of whichever name, it says that the repo is a pipeline's
STATE = f"{FOLDER}/state"
OWN_FILES = f"{FOLDER}/files"  # the pipeline's own files that are at no reserved name, a path in each line
ACCEPTED = f"{FOLDER}/accepted"  # changes of code and image that do not count, one a line
PINNED_CODE = f"{FOLDER}/code"  # shared code, below its path in the project
LAUNCHER = f"{FOLDER}/launch"
TEMPLATE_RECORD = f"{FOLDER}/template.json"  # the template that a pipeline was made from
JSONNET_SPEC = "spec.jsonnet"  # the template that SPEC was rendered from
JSONNET_FILES = (".jsonnet", ".libsonnet")  # endings of such templates; no part of a datum's identity
EDITED_FILES = (  # names of files that people edit, beside the spec: git keeps them, not git-annex
    "README*",
    "requirements*.txt",
    "pyproject.toml",
    "uv.lock",
    "environment.yml",
    "pixi.lock",
    "Dockerfile",
    "Containerfile",
)

# --- files in a repo of ticks, beside the ticks themselves; each is named as a tick ---
TICKS = f"{FOLDER}/ticks"  # says that the repo is one of ticks
TICK_BEGAN = f"{TICKS}/began"  # when the clock began that has no `start`; the earliest counts
TICK_SKIPPED = f"{TICKS}/skipped"  # not to be added; the content is the reason
TICK_MANUAL = f"{TICKS}/manual"  # added by a person for no due time
TICK_BACKFILLED = f"{TICKS}/backfilled"  # added by `cron backfill` for a time that was due
TICK_ASKED = f"{TICKS}/asked"  # added by `cron run` for a time that was due

# --- files of DataLad's ---
DATALAD = ".datalad"
DATALAD_CONFIG = f"{DATALAD}/config"
PROJECT_MARK = "minipach.project"  # the key in DATALAD_CONFIG by which a project is known
STORE_SECTION = "minipach-store"  # `[minipach-store "NAME"]` in DATALAD_CONFIG: a store of the project
CONTAINER = "minipach"  # the name under which each pipeline's repo registers its image with datalad-container

# --- the results branch: `<2 hex>/<datum id>/{out/, result.json, record}` ---
RESULTS = "minipach"  # the branch's name
RESULTS_BRANCH = f"refs/heads/{RESULTS}"
RESULT_FILE = "result.json"
RECORD_FILE = "record"
RESULTS_FILE = f"{FOLDER}/results.json"  # in the commit that a result ref names: of each datum of its set

# --- refs of minipach's own ---
RESULT_REFS = "refs/minipach/results/"  # of sets that have ended; folded into the results branch
SET_REFS = "refs/minipach/sets/"  # of sets that were submitted
BATCH_REFS = "refs/minipach/batches/"  # of sets that were submitted together to a cluster without a shared filesystem
REPORT_REFS = "refs/minipach/reports/"  # of what a pod reports of a set
BASE_REF = "refs/minipach/base"  # what sets start from
PUBLISHED_REF = "refs/minipach/published"  # the commit that the publisher moved the branch to last; none in a new clone
EXPERIMENT_REFS = "refs/minipach/experiments/"  # of commits with EXPERIMENT_FILE
EXPERIMENT_FILE = "experiment.json"
POINT_REFS = "refs/minipach/points/"  # NAME/COMMIT: outputs of a pipeline for points of an experiment of another one
BUILD_REFS = "refs/minipach/build/"  # what is being built; left over only after a crash
SLOT_BRANCH = "refs/worktree/minipach"  # of a worktree in which sets run

RESERVED = frozenset({*SPECS, CODE, INPUTS.rstrip("/"), DATALAD, FOLDER})
HOUSEKEEPING = frozenset({DATALAD, FOLDER})


def reserved_in_pipeline(name: str) -> bool:
    """Return whether a name at the root of a pipeline's repo is not output (design: "A project on disk")."""
    return name in RESERVED or name.startswith((".git", "README")) or name.endswith(JSONNET_FILES)


def reserved_in_data(name: str) -> bool:
    """Return whether a name at the root of any dataset is housekeeping, not data."""
    return name in HOUSEKEEPING or name.startswith(".git")


def is_pipeline(names: Collection[str]) -> bool:
    """Return whether a repo with these names at its root is a pipeline's.

    `spec.yaml` and `spec.json` are names that data may have: they count where minipach's own folder is beside them.
    """
    return SPEC in names or (FOLDER in names and any(name in names for name in SPECS))
