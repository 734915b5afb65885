"""Make a pipeline's folder from a draft, in one step, and commit it where the user says so."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from minipach.environment.image import slug_of
from minipach.git.repo import Repo, has_folder, is_dataset, need_identity
from minipach.git.shared_modes import current_mask
from minipach.model.pipeline import BrokenSpec, default_name, folder_in
from minipach.model.recipe_kind import kind_of
from minipach.model.repo_layout import JSONNET_SPEC, SPEC, SPECS, reserved_in_pipeline
from minipach.project.parameters import working_parameters
from minipach.project.project import Project, find_project
from minipach.spec.load import load_spec
from minipach.spec.value_types import NAME, NAME_RULE
from minipach.support.errors import Problem, UserError
from minipach.support.text import nearest, printable, quoted
from minipach.templates.dockerfile import is_alone, read_dockerfile
from minipach.templates.draft import Draft, DraftFile, to_yaml
from minipach.templates.dvc import read_stage
from minipach.templates.inputs import inputs_of, only_repo
from minipach.templates.library import describe, exists, render, template_names, values_of_words
from minipach.templates.makefile import read_target
from minipach.templates.pachyderm import from_pachyderm
from minipach.templates.script import from_script, starter
from minipach.templates.snakemake import from_rule, read_rule
from minipach.templates.stage_draft import Stage, draft_from_stage

_MAX_SOURCE = 10_000_000  # bytes
_MAKEFILES = {"makefile", "gnumakefile"}
_DOCKERFILES = {"dockerfile", "containerfile"}


@dataclass(frozen=True, slots=True)
class NewPipeline:
    """The pipeline that the user asks for.

    Args:
        name: The path of the new pipeline in the project.
        source: The file that it is made from, and after a colon its target or stage; "" for none.
        inputs: `REPO` or `REPO:GLOB`, a word each.
        command: The command with its arguments; empty: as the source says.
        image: The image; "" for none.
        values: Values of a template's parameters, `NAME=VALUE` each.
        arguments: Arguments of a jsonnet template, `KEY=VALUE` each.
    """

    name: str
    source: str = ""
    inputs: Sequence[str] = ()
    command: Sequence[str] = ()
    image: str = ""
    values: Sequence[str] = ()
    arguments: Sequence[str] = ()


def draft_of(project: Project, wanted: NewPipeline, directory: Path) -> Draft:
    """Return the draft of a pipeline. Writes nothing.

    Args:
        project: The project.
        wanted: The pipeline that the user asks for.
        directory: The folder that a relative source is looked for in.

    Raises:
        UserError: The name is taken or wrong, or the source can't be used.
    """
    check_name(project, wanted.name)
    if wanted.arguments and PurePosixPath(wanted.source).suffix != ".jsonnet":
        raise UserError(Problem("new.no-arguments", "--arg", "no jsonnet template is named", "leave out --arg"))
    if wanted.values and not wanted.source:
        raise UserError(Problem("new.no-values", "--set", "no template is named", "add --from TEMPLATE"))
    draft = _from_source(project, wanted, directory) if wanted.source else _plain(project, wanted)
    if wanted.image:
        draft = replace(draft, spec={**draft.spec, "transform": {"image": wanted.image, **draft.spec["transform"]}})
    if wanted.command:
        draft = _with_command(draft, wanted.command)
    check_spec(project, to_yaml(draft), wanted.name)
    return draft


def write(project: Project, name: str, draft: Draft) -> list[str]:
    """Write the files of a draft, and return their paths in the project, sorted.

    The folder appears with all of its files, or not at all. An existing folder gets the files; none is overwritten.

    Raises:
        UserError: A file is in the way.
    """
    files = [DraftFile(SPEC, to_yaml(draft).encode()), *draft.files]
    folder = project.root / name
    taken = [file.path for file in files if os.path.lexists(folder / file.path)]
    if taken:
        raise UserError(Problem("new.file-exists", f"{name}/{taken[0]}", "exists already", "choose another name"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    project.local.drafts.mkdir(parents=True, exist_ok=True)
    # not beside the folder: what a kill leaves there would be a pipeline, too
    staged = Path(tempfile.mkdtemp(dir=project.local.drafts))
    try:
        staged.chmod(0o777 & ~current_mask())
        for file in files:
            there = staged / file.path
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(file.content)
            if file.executable:
                there.chmod((there.stat().st_mode & 0o777) | (0o111 & ~current_mask()))
        if folder.is_dir():
            _move_into(staged, folder, files)
        else:
            os.rename(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)  # renamed, if all is well
    _need_seen(project, name, files)
    return sorted(f"{name}/{file.path}" for file in files)


def commit(project: Project, name: str, paths: Sequence[str], message: str = "") -> None:
    """Commit the files of a pipeline, and nothing else, with the user's own hooks. Raises UserError."""
    own = (project.root / name / ".git").exists()
    holder = name if own else project.holder_of(name)
    repo = Repo(project.root / holder)
    need_identity(repo)
    inside = [path[len(holder) + 1 :] if holder else path for path in paths]
    repo.git("--literal-pathspecs", "add", "--", *(path for path in inside if os.path.lexists(repo.path / path)))
    message = message or f"add the pipeline {PurePosixPath(name).name}"
    repo.git("--literal-pathspecs", "commit", "--quiet", "-m", message, "--", *inside)


