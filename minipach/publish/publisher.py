"""The publisher: known results → the next state of a pipeline's branch, in one atomic step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minipach.datums import launch_command
from minipach.git.annex_keys import relocate
from minipach.git.checkout import InTheWay, check_free, index_entries, move_branch
from minipach.git.fast_import import Stream, committer
from minipach.git.git_error import GitError
from minipach.git.tree_entries import FILE, SYMLINK, TreeEntry
from minipach.model import launch_protocol, run_record
from minipach.model.messages import JOB, SUBJECT
from minipach.model.neutral_names import restore
from minipach.model.repo_layout import BUILD_REFS, EXPERIMENT_FILE, FOLDER, PUBLISHED_REF, reserved_in_pipeline
from minipach.model.work_set import Base, record_extra
from minipach.planning.assessment import Assessment
from minipach.planning.collisions import clash_problem, clashes, writer
from minipach.planning.plan import Plan, PlannedDatum
from minipach.project import output_branch
from minipach.project.branch_check import need_branch
from minipach.publish.installed_inputs import follow_links
from minipach.records.own_files import listed_entries
from minipach.records.published_outputs import published_paths
from minipach.records.published_state import Published, reserved_entries, write_shards
from minipach.support.errors import Problem, UserError

_BUILD = f"{BUILD_REFS}branch"
_TREE_ENTRY = 60  # bytes of a tree for each of its entries, about
_TREE_BYTES = 200_000_000  # of trees that are written in a second or two


@dataclass(frozen=True, slots=True)
class _Output:
    """One file of a result at its place in the repo; `data` if its bytes differ from the stored blob's."""

    path: str
    mode: str
    sha: str
    data: bytes | None = None


def publish_results(assessment: Assessment, base: Base, plan: Plan, job: str) -> str:
    """Move the pipeline's branch to what the plan wants, and its checkout with it, and return the new commit.

    Steps that still have to run keep what they had published before. UserError if two datums write one path, if an
    uncommitted change is in the way, or if the branch can't be moved; the state before stays then.
    """
    repo, head = assessment.repo, assessment.head
    assert head is not None
    branch = assessment.branch or need_branch(repo, assessment.path)
    added = [s for s in plan.of("reuse") if s.source is not None]
    state = dict(assessment.state)
    again = {s.name for s in added if s.name in state and state[s.name].id == s.id}
    replaced = [state[s.name] for s in (*added, *plan.of("remove")) if s.name in state]
    gone = {path: old.name for old in replaced for path in _paths_of(assessment, old, again=old.name in again)}
    outputs = _all_outputs(assessment, added)
    existing = assessment.outputs
    for clash in clashes(((step.name, [f.path for f in files]) for step, files in outputs), existing - gone.keys()):
        raise UserError(clash_problem(assessment.path, clash, clash.other or writer(assessment, clash.there)))
    for old in replaced:
        state.pop(old.name, None)
    for step in added:
        assert step.task is not None
        state[step.name] = Published(step.name, step.id, step.task.dest, step.task.words)
    touched = {s.name for s in added} | {old.name for old in replaced}
    stream = Stream(_BUILD, head, committer(repo), repo.common_dir)
    stream.commit(_summary(assessment, plan, job))
    if (
        assessment.source
        and assessment.source != head
        and not repo.succeeds("merge-base", "--is-ancestor", assessment.source, head)
    ):
        stream.merge(assessment.source)  # so that the branch checked out can be brought to this one by a fast-forward
    _write_reserved(assessment, base, stream)
    for path in sorted(gone.keys() & existing):
        stream.delete(path)
    for path, data in write_shards(state, touched).items():
        if data:
            stream.write(FILE, data, path)
        elif repo.resolve(f"{head}:{path}"):
            stream.delete(path)
    _record_commits(assessment, base, stream, outputs, job)
    new = stream.run(repo)
    assert new is not None
    if assessment.branch:
        more = [f"delete {_BUILD}", f"update {PUBLISHED_REF} {new}"]
        output_branch.move(repo, assessment.path, branch, head, new, more)
        return new
    _move(assessment, branch, head, new)
    project = assessment.project
    sources = {slug: project.dataset_of(path) for (path, _), slug in run_record.slugs(assessment.pipeline).items()}
    follow_links(repo, sources, head, new)
    return new


