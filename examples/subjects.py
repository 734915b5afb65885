"""Walk through examples/subjects in a new folder, with the commands that a person would type."""

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from demo import MARKER, Failed, Walk, environment, remove_earlier

EXAMPLE = Path(__file__).resolve().parent / "subjects"
PIPELINE = "volumes"
# The T1 and T2 image of each subject, out of nibabel's test data.
SUBJECTS = {
    "sub-01": ("anatomical.nii", "functional.nii"),
    "sub-02": ("reoriented_anat_moved.nii", "example4d.nii.gz"),
    "sub-03": ("example_nifti2.nii.gz", "functional.nii"),
    "sub-04": ("anatomical.nii", ""),
    "sub-05": ("reoriented_anat_moved.nii", "example4d.nii.gz"),
}
RUN = {"sub-01", "sub-02", "sub-03"}
ORIGINAL, COPY = "sub-02", "sub-05"


def data_folder() -> Path:
    """Where nibabel keeps its test data."""
    package = importlib.util.find_spec("nibabel")
    if package is None or package.origin is None:
        raise Failed("nibabel is missing; run `make setup`, or pip install '.[demo]'")
    folder = Path(package.origin).parent / "tests" / "data"
    names = {name for pair in SUBJECTS.values() for name in pair if name}
    if missing := sorted(name for name in names if not (folder / name).is_file()):
        raise Failed(f"the installed nibabel has no {', '.join(missing)} in {folder}")
    return folder


def make_project(walk: Walk, data: Path) -> None:
    """Make a project with two datasets of images and the pipeline, all saved."""
    walk.heading("A project with two datasets: T1 and T2 images of five subjects, one without a T2")
    try:
        walk.run("minipach", "init", walk.project.name, above=True)
    finally:
        if (walk.project / MARKER.parent).is_dir():
            (walk.project / MARKER).write_text("made by examples/subjects.py, which may remove this project\n")
    for repo in ("t1", "t2"):
        walk.run("datalad", "create", "-d", ".", repo)
    walk.say(f"(copying images from {data})")
    for subject, pair in SUBJECTS.items():
        for repo, name in zip(("t1", "t2"), pair, strict=True):
            if name:
                place = Path(repo, subject, f"{subject}_{repo.upper()}w{name[name.index('.') :]}")
                walk.say(f"  {name} -> {place}")
                (walk.project / place).parent.mkdir()
                shutil.copyfile(data / name, walk.project / place)

    walk.heading("A pipeline that joins them by subject")
    walk.copy(EXAMPLE / PIPELINE, ".")
    walk.run("datalad", "save", "--recursive", "-m", "Images of five subjects, and a pipeline")


def foretell(walk: Walk) -> None:
    """The plan, before anything has run."""
    walk.heading("What would run, and why: three of four, and sub-04 has no partner")
    walk.run("minipach", "plan")
    plan = json.loads(walk.ask("minipach", "plan", "--json"))["pipelines"][0]
    said = {d["name"]: (d["action"], d["reason"]) for d in plan["datums"]}
    wanted = {name: ("run", "new content") for name in RUN} | {COPY: ("reuse", f"same content as {ORIGINAL}")}
    check(said == wanted, f"the plan is {said}")


def compute(walk: Walk) -> None:
    """Compute everything, then nothing."""
    walk.heading("Run it")
    walk.say(f"{walk.project.name}$ minipach schedule")
    report = json.loads(walk.ask("minipach", "schedule", "--json"))["pipelines"][0]
    words = {"ran": "computed"}  # as `minipach schedule` shows the counts
    walk.say(f"{PIPELINE}: " + ", ".join(f"{n} {words.get(what, what)}" for what, n in report["counts"].items() if n))
    check((report["counts"]["ran"], report["counts"]["reused"]) == (3, 1), f"the report is {report}")

    walk.heading("Once more: nothing to do")
    walk.run("minipach", "schedule")


def show(walk: Walk) -> None:
    """Show the results and the record of the copy."""
    walk.heading("Four results, each under its own name")
    for subject in sorted(RUN | {COPY}):
        walk.run("cat", f"{PIPELINE}/{subject}/volumes.tsv")
    found = {path.parent.name for path in (walk.project / PIPELINE).glob("sub-*/volumes.tsv")}
    check(found == RUN | {COPY}, f"there are results of {sorted(found)}")
    tables = [(walk.project / PIPELINE / s / "volumes.tsv").read_bytes() for s in (ORIGINAL, COPY)]
    check(tables[0] == tables[1], f"{COPY} differs from {ORIGINAL}")

    walk.heading("The record of the copy: its own inputs, and whose result it is")
    copies = walk.ask("git", "-C", PIPELINE, "log", "--format=%H", "--grep", "reused_from").split()
    check(len(copies) == 1, f"{len(copies)} records of copies")
    record = read_record(walk, copies[0])
    walk.say(json.dumps({key: record[key] for key in ("inputs", "outputs")}, indent=1))
    walk.say(json.dumps(record["minipach"], indent=1))
    check(record["minipach"]["reused_from"]["name"] == ORIGINAL, f"the record says {record['minipach']}")
    walk.heading("To compute it for real in a fresh clone, without minipach")
    walk.say(f"datalad clone {shlex.quote(str(walk.project / PIPELINE))} {PIPELINE}-again")
    walk.say(f"cd {PIPELINE}-again && datalad rerun {copies[0]}")


def read_record(walk: Walk, commit: str) -> dict[str, Any]:
    """The run record in a commit's message: the JSON between its two marks."""
    message = walk.ask("git", "-C", PIPELINE, "log", "-1", "--format=%B", commit)
    record: dict[str, Any] = json.loads(message[message.index("{") : message.rindex("}") + 1])
    return record


def check(holds: bool, otherwise: str) -> None:
    """Fail if something is not as the example says."""
    if not holds:
        raise Failed(f"this is not as it should be: {otherwise}")


def main() -> int:
    """Run the example; 0 if all is as it says, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="subjects-demo", help="the new project (default: ./subjects-demo)")
    parser.add_argument("--force", action="store_true", help="replace what an earlier example made there")
    options = parser.parse_args()
    project = Path(os.path.abspath(options.folder))
    try:
        if os.path.lexists(project):
            if not options.force:
                raise Failed(f"{project}: exists; name another folder, or --force to replace an earlier example")
            remove_earlier(project)
        data = data_folder()
        walk = Walk(project, environment())
        make_project(walk, data)
        foretell(walk)
        compute(walk)
        show(walk)
    except Failed as problem:
        print(f"\nsubjects: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