def check_name(project: Project, name: str) -> None:
    """Check the path of a new pipeline. Raises UserError if it is wrong or taken."""
    folder = PurePosixPath(name).name
    problem = ""
    if not re.fullmatch(NAME, folder) or not name.isprintable():
        problem = f"can't name a pipeline ({NAME_RULE})"
    elif PurePosixPath(name).is_absolute() or any(part in ("..", ".", ".git") for part in name.split("/")):
        problem = "is no path in the project"
    elif not _inside(project, name):
        problem = "leads out of the project"
    if problem:
        raise UserError(Problem("new.bad-name", "NAME", f'"{name}" {problem}', "choose another name"))
    if any((project.root / name / spec).exists() for spec in SPECS) or name in project.repos:
        fix = "choose another name, or edit its spec"
        raise UserError(Problem("new.exists", name, "a dataset or pipeline of this name exists", fix))
    if _has_committed_files(project, name):
        message = "a folder with committed files, which would become files of the pipeline"
        fix = f"choose another name; to read the folder, add --input {quoted(name)}"
        raise UserError(Problem("new.exists", name, message, fix))
    for place in project.places:
        if project.name_of(place.path) == folder and place.path != name:
            raise UserError(Problem("new.exists", place.path, "a pipeline of this name exists", "choose another name"))


def _has_committed_files(project: Project, name: str) -> bool:
    """Return whether a plain folder has files in the last commit besides code and recipes, which a spec may join."""
    holder = project.holder_of(name)
    if not (project.root / name).is_dir() or not is_dataset(project.root / holder):
        return False
    repo = Repo(project.root / holder)
    head, inside = repo.head(), folder_in(name, holder)
    if head is None or not has_folder(repo, head, inside):
        return False
    paths = [entry.path for entry in repo.ls_tree(f"{head}:{inside}")]
    return not all(reserved_in_pipeline(path) or kind_of(path) for path in paths)


def _inside(project: Project, name: str) -> bool:
    """Return whether no part of a path is a link, or anything else than a folder."""
    root = Path(os.path.realpath(project.root))
    there = Path(os.path.realpath(project.root / name))
    return there == root / name and all(not p.exists() or p.is_dir() for p in (there, *there.parents))


def _plain(project: Project, wanted: NewPipeline) -> Draft:
    words = wanted.inputs or [only_repo(project, wanted.name)]
    found, guesses = inputs_of(project, words, but=wanted.name)
    if wanted.command:
        return Draft({"input": found, "transform": {"cmd": list(wanted.command)}}, {"input": guesses})
    command, more, files = starter(_names(found)[0])
    return Draft({"input": found, "transform": {"cmd": command}}, {"input": guesses, "transform": more}, files)


