"""One pipeline as it stands now: what its plan needs is read here, and decided in `plan`. Reads only.

That is its spec, its inputs' snapshots, its datums with ids, and known results. `Assessment.plan` passes them to
`plan.make_plan`, which decides whether a datum runs.
"""

from __future__ import annotations

import json
import operator
import posixpath
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

from minipach.datums.combine_inputs import make_datums
from minipach.datums.identity import VERSION, Identifier, IdentityRecipe, Row, code_id, input_files, recipe, variables
from minipach.datums.inputs import SnapshotStore, unmatched, unusable
from minipach.datums.launch_command import datum_env, replacements
from minipach.datums.snapshot import loose_files
from minipach.datums.task_cache import make_tasks
from minipach.environment.image import Image, resolve_image
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import TreeEntry
from minipach.model.datum import Datum, Task
from minipach.model.neutral_names import Neutral, neutral, part_shown
from minipach.model.pipeline import BranchTrigger, Need, Pipeline
from minipach.model.repo_layout import CODE, INPUTS, PINNED_CODE, PUBLISHED_REF
from minipach.model.run_record import slugs
from minipach.model.snapshot import FileEntry, Snapshot
from minipach.planning import plan_cache
from minipach.planning.accepted import Accepted, changes_in_force, read_accepted
from minipach.planning.branch_triggers import Deferral, Revision, released
from minipach.planning.plan import Plan, PlannedDatum, make_plan, mark_new_names, reason_for, restore_outputs
from minipach.project import output_branch
from minipach.project.project import Project
from minipach.project.targets import matching
from minipach.records.branch_history import record_commits
from minipach.records.branch_sizes import first_parents, size_at, sizes_since
from minipach.records.own_files import Shared, files_of, is_own, own_at, own_entries, shared_code, subdatasets
from minipach.records.published_outputs import altered_datums, many_published_paths, published_paths
from minipach.records.published_state import Published, output_paths, read_state, reserved_entries
from minipach.records.results_branch import StoredResults, results_commit
from minipach.spec.output_template import out_path
from minipach.spec.placeholder import used_fields
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import NO_OBJECT
from minipach.support.text import many

__all__ = ["Assessment", "SnapshotStore"]