def unpublished(assessment: Assessment, base: Base, message: str) -> str:
    """Return a commit with the outputs of all datums, on top of the branch; no branch moves.

    The next commit of the branch would have the same files. For pipelines that take from this one, it is an input.

    Raises:
        UserError: Two datums write one path, or a result is not stored.
    """
    repo = assessment.repo
    steps = []
    for task in assessment.tasks:
        results = assessment.known.of(task.id)
        if not results:
            raise UserError(Problem("exp.no-result", assessment.path, f"{task.datum.name} has no result"))
        name = task.datum.name
        source = next((result for result in results if result.name == name), results[0])
        steps.append(PlannedDatum(name, task.id, "reuse", "computed before", task, source))
    parts = [(step.name, files) for step, files in _all_outputs(assessment, steps)]
    for clash in clashes(((name, [f.path for f in files]) for name, files in parts), frozenset()):
        raise UserError(clash_problem(assessment.path, clash, clash.other))
    entries = {e.path: e for e in repo.ls_tree(base.commit, recursive=True)}
    listed = json.dumps({"schema": 1, "points": [{"datums": [(t.datum.name, t.id) for t in assessment.tasks]}]})
    place = f"{FOLDER}/{EXPERIMENT_FILE}"
    entries[place] = TreeEntry(FILE, repo.hash_blob(listed.encode() + b"\n"), place)
    for _, files in parts:
        for file in files:
            sha = file.sha if file.data is None else repo.hash_blob(file.data)
            entries[file.path] = TreeEntry(file.mode, sha, file.path)
    epoch = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}  # the same outputs are the same commit
    parents = [assessment.head] if assessment.head else []
    return repo.commit_tree(repo.write_tree(entries.values()), f"{SUBJECT}{message}\n", parents, env=epoch)


def _move(assessment: Assessment, branch: str, old: str, new: str) -> None:
    repo = assessment.repo
    try:
        check_free(repo, old, new)
        move_branch(repo, f"refs/heads/{branch}", old, new, [f"delete {_BUILD}", f"update {PUBLISHED_REF} {new}"])
    except InTheWay as error:
        shown = ", ".join(error.paths[:3]) + (f" and {len(error.paths) - 3} more" if len(error.paths) > 3 else "")
        # to commit a new file would not help: what no datum made is not overwritten
        new_only = not index_entries(repo, *error.paths)
        what, fix = ("new files", "move") if new_only else ("uncommitted changes", "commit or move")
        raise UserError(
            Problem(
                "publish.changes-in-the-way",
                assessment.path,
                f"results are ready, but not published: {what} are in the way ({shown})",
                f"{fix} them, then run the same command again (nothing is computed twice)",
            )
        ) from None
    except GitError as error:
        if repo.head() == old:
            raise UserError(
                Problem(
                    "branch.cannot-move",
                    assessment.path,
                    f"the branch {branch} could not be moved: {error.stderr or error}",
                    "run the same command again",
                )
            ) from None
        raise


def _write_reserved(assessment: Assessment, base: Base, stream: Stream) -> None:
    """Give the reserved entries the content of the base: inputs, scripts, image, registration."""
    repo = assessment.repo
    there = assessment.reserved
    if assessment.branch and assessment.head:
        there = [*reserved_entries(repo, assessment.head), *listed_entries(repo, assessment.head)]
    old = {e.path: e for e in there}
    new = {e.path: e for e in repo.ls_tree(base.commit, recursive=True)}
    for path in sorted(old.keys() - new.keys()):
        stream.delete(path)
    for path, entry in sorted(new.items()):
        if old.get(path) != entry:
            stream.put(entry.mode, entry.sha, path)


def _summary(assessment: Assessment, plan: Plan, job: str) -> str:
    counts = plan.counts
    fresh = sum(1 for s in plan.of("reuse") if s.source and s.reason == "computed before")
    copied = counts["reuse"] - fresh
    parts = [
        f"{fresh} new",
        f"{copied} reused",
        f"{counts['current']} as before",
        f"{counts['remove']} removed",
    ]
    if counts["run"]:
        parts.append(f"{counts['run']} missing")
    lines = [f"{SUBJECT}{assessment.pipeline.name}: {', '.join(parts)}", "", f"{JOB}{job}"]
    for (repo, branch), snapshot in sorted(assessment.snapshots.items(), key=lambda item: item[0][0]):
        lines.append(f"input: {repo}{'@' + branch if branch else ''} {snapshot.commit}")
    return "\n".join(lines) + "\n"


_Part = tuple[PlannedDatum, Sequence[_Output]]


def _record_commits(assessment: Assessment, base: Base, stream: Stream, parts: Sequence[_Part], job: str) -> None:
    """Write a commit for each datum with outputs, with the datum's own record.

    A commit writes each folder that its outputs are in. Where that is much (a flat branch of many thousand files),
    the publish's first commit has the outputs of all, and the records follow on commits that change nothing.
    """
    written = [(step, files) for step, files in parts if files]
    large = _is_large(assessment, written)
    alone: list[tuple[str, str, Sequence[_Output]]] = []
    after: list[tuple[str, str]] = []
    records = assessment.known.records_of([step.source for step, _ in written if step.source is not None])
    for (step, files), record in zip(written, records, strict=True):
        assert step.source is not None
        message = _record(assessment, base, step, record, files, job)
        # a record that is too long for its outputs has them from its commit
        if large and run_record.parse(message)[1].get("outputs"):
            _put(stream, files)  # into the commit that the publish began with
            after.append((_with_outputs(message, [file.path for file in files]), step.source.author))
        else:
            alone.append((message, step.source.author, files))
    for message, author in after:
        stream.commit(message, author)
    for message, author, files in alone:
        stream.commit(message, author)
        _put(stream, files)