def _from_source(project: Project, wanted: NewPipeline, directory: Path) -> Draft:
    if not _names_file(wanted.source, directory) and exists(wanted.source, project):
        return _from_template(project, wanted)
    if wanted.values:
        raise UserError(Problem("new.no-values", "--set", f"{wanted.source} is no template", "leave out --set"))
    file, part = _source(project, wanted.source, directory)
    kind = file.name.lower()
    if kind == "snakefile" or file.suffix == ".smk":
        if wanted.inputs:
            fix = "leave out --input"
            raise UserError(Problem("new.two-inputs", "--input", f"{file.name} says what it reads", fix))
        return from_rule(project, read_rule(file, part), wanted.name)
    if kind in _MAKEFILES or file.suffix == ".mk":
        return _staged(project, wanted, read_target(file, part), ())
    if kind in ("dvc.yaml", "dvc.yml"):
        stage, left_out = read_stage(file, part)
        return _staged(project, wanted, stage, left_out)
    if part:
        raise UserError(
            Problem("new.no-part", "--from", f"{file.name} has no parts", "leave out what follows the colon")
        )
    if file.suffix in (".json", ".yml", ".yaml", ".jsonnet"):
        if wanted.inputs:
            raise UserError(Problem("new.two-inputs", "--input", f"{file.name} has an input", "leave out --input"))
        draft = from_pachyderm(file, PurePosixPath(wanted.name).name, wanted.arguments)
        return _with_template(project, wanted.name, file, draft) if draft.rendering else draft
    words = wanted.inputs or [only_repo(project, wanted.name)]
    found, guesses = inputs_of(project, words, but=wanted.name)
    if kind in _DOCKERFILES or file.suffix.lower() in (".dockerfile", ".containerfile"):
        return _of_image(wanted, file, found, guesses)
    command, more, files = from_script(file, _names(found))
    if any(f'"$PFS/{name}"' in command[-1] for name in _names(found)):  # that is the folder of the datum's file
        before, found = _names(found), _with_variables(found)
        for name, variable in zip(before, _names(found), strict=True):
            command = [*command[:-1], command[-1].replace(f'"$PFS/{name}"', f'"${variable}"')]
    spec = {"input": found, "transform": {"cmd": command}}
    return Draft(spec, {"input": guesses, "transform": () if wanted.command else more}, files, origin=file.name)


def _with_template(project: Project, name: str, file: Path, draft: Draft) -> Draft:
    """Return the draft of a rendered spec with its template: where git tracks that in the project, else a copy."""
    source = draft.rendering
    assert source is not None
    real = Path(os.path.realpath(file))
    paths = [real.parent / other for other in source.files]
    root = Path(os.path.realpath(project.root))
    if real.is_relative_to(root / name) or _are_tracked(project, root, paths):
        return replace(draft, rendering=replace(source, template=os.path.relpath(real, root / name)))
    files, digests = [], {}
    for path in paths:
        below = JSONNET_SPEC if path == real else os.path.relpath(path, real.parent)
        digests[below] = source.files[os.path.relpath(path, real.parent)]
        files.append(DraftFile(below, path.read_bytes()))
    if len(digests) < len(paths) or {SPEC, *(file.path for file in draft.files)} & set(digests):
        fix = "copy the template to NAME/ yourself, and name that file"
        raise UserError(Problem("new.no-source", str(file), f"an import has a name such as {JSONNET_SPEC}", fix))
    rendering = replace(source, template=JSONNET_SPEC, files=digests)
    return replace(draft, files=(*draft.files, *files), rendering=rendering)


def _are_tracked(project: Project, root: Path, paths: Sequence[Path]) -> bool:
    """Return whether git tracks all files in the superdataset."""
    if not all(path.is_relative_to(root) for path in paths):
        return False
    words = [os.path.relpath(path, root) for path in paths]
    found = project.repo.git("--literal-pathspecs", "ls-files", "-z", "--", *words).split(b"\0")
    return {os.fsencode(word) for word in words} <= set(found)


def _from_template(project: Project, wanted: NewPipeline) -> Draft:
    if wanted.command or wanted.image:
        option = "--image" if wanted.image else "--"
        fix = f"see its parameters: minipach templates show {wanted.source}"
        raise UserError(Problem("new.not-of-template", option, f"{wanted.source} is a template", fix))
    values = values_of_words(describe(wanted.source, project), wanted.values)
    return render(project, wanted.source, wanted.name, values, wanted.inputs)


def _names_file(word: str, directory: Path) -> bool:
    return (directory / word).is_file() or (directory / word.rpartition(":")[0]).is_file()


def _staged(project: Project, wanted: NewPipeline, stage: Stage, left_out: Sequence[str]) -> Draft:
    if wanted.inputs:
        raise UserError(Problem("new.two-inputs", "--input", f"{stage.name} says what it reads", "leave out --input"))
    parts = draft_from_stage(project, stage, wanted.name)
    spec = {"input": parts.input, "transform": {"cmd": list(parts.command)}}
    return Draft(spec, {"transform": parts.guesses}, parts.files, (*left_out, *parts.left_out), stage.name)


