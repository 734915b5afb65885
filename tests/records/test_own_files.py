"""A pipeline's own files, wherever they are in its repository, and shared code: seen, counted, recorded."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from minipach.records.own_files import own_entries
from minipach.records.published_state import Published
from tests.fixtures import reruns
from tests.fixtures.projects import Study
from tests.fixtures.repos import Files
from tests.fixtures.reruns import clone, datum_records, rerun, said
from tests.fixtures.stories import counts

without_minipach = reruns.without_minipach


def with_one_image(tmp_path: Path, cmd: str, more: str = "") -> Study:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform: {{cmd: {cmd}}}\n{more}')
    (study.root / "edges/code").rmdir()
    return study


def write(study: Study, path: str, text: str) -> None:
    there = study.root / path
    there.parent.mkdir(parents=True, exist_ok=True)
    there.unlink(missing_ok=True)
    there.write_text(text)


@pytest.mark.slow
def test_scripts_beside_the_spec_reach_the_command_and_count(tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = with_one_image(tmp_path, "[sh, run.sh]")
    write(study, "edges/run.sh", '. scripts/lib.sh\nlsall >"$PFS/out/files"\ncp "$images" "$PFS/out/"\n')
    write(study, "edges/scripts/lib.sh", "lsall() { find . -type f | sort; }\n")
    write(study, "edges/README.md", "not seen\n")
    study.schedule()
    assert study.read("edges/files") == b"./run.sh\n./scripts/lib.sh\n", "no spec, no README, none of our own files"
    first = study.git("edges", "rev-parse", "HEAD")
    assert study.minipach("schedule").out == "nothing to do\n"
    assert said(study, "edges") == {"a.txt": ("current", "")}, "outputs are no own files"
    study.put("edges/README.md", "still not\n")
    assert said(study, "edges")["a.txt"][0] == "current"
    study.put("edges/scripts/lib.sh", "lsall() { find . -type f | sort -r; }\n")
    assert said(study, "edges") == {"a.txt": ("run", "scripts/lib.sh changed")}
    study.put("edges/more.txt", "a new file\n")
    assert said(study, "edges") == {"a.txt": ("run", "more.txt changed; scripts/lib.sh changed")}
    assert counts(study.schedule()["edges"]) == {"ran": 1}
    assert study.read("edges/files") == b"./scripts/lib.sh\n./run.sh\n./more.txt\n"
    diff = study.minipach("diff", "edges", first, "HEAD", "--json").json
    assert {row["path"] for row in diff["code"]} == {"more.txt", "scripts/lib.sh"}
    assert diff["outputs"]["added"] == [] and diff["outputs"]["changed"] == ["files"]
    assert study.git("edges", "status", "--porcelain") == ""
    assert study.minipach("schedule").out == "nothing to do\n"
    assert study.minipach("audit", "--all").code == 0
    alone = clone(study, "edges", tmp_path / "alone", without_minipach)
    rerun(alone, ".", datum_records(study, "edges")["a.txt"][0], without_minipach)
    study.remove("edges/more.txt")
    assert said(study, "edges") == {"a.txt": ("run", "more.txt changed")}


@pytest.mark.slow
def test_outputs_are_not_read_for_files_in_code(tmp_path: Path) -> None:
    """Of 100,000 datums, this would take most of a minute after each commit of code."""
    repo = Files.create(tmp_path / "edges")
    repo.put("code/step.sh", "true")
    repo.put(".minipach/files", "notes.txt\n")
    repo.put("notes.txt", "1")
    repo.commit()
    state = {"a": Published("a", "77", "")}

    def paths_of(olds: Sequence[Published]) -> list[str]:
        raise AssertionError(olds)

    assert [e.path for e in own_entries(repo, "HEAD", state, paths_of)] == ["code/step.sh", "notes.txt"]
    repo.put("more.txt", "1")
    repo.put("a.out", "1")
    repo.commit()
    found = own_entries(repo, "HEAD", state, lambda olds: [f"{old.name}.out" for old in olds])
    assert [e.path for e in found] == ["code/step.sh", "more.txt", "notes.txt"]


@pytest.mark.slow
def test_own_files_are_no_data_for_what_is_downstream(tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = with_one_image(tmp_path, "[sh, run.sh]")
    write(study, "edges/run.sh", 'cp "$images" "$PFS/out/"\n')
    write(study, "edges/scripts/more.sh", "true\n")
    study.pipeline(
        "sheet",
        'input: {pfs: {repo: edges, glob: "/"}}\ntransform: {cmd: [sh, code/sheet.sh]}\n',
        sheet='cd "$edges" && find . -type f >"$PFS/out/files"\n',
    )
    study.schedule()
    assert study.read("sheet/files") == b"./a.txt\n"
    study.put("edges/scripts/another.sh", "true\n")
    study.schedule()
    assert said(study, "sheet") == {"/": ("current", "")}
    alone = clone(study, "sheet", tmp_path / "alone", without_minipach)
    rerun(alone, ".", datum_records(study, "sheet")["/"][0], without_minipach)


@pytest.mark.slow
def test_code_may_be_a_link_to_a_folder(tmp_path: Path) -> None:
    study = with_one_image(tmp_path, "[sh, code/run.sh]")
    write(study, "edges/src/run.sh", 'cp "$images" "$PFS/out/"\n')
    (study.root / "edges/code").symlink_to("src")
    assert counts(study.schedule()["edges"]) == {"ran": 1}
    study.put("edges/src/run.sh", 'cat "$images" "$images" >"$PFS/out/a.txt"\n')
    assert said(study, "edges") == {"a.txt": ("run", "src/run.sh changed")}
    study.schedule()
    assert study.read("edges/a.txt") == b"alpha\nalpha\n"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a plain folder", "a dataset"])
def test_shared_code_is_pinned_recorded_and_visible(
    kind: str, tmp_path: Path, without_minipach: dict[str, str]
) -> None:
    study = with_one_image(tmp_path, "[sh, run.sh]", "minipach: {code: [../lib]}\n")
    write(study, "edges/run.sh", ". ../lib/sub/x.sh\nboth\ncp ../lib/table.bin $PFS/out/\n")
    if kind == "a dataset":
        study.ok("datalad", "create", "-d", ".", "lib")
    write(study, "lib/sub/x.sh", 'both() { cat "$images" "$images" >"$PFS/out/twice"; }\n')
    (study.root / "lib/table.bin").write_bytes(bytes(range(256)))
    study.ok("datalad", "save", "-r", "-m", "shared code")
    study.schedule()
    assert study.read("edges/twice") == b"alpha\nalpha\n"
    assert study.read("edges/table.bin") == bytes(range(256))
    assert study.minipach("schedule").out == "nothing to do\n"
    alone = clone(study, "edges", tmp_path / "alone", without_minipach)
    rerun(alone, ".", datum_records(study, "edges")["a.txt"][0], without_minipach)
    write(study, "lib/sub/x.sh", 'both() { cat "$images" >"$PFS/out/once"; }\n')
    study.ok("datalad", "save", "-r", "-m", "another")
    assert said(study, "edges") == {"a.txt": ("run", "../lib/sub/x.sh changed")}
    study.schedule()
    assert sorted(study.outputs("edges")) == ["once", "run.sh", "table.bin"]
    assert study.minipach("audit", "--all").code == 0


@pytest.mark.slow
def test_a_subdataset_in_code_is_seen(tmp_path: Path, without_minipach: dict[str, str]) -> None:
    study = with_one_image(tmp_path, "[sh, code/tools/run.sh]")
    study.ok("datalad", "create", "--force", "-d", ".", "edges")
    study.ok("datalad", "create", "-d", "edges", "edges/code/tools")
    write(study, "edges/code/tools/run.sh", 'cp "$images" "$PFS/out/"\n')
    study.ok("datalad", "save", "-r", "-m", "a tool")
    assert counts(study.schedule()["edges"]) == {"ran": 1}
    alone = clone(study, "edges", tmp_path / "alone", without_minipach)
    rerun(alone, ".", datum_records(study, "edges")["a.txt"][0], without_minipach)
    write(study, "edges/code/tools/run.sh", 'cat "$images" >"$PFS/out/a.txt"\n')
    study.ok("datalad", "save", "-r", "-m", "another tool")
    assert said(study, "edges") == {"a.txt": ("run", "code/tools/run.sh changed")}
    write(study, "edges/code/tools/run.sh", 'echo edited >"$PFS/out/a.txt"\n')
    tried = study.minipach("run-one", "edges:a.txt")
    assert "edited" in tried.out
    assert "edges: uncommitted changes are used (code/tools/run.sh); " in tried.err
    assert "edited" not in study.minipach("run-one", "--committed", "edges:a.txt").out
    left_out = f"edges: uncommitted changes are left out (code/tools/run.sh); datalad save -r -d {study.root}/edges\n"
    assert study.minipach("plan").err.count(left_out) == 1


@pytest.mark.slow
def test_shared_content_that_is_not_to_be_had_is_told(tmp_path: Path) -> None:
    study = with_one_image(tmp_path, "[sh, run.sh]", "minipach: {code: [../lib]}\n")
    write(study, "edges/run.sh", 'cp ../lib/table.bin "$PFS/out/"\n')
    study.ok("datalad", "create", "-d", ".", "lib")
    (study.root / "lib/table.bin").write_bytes(bytes(range(256)))
    study.ok("datalad", "save", "-r", "-m", "shared code")
    tried = study.minipach("run-one", "edges:a.txt")
    assert tried.code == 2
    assert tried.reports("code.needs-dataset", None, "minipach schedule")
    study.git("lib", "annex", "drop", "--quiet", "--force", "table.bin")
    done = study.minipach("schedule")
    assert done.code == 2
    assert done.reports("code.content-missing") and "Traceback" not in done.err


def test_shared_code_that_is_not_there_is_told(tmp_path: Path) -> None:
    study = with_one_image(tmp_path, "[sh, run.sh]", "minipach: {code: [../lib]}\n")
    write(study, "edges/run.sh", "true\n")
    done = study.minipach("check")
    assert done.code == 2
    assert done.reports("code.no-such-file", "edges/spec.yml", "../lib")


@pytest.mark.slow
def test_uncommitted_shared_code_is_tried_and_not_published(tmp_path: Path) -> None:
    study = with_one_image(tmp_path, "[sh, run.sh]", "minipach: {code: [../lib]}\n")
    write(study, "edges/run.sh", '. ../lib/x.sh\n{ word; cat "$images"; } >"$PFS/out/a.txt"\n')
    write(study, "lib/x.sh", "word() { echo first; }\n")
    study.ok("git", "add", "lib")
    study.ok("git", "commit", "-q", "-m", "shared code")
    study.schedule()
    write(study, "lib/x.sh", "word() { echo second; }\n")
    write(study, "lib/new.sh", "")
    tried = study.minipach("run-one", "edges:a.txt")
    assert "second" in tried.out
    assert tried.err.splitlines()[0] == (
        "edges: uncommitted changes are used (../lib/x.sh, ../lib/new.sh); --committed uses the last commit"
    )
    assert "first" in study.minipach("run-one", "--committed", "edges:a.txt").out
    spec = (study.root / "edges/spec.yml").read_text()
    (study.root / "edges/spec.yml").write_text(spec.replace("[../lib]", "[../lib, ../other]"))
    assert study.minipach("check").reports("code.no-such-file", "edges/spec.yml", "../other")
    write(study, "other/y.sh", "")
    assert study.minipach("check").code == 0
    (study.root / "edges/spec.yml").write_text(spec)
    shutil.rmtree(study.root / "other")
    left_out = f"lib: uncommitted changes are left out (lib/x.sh, lib/new.sh); datalad save -d {study.root}\n"
    for command in ("plan", "schedule", "status"):
        assert study.minipach(command).err.count(left_out) == 1, command
    assert study.read("edges/a.txt").startswith(b"first\n")
    assert study.git(".", "status", "--porcelain").split() == ["M", "lib/x.sh", "??", "lib/new.sh"]