def _is_large(assessment: Assessment, parts: Sequence[_Part]) -> bool:
    """Return whether a commit for each of these would write more bytes of trees than is worth it."""
    paths = {file.path for _, files in parts for file in files} | assessment.outputs
    above = {folder for path in paths for folder in _folders(path)} - {""}
    widths = Counter(path.rpartition("/")[0] for path in (*paths, *above))
    found = 0
    for _, files in parts:
        folders = {folder for file in files for folder in _folders(file.path)}
        found += sum(widths[folder] for folder in folders) * _TREE_ENTRY
    return found > _TREE_BYTES


def _folders(path: str) -> Iterator[str]:
    """Yield the folders above a path, the root ("") included."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _put(stream: Stream, files: Sequence[_Output]) -> None:
    for file in files:
        if file.data is None:
            stream.put(file.mode, file.sha, file.path)
        else:
            stream.write(file.mode, file.data, file.path)


def _record(
    assessment: Assessment, base: Base, step: PlannedDatum, record: str, files: Sequence[_Output], job: str
) -> str:
    """Return the record of one datum: that of its result's run, or a copy's own."""
    source, task = step.source, step.task
    assert source is not None and task is not None
    matches = tuple((m.input, m.repo, m.path) for m in task.datum.matches)
    own = (source.name, source.dest, source.words, source.matches) == (step.name, task.dest, task.words, matches)
    return record if own else _copied_record(assessment, base, step, record, files, job)


def _with_outputs(message: str, paths: Sequence[str]) -> str:
    """Return the record with the paths of its datum's outputs, since the commit has those of all datums."""
    subject, record = run_record.parse(message)
    (datum,) = record["minipach"]["datums"]
    ours = {**record["minipach"], "datums": [{**datum, "outputs": list(paths)}]}
    return run_record.compose(subject, {**record, "minipach": ours})


def _copied_record(
    assessment: Assessment, base: Base, step: PlannedDatum, original: str, files: Sequence[_Output], job: str
) -> str:
    """Return a record for what was computed under another name: rerunning it recomputes it under this one."""
    source, task = step.source, step.task
    assert source is not None and task is not None
    options = (*assessment.options, *base.options)
    command = launch_command.command(assessment.pipeline, [task], base.commits, job, options).text()
    ours = record_extra(assessment.pipeline.name, job, [{"name": step.name, "id": step.id}])
    record = {
        "chain": [],
        "cmd": f"{launch_protocol.LAUNCH} {base.image_path} {run_record.escape_format(command)}",
        "dsid": base.dataset_id,
        "exit": run_record.parse(original)[1].get("exit", 0),
        "extra_inputs": [base.image_path],
        "inputs": [
            *launch_command.record_inputs(assessment.pipeline, [task], assessment.snapshots),
            *assessment.always_inputs,
        ],
        "outputs": [run_record.record_path(f.path) for f in files],
        "pwd": ".",
        "minipach": {**ours, "reused_from": {"name": source.name, "id": source.id}},
    }
    return run_record.compose(run_record.title(assessment.pipeline.name, [step.name]), record)


def _all_outputs(assessment: Assessment, steps: Sequence[PlannedDatum]) -> list[tuple[PlannedDatum, list[_Output]]]:
    """Return the files of the steps' results at their places."""
    entries = assessment.known.files_of([step.source for step in steps if step.source is not None])
    return [(step, _outputs(assessment, step, files)) for step, files in zip(steps, entries, strict=True)]


def _outputs(assessment: Assessment, step: PlannedDatum, entries: Sequence[TreeEntry]) -> list[_Output]:
    """Return a result's files at their places for this datum: renamed, and links relocated where the depth differs."""
    source, task = step.source, step.task
    assert source is not None and task is not None
    links = [e.sha for e in entries if e.mode == SYMLINK]
    old_prefix = source.dest + "/" if source.dest else ""
    new_prefix = task.dest + "/" if task.dest else ""
    targets: dict[str, bytes | None] = {}
    paths: set[str] = set()
    found = []
    for entry in entries:
        path = new_prefix + restore(entry.path, task.words)
        if path in paths:
            raise UserError(
                Problem(
                    "output.collision",
                    assessment.path,
                    f"two outputs of {step.name} become one path, {path}",
                    "write names without the word that stands for the datum's, or set identity: path",
                )
            )
        paths.add(path)
        if reserved_in_pipeline(path.split("/", 1)[0]):
            raise UserError(
                Problem(
                    "output.reserved-name",
                    assessment.path,
                    f"the output {path} of {step.name} would have a reserved name",
                )
            )
        data = None
        if entry.mode == SYMLINK and path.count("/") != (old_prefix + entry.path).count("/"):
            if not targets:
                targets = dict(zip(links, assessment.repo.objects.read_many(links), strict=True))
            data = relocate(targets[entry.sha] or b"", path.count("/"))
        found.append(_Output(path, entry.mode, entry.sha, data))
    return found


def _paths_of(assessment: Assessment, old: Published, *, again: bool = False) -> Sequence[str]:
    return published_paths(assessment.repo, assessment.head or "", assessment.known, old, again=again)