def _of_image(wanted: NewPipeline, file: Path, found: dict[str, object], guesses: Sequence[str]) -> Draft:
    words, folder, left_out = read_dockerfile(file)
    if not words and not wanted.command:
        fix = "name one: minipach new NAME --from Dockerfile -- COMMAND"
        raise UserError(Problem("new.no-command", str(file), "neither CMD nor ENTRYPOINT", fix))
    if not wanted.image and is_alone(file):
        alone = {"cmd": words or list(wanted.command), **({"working_dir": folder} if folder else {})}
        notes = {
            "input": guesses,
            "transform": ["its command reads below /pfs and writes to /pfs/out"],
            "minipach": ["the first schedule builds the image, with podman, buildah or docker"],
        }
        made = {"input": found, "transform": alone, "minipach": {"environment": "Dockerfile"}}
        return Draft(made, notes, (DraftFile("Dockerfile", file.read_bytes()),), left_out, file.name)
    image = wanted.image or PurePosixPath(wanted.name).name
    transform: dict[str, object] = {"image": image, "cmd": words or list(wanted.command)}
    if folder:
        transform["working_dir"] = folder
    name = slug_of(image)
    build = f"podman build -t {name.lower()} -f {file.name} . && podman save -o {name}.tar {name.lower()}"
    more = [
        f"the image {image} is built from {file.name} and registered: {build}, "
        f"then datalad containers-add {name} --url {name}.tar",
        "its command reads below /pfs and writes to /pfs/out",
    ]
    spec = {"input": found, "transform": transform}
    return Draft(spec, {"input": guesses, "transform": more}, left_out=left_out, origin=file.name)


def _source(project: Project, word: str, directory: Path) -> tuple[Path, str]:
    """Return the file of a source, and what follows the colon. A file with a colon in its name is found, too."""
    whole = directory / word
    name, colon, part = word.rpartition(":")
    file = whole if whole.is_file() or not colon else directory / name
    if not file.is_file():
        fix = nearest(word, template_names(project)) or "name a file, or a template: minipach templates list"
        raise UserError(Problem("new.no-source", "--from", f"{printable(word)}: no such file, and no template", fix))
    if file.stat().st_size > _MAX_SOURCE:
        raise UserError(Problem("new.no-source", "--from", f"{word}: too large ({file.stat().st_size} bytes)"))
    return file, "" if file == whole else part


def _with_command(draft: Draft, words: Sequence[str]) -> Draft:
    return replace(draft, spec={**draft.spec, "transform": {**draft.spec["transform"], "cmd": list(words)}})


def _with_variables(found: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs, each with a name that can be a variable of a shell: the command reads its path there."""
    names: set[str] = set()

    def named(node: dict[str, Any]) -> dict[str, Any]:
        for kind in ("cross", "join"):
            if isinstance(members := node.get(kind), list):
                return {**node, kind: [named(member) for member in members]}
        pfs = node["pfs"]
        name = str(pfs.get("name") or default_name(str(pfs["repo"])))
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode())
        plain = re.sub(r"^(?=[0-9])|^$", "in_", plain)
        plain = next(p for p in (plain, *(f"{plain}{n}" for n in range(2, 1000))) if p not in names)
        names.add(plain)
        return node if plain == name else {"pfs": {**pfs, "name": plain}}

    return named(found)


def _names(found: dict[str, object]) -> list[str]:
    """Return the names of the inputs, which are folders below `/pfs`."""
    for kind in ("cross", "join"):
        members = found.get(kind)
        if isinstance(members, list):
            return [name for member in members for name in _names(member)]
    pfs = found["pfs"]
    assert isinstance(pfs, dict)
    return [str(pfs.get("name") or default_name(str(pfs["repo"])))]


def check_spec(project: Project, text: str, name: str) -> None:
    """Check a new spec of a pipeline, with the parameters of the working tree. Raises UserError."""
    folder = PurePosixPath(name).name
    params = working_parameters(project.root).of(folder, name) if "{{" in text else None
    try:
        load_spec(text, source=SPEC, folder=folder, params=params)
    except BrokenSpec as error:
        raise UserError(error.problems) from None


def _move_into(staged: Path, folder: Path, files: Sequence[DraftFile]) -> None:
    """Move files into a folder that exists. The spec comes last: without it, there is no pipeline yet."""
    for file in sorted(files, key=lambda f: (f.path == SPEC, f.path)):
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        os.link(staged / file.path, folder / file.path)  # fails, where a rename would replace a file


def _need_seen(project: Project, name: str, files: Sequence[DraftFile]) -> None:
    if name in {place.path for place in find_project(project.root).places}:
        return
    for file in files:
        (project.root / name / file.path).unlink(missing_ok=True)
    for folder in sorted({(project.root / name / file.path).parent for file in files}, reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    holder = project.holder_of(name) or "a folder that git ignores"
    raise UserError(
        Problem("new.not-seen", name, f"no place for a pipeline: it lies in {holder}", "choose another folder")
    )