@dataclass
class Assessment:
    """Everything that the plan of one pipeline follows from. Computed piece by piece, when asked for."""

    project: Project
    path: str
    store: SnapshotStore
    _code_diffs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    deferrals: dict[tuple[str, str | None], Deferral] = field(default_factory=dict)
    _tasks: tuple[IdentityRecipe, list[Task]] | None = None
    _planned: tuple[tuple[object, ...], Plan] | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The parsed spec. UserError if it is broken."""
        return self.project.pipeline(self.path)

    @cached_property
    def repo(self) -> Repo:
        """The pipeline's own repo (which may not exist yet)."""
        return Repo(self.project.root / self.path)

    @cached_property
    def exists(self) -> bool:
        """Whether the pipeline's folder is a dataset already."""
        return is_dataset(self.repo.path)

    @cached_property
    def source(self) -> str | None:
        """The commit that is checked out: what it has of spec, code and other own files counts."""
        return self.repo.head() if self.exists else None

    @cached_property
    def branch(self) -> str | None:
        """The branch that results go to, if it is not the one checked out."""
        pipeline = self.project.pipelines.get(self.path)
        return output_branch.other_branch(self.repo, pipeline.output_branch) if pipeline and self.exists else None

    @cached_property
    def head(self) -> str | None:
        """The commit of the branch that results go to; what is checked out, where that is still to be made."""
        return (output_branch.tip(self.repo, self.branch) if self.branch else None) or self.source

    @cached_property
    def commits(self) -> dict[tuple[str, str | None], str]:
        """The commit of each (repo, branch) that the spec names."""
        found = {}
        problems: list[Problem] = []
        for need in self.pipeline.needs():
            try:
                commit = self.store.commit(need)
                if need.trigger and not self.store.release:
                    commit = self._released(need, need.trigger, commit)
                found[need.repo, need.branch] = commit
            except UserError as error:
                problems += error.problems
        if problems:
            raise UserError(problems)
        return found

    def _released(self, need: Need, trigger: BranchTrigger, head: str) -> str:
        """Return the commit that the trigger of an input has released; NO_OBJECT if it never has any.

        The commit that the branch was published with counts as released, too, if the history still has it.
        """
        where = Repo(self.project.root / need.repo)
        base = self._used_before(need)
        if base is not None and not where.succeeds("merge-base", "--is-ancestor", base, head):
            base = None
        commits = first_parents(where, base, head)
        before = size_at(where, base) if base and trigger.size else 0
        sizes = sizes_since(where, base, head, before) if trigger.size else {}
        revisions = [Revision(sha, when, sizes.get(sha, before)) for sha, when in commits]
        state = released(trigger, revisions, before, self.store.now)
        where.close()
        commit = state.sha or base
        if commit != head:
            self.deferrals[need.repo, need.branch] = Deferral(need.name, need.repo, trigger, head, state, not commit)
        return commit or NO_OBJECT

    def _used_before(self, need: Need) -> str | None:
        """Return the commit of an input that the branch was published with."""
        if self.head is None or not self.state:
            return None
        entries = self.repo.ls_tree(self.head, ":(top,literal)inputs", recursive=True)
        name = f"{INPUTS}{slugs(self.pipeline)[need.repo, need.branch]}"
        return next((entry.sha for entry in entries if entry.path == name), None)

    @cached_property
    def deferred(self) -> tuple[Deferral, ...]:
        """The inputs that have commits which are not released yet."""
        _ = self.commits
        return tuple(self.deferrals.values())

    @property
    def has_nothing(self) -> bool:
        """Whether an input has nothing so far: no commit was ever released, or the repo of ticks is not there."""
        return NO_OBJECT in self.commits.values()

    @cached_property
    def snapshots(self) -> dict[tuple[str, str | None], Snapshot]:
        """The snapshot of each (repo, branch) that the spec names; committed content only."""
        return {pair: self.store.at(pair[0], commit) for pair, commit in self.commits.items()}

    @cached_property
    def datums(self) -> list[Datum]:
        """The datums of now, checked for what can't be processed."""
        left_out = self.excluded
        found = [datum for datum in self._all_datums if datum.name not in left_out]
        problems = list(unusable(self.project, self.pipeline, self.snapshots, found))
        if problems:
            raise UserError(problems)
        return found

    @cached_property
    def _all_datums(self) -> list[Datum]:
        return make_datums(self.pipeline.input, self.snapshots)

    @cached_property
    def excluded(self) -> dict[str, str]:
        """The datums that the spec leaves out, with the reason."""
        found: dict[str, str] = {}
        for pattern, reason in self.pipeline.exclude:
            for name in matching(pattern, (datum.name for datum in self._all_datums)):
                found.setdefault(name, reason)
        return found

    @property
    def exclusions(self) -> tuple[str, ...]:
        """A line for each entry of `exclude`: what it leaves out, and why; or that it matches nothing."""
        if not self.pipeline.exclude:
            return ()
        known = [datum.name for datum in self._all_datums]
        rows = ((pattern, reason, matching(pattern, known)) for pattern, reason in self.pipeline.exclude)
        return tuple(_exclusion(pattern, reason, names) for pattern, reason, names in rows)

    @property
    def no_datums(self) -> str:
        """The reason why there is no datum, if there is none."""
        if self.excluded:
            return f"all {many(len(self.excluded), 'datum')} are excluded"
        waits = {pair: deferral.text for pair, deferral in self.deferrals.items()}
        why = unmatched(self.pipeline, self.snapshots, waits)
        for need in self.pipeline.needs():
            upstream = self.project.pipelines.get(need.repo)
            if upstream and upstream.output_branch and need.branch is None:
                why += (
                    f"; the results of {upstream.name} go to its branch {upstream.output_branch}: name it as `branch`"
                )
        return why

    @cached_property
    def own(self) -> list[TreeEntry]:
        """The pipeline's own files: all that is checked out and neither output nor housekeeping; gitlinks, too."""
        return [] if self.source is None else self._own_files[0]

    @cached_property
    def _own_files(self) -> tuple[list[TreeEntry], dict[str, FileEntry]]:
        """The own entries, and the files among them. Kept in the cache with all that they follow from."""
        repo, source, where = self.repo, self.source or "", str(self.repo.path)
        key = [source, repo.resolve(PUBLISHED_REF) or "", results_commit(repo) or ""]
        kept = self.project.cache.get("own-files", where)
        if kept is not None and kept[0] == key:
            return [TreeEntry(*row) for row in kept[1]], {path: FileEntry(*row) for path, *row in kept[2]}
        state = self.state if source == self.head else read_state(repo, source)

        def paths_of(olds: Sequence[Published]) -> Iterator[str]:
            for _, paths in many_published_paths(repo, source, self.known, olds):
                yield from paths

        entries = own_entries(repo, source, state, paths_of)
        files = files_of(repo, entries)
        rows = [(e.mode, e.sha, e.path) for e in entries], [(path, *file) for path, file in files.items()]
        self.project.cache.put("own-files", where, (key, *rows))
        return entries, files

    @cached_property
    def shared(self) -> dict[str, Shared]:
        """Shared code, and the files of subdatasets among the own files, by path in the project; as committed."""
        pipeline = self.pipeline
        found = shared_code(self.project, self.path, pipeline.shared_code, pipeline.at("minipach.code"))
        return {**found, **subdatasets(self.project, self.path, self.own)}

    @cached_property
    def visible_files(self) -> dict[str, FileEntry]:
        """The files in /project: own files by their path, shared ones by `/` and that in the project."""
        if self.source is None:
            own = {path: file for path, file in loose_files(self.repo.path).items() if is_own(path)}
        else:
            own = self._own_files[1]
        return {**own, **{f"/{path}": one.entry for path, one in self.shared.items()}}

    def shows(self, path: str) -> bool:
        """Return whether the command sees a file or folder at a path in the pipeline's folder.

        One behind a link counts.
        """
        files = self.visible_files
        inside = f"/{self.path}/{path}"  # of a subdataset
        if any(p in files for p in (path, inside)) or any(p.startswith((path + "/", inside + "/")) for p in files):
            return True
        above = accumulate(path.split("/"), "{}/{}".format)
        return any(folder in files and files[folder].kind == "link" for folder in above)

    def paths_of(self, published: Published) -> Iterable[str]:
        """Return the paths of a published datum's outputs."""
        return published_paths(self.repo, self.head or "", self.known, published)

    @cached_property
    def image(self) -> Image:
        """The image that the spec names, or the host environment."""
        return resolve_image(self.project, self.path, self.repo)

    @cached_property
    def recipe(self) -> IdentityRecipe:
        """The shared part of every datum's identity."""
        return recipe(self.pipeline, self.image.content, code_id(self.visible_files), self.commits)

    @cached_property
    def accepted(self) -> Accepted:
        """The changes of code and image that somebody has declared not to count."""
        if not self.source:
            return Accepted()
        where = str(self.repo.path)
        kept = self.project.cache.get("accepted", where)
        if kept is not None and kept[0] == self.source:
            return Accepted({(kind, new): old for kind, new, old in kept[1]})
        found = read_accepted(self.repo, self.source)
        rows = [(kind, new, old) for (kind, new), old in found.old.items()]
        self.project.cache.put("accepted", where, (self.source, rows))
        return found

    @property
    def acceptances(self) -> tuple[str, ...]:
        """A line for each accepted change by which the recipe of now counts as that of the results."""
        if not self.accepted.old or self.source is None:
            return ()
        return tuple(change.text for change in changes_in_force(self.repo, self.source, self.recipe))

    @property
    def counted(self) -> IdentityRecipe:
        """The recipe as identity counts it: without the changes that were accepted."""
        return self.accepted.counted(self.recipe)

    @property
    def tasks(self) -> list[Task]:
        """The datums with their ids and the places of their outputs."""
        counted = self.counted
        if self._tasks is None or self._tasks[0] != counted:
            self._tasks = counted, self._make_tasks(counted)
        return self._tasks[1]

    def _make_tasks(self, shared: IdentityRecipe) -> list[Task]:
        pipeline = self.pipeline
        by_path = pipeline.identity != "content"
        ids = Identifier(shared, by_path=by_path)

        def compute(datum: Datum) -> Task:
            names = Neutral() if by_path else neutral(datum, self.snapshots)
            if names.words:
                shown = part_shown(replacements(self.fields, datum, names.words), names.words)
                names = names._replace(visible=shown)
            datum_id = ids.id_of(self.files_of(datum, names.words), self.variables_of(datum, names.words))
            return Task(datum, datum_id, out_path(pipeline.out, datum), *names)

        return make_tasks(
            self.project,
            self.path,
            self.datums,
            compute,
            key=json.dumps(
                [VERSION, shared.as_json(), pipeline.identity, pipeline.out, repr(pipeline.input), *self.kept_apart]
            ),
            input=pipeline.input,
            snapshots=self.snapshots,
        )

    @cached_property
    def kept_apart(self) -> list[tuple[str, list[str]]]:
        """The pipelines and datasets in each plain folder among the inputs, whatever its commit has of them."""
        project = self.project
        folders = {need.repo: project.folder(need.repo) for need in self.pipeline.needs()}
        return [
            (repo, [*sorted(folder.pipelines), *project.datasets_in(repo)])
            for repo, folder in sorted(folders.items())
            if folder is not None
        ]

    @property
    def options(self) -> tuple[str, ...]:
        """The options of the launcher that follow from the own files: see `image_folder`."""
        return ("-W",) if self.image_folder else ()

    @property
    def image_folder(self) -> bool:
        """Whether the command runs in the image's own working directory.

        So it does if the spec names no other, there is no `code`, and no word of the command is one of the own files.
        """
        t = self.pipeline.transform
        if t.image is None or t.working_dir:
            return False
        words = {posixpath.normpath(word) for word in (*t.cmd, *t.err_cmd) if word}
        return not any(path == CODE or path.startswith(f"{CODE}/") or path in words for path in self.visible_files)

    @property
    def always_inputs(self) -> tuple[str, ...]:
        """The inputs of every record: own files that are annexed, so that a clone gets them."""
        annexed = [path for path, file in self.visible_files.items() if file.kind == "annex"]
        tops = {PINNED_CODE if p.startswith("/") else CODE if p.startswith(f"{CODE}/") else p for p in annexed}
        return tuple(sorted(tops))

    def files_of(self, datum: Datum, words: tuple[str, ...]) -> dict[str, list[Row]]:
        """Return the inputs of a datum as identity, and the command, see them. words: those that are hidden."""
        return input_files(datum, self.snapshots, words)

    def variables_of(self, datum: Datum, words: tuple[str, ...]) -> dict[str, str]:
        """Return the rest that differs between datums for the command: variables, and placeholders in its arguments."""
        found = variables(datum, words)
        if self.fields:
            for name, value in replacements(self.fields, datum, words).items():
                found[f"{{{name}}}"] = value
        if env := self.pipeline.transform.datum_env:
            found |= datum_env(env, datum, words)
        return found

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The placeholders in the command that have a value of each datum."""
        return used_fields(self.pipeline.transform, self.pipeline.input)

    @cached_property
    def known(self) -> StoredResults:
        """The results on the results branch."""
        return StoredResults(self.repo) if self.exists else _NoResults(self.repo)

    @cached_property
    def state(self) -> dict[str, Published]:
        """The published state of the branch."""
        return read_state(self.repo, self.head) if self.exists else {}

    @cached_property
    def reserved(self) -> list[TreeEntry]:
        """The reserved entries of what is checked out, less the state, and the pipeline's own files."""
        if self.source is None:
            return []
        return list({e.path: e for e in (*reserved_entries(self.repo, self.source), *self.own)}.values())

    @cached_property
    def outputs(self) -> frozenset[str]:
        """The paths of all outputs on the branch."""
        return frozenset(output_paths(self.repo, self.head) if self.head else ())

    @cached_property
    def altered(self) -> frozenset[str]:
        """The datums whose published outputs somebody has changed since, in a commit."""
        if self.head is None:
            return frozenset()
        return altered_datums(self.repo, self.head, self.state, self.paths_of, lambda: self.outputs)

    def plan(self, blocked: str = "") -> Plan:
        """Return what would happen, with reasons. Made once for what it follows from."""
        sources = (self.tasks, self.state, self.image.label, blocked, self.altered, self.known)
        earlier = None
        if self._planned is not None:
            same = list(map(operator.is_, self._planned[0], sources))
            if all(same):
                return self._planned[1]
            earlier = self._planned[1] if all(same[:-1]) else None
        if not blocked:
            published = {(old.name, old.id) for old in self.state.values()}
            news = (t.id for t in self.tasks if (t.datum.name, t.id) not in published)
            self.known.read_ahead(datum_id for datum_id in news if datum_id in self.known)
            # what changed is explained by what was published before: results that are read together
            ids = {t.datum.name: t.id for t in self.tasks}
            self.known.read_ahead(old.id for old in self.state.values() if ids.get(old.name, old.id) != old.id)
        plan = make_plan(
            self.pipeline.name,
            self.tasks,
            state=self.state,
            known=self.known,
            explain=self._explain,
            blocked=blocked,
            earlier=earlier,
        )
        if not blocked:
            plan = mark_new_names(restore_outputs(plan, self.altered, self.known), self._content_of)
            plan = _with_exclusions(plan, self.excluded)
        self._planned = (sources, plan)
        return plan

    def _content_of(self, step: PlannedDatum) -> Hashable:
        """Return the content of a datum's inputs without their names; None where its published result isn't known."""
        if step.task is not None:
            inputs: Mapping[str, Sequence[Any]] = input_files(step.task.datum, self.snapshots)
        else:
            found = self.known.of(step.id)
            if not found:
                return None
            inputs = found[0].inputs
        return tuple((name, tuple(sorted((row[1], row[2]) for row in rows))) for name, rows in sorted(inputs.items()))

    def quick_plan(self, blocked: str = "", news: Callable[[], object] | None = None) -> Plan:
        """Return the plan for showing, from the cache if nothing has moved: see `plan_cache.quick_plan`."""
        return plan_cache.quick_plan(self, blocked, news)

    def _explain(self, task: Task, before: Published) -> str:
        if before.id == task.id:
            return f"its output folder changed from {before.dest or '/'} to {task.dest or '/'}"
        results = self.known.of(before.id)
        old = next((r for r in results if r.name == before.name), results[0] if results else None)
        return reason_for(
            old=old,
            new=self.recipe,
            inputs=self.files_of(task.datum, task.words),
            variables=self.variables_of(task.datum, task.words),
            task=task,
            code_changes=lambda: self._code_changes(before, old.recipe.get("code", "") if old else ""),
            image_label=self.image.label,
        )

    def _code_changes(self, before: Published, old_code: str) -> list[str]:
        key = (self.source or "", old_code)
        if key not in self._code_diffs:  # the same for all datums that ran with the same files
            self._code_diffs[key] = self._diff_code(before)
        return self._code_diffs[key]

    def _diff_code(self, before: Published) -> list[str]:
        """Return the own and shared files that are others than where a datum was published.

        None if no record has it.
        """
        if self.head is None:
            return []
        records = record_commits(self.repo, self.head, [(before.name, before.id)])
        commit = next((commit for commit, _ in records.values()), None)
        if commit is None:
            return []
        old = own_at(self.repo, commit)
        new = {path: (file.content, file.executable) for path, file in self.visible_files.items()}
        changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
        return [posixpath.relpath(path, f"/{self.path}") if path.startswith("/") else path for path in changed]

    def refresh(self) -> None:
        """Forget what may have changed in the pipeline's own repo (after results were folded in)."""
        before, known = (self.__dict__.get("head"), self.__dict__.get("source")), self.__dict__.get("known")
        for name in ("source", "branch", "head", "image", "recipe", "exists", "accepted"):
            self.__dict__.pop(name, None)
        if self.head is None or (self.head, self.source) != before:
            for name in ("state", "own", "_own_files", "shared", "visible_files", "reserved", "outputs", "altered"):
                self.__dict__.pop(name, None)
        if known is None or not known.is_of_now():
            self.__dict__.pop("known", None)

    def close(self) -> None:
        """End the git process of this pipeline's repo."""
        self.repo.close()


def _exclusion(pattern: str, reason: str, names: Sequence[str]) -> str:
    if not names:
        return f"excluded: no datum is called {pattern}"
    what = names[0] if len(names) == 1 else f"{many(len(names), 'datum')} ({pattern})"
    return f"excluded: {what}" + (f": {reason}" if reason else "")


def _with_exclusions(plan: Plan, excluded: Mapping[str, str]) -> Plan:
    """Return the plan that says of removed datums that the spec leaves them out."""

    def with_reason(step: PlannedDatum) -> PlannedDatum:
        if step.action != "remove" or step.name not in excluded:
            return step
        reason = excluded[step.name]
        return step._replace(reason=f"excluded: {reason}" if reason else "excluded")

    return replace(plan, steps=tuple(map(with_reason, plan.steps))) if excluded else plan


class _NoResults(StoredResults):
    """The results of a pipeline that is no dataset yet: none."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self.own = self.commit = None
        self._loaded = {}
        self._shards = {}
