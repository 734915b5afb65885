"""Run records: the text of a record, what is escaped in it, and the command that it holds."""

from __future__ import annotations

import fnmatch
import glob
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipach.datums import launch_command
from minipach.model import run_record as records
from minipach.model.datum import Datum, Match, Task
from minipach.model.pipeline import Pipeline
from minipach.model.snapshot import Snapshot
from minipach.spec.load import load_spec
from minipach.support.git_objects import blob_id
from tests.fixtures.refusals import refused

# a busy machine is no fault of the code under test
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
LINE = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"])).map(str.strip).filter(bool)
NAME = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1).filter(
    lambda s: s not in (".", "..")
)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x))


def pipeline(text: str) -> Pipeline:
    return load_spec(text, source="edges/spec.yml", folder="edges")


def match(path: str, *, repo: str = "images", **changes: bool) -> Match:
    return Match(
        repo.rpartition("/")[2], repo, None, path, (), "", "", **{"lazy": False, "empty_files": False} | changes
    )


ONE = pipeline('input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/x.sh, "{images}"]}\n')
COMMITS = {("images", None): "c" * 40}


@calm
@given(LINE, st.dictionaries(TEXT, JSON))
def test_a_composed_record_reads_back(subject: str, record: dict[str, object]) -> None:
    assert records.parse(records.compose(subject, record)) == (subject, record)


@calm
@given(TEXT)
def test_text_with_the_records_own_marks_inside_reads_back(text: str) -> None:
    record = {"cmd": f"=== Do not change lines below ===\n{text}\n^^^ Do not change lines above ^^^"}
    assert records.parse(records.compose("edges: a", record))[1] == record


@pytest.mark.parametrize("message", ["", "a commit\n", "a\n\n=== Do not change lines below ===\n{}\n", "x\n^^^ Do not"])
def test_a_message_without_a_record(message: str) -> None:
    with pytest.raises(ValueError, match="no run record"):
        records.parse(message)


def test_a_record_that_is_no_object() -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        records.parse(
            "[DATALAD RUNCMD] x\n\n=== Do not change lines below ===\n[]\n^^^ Do not change lines above ^^^\n"
        )


@calm
@given(TEXT)
def test_what_datalad_formats_comes_out_as_it_was(text: str) -> None:
    assert records.escape_format(text).format(inputs="X", outputs="Y", img="Z") == text


@calm
@given(NAME)
def test_a_record_path_matches_its_own_file_after_formatting(name: str) -> None:
    """DataLad formats it first and globs then: nothing may be left to format, and the glob finds the file."""
    pattern = records.record_path(name)
    assert "{" not in pattern and "}" not in pattern
    assert fnmatch.fnmatchcase(name, pattern)
    if not set(name) & set("{}"):
        assert pattern == glob.escape(name)


@pytest.mark.parametrize("name", ["*?[a].txt", "{name}.txt", "[!x]", "a b", "-rf", "~", "$HOME"])
def test_a_record_path_finds_the_real_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (tmp_path / "other").touch()
    assert glob.glob(records.record_path(name), root_dir=tmp_path) == [name]


@calm
@given(NAME)
def test_the_command_is_words_whatever_the_name(name: str) -> None:
    """One program with quoted arguments: a shell takes it apart into exactly what was meant."""
    text = launch_command.command(
        ONE, [Task(Datum(name, (match("/" + name),)), "f" * 64, "o")], COMMITS, "j" * 32
    ).text()
    words = shlex.split(text)
    assert words[:2] == ["-P", "edges"]
    at = words.index("-d")
    assert words[at : at + 3] == ["-d", name, "o"]
    end = at + words[at:].index("-f")
    assert words[end : end + 4] == ["-f", "images", "inputs/images", "/" + name]
    assert words[-4:] == ["--", "sh", "code/x.sh", "{images}"]


def test_the_command_says_how_each_input_is_wanted() -> None:
    task = Task(Datum("n", (match("/a", lazy=True), match("/b", empty_files=True))), "f" * 64, "")
    words = shlex.split(launch_command.command(ONE, [task], COMMITS, "j").text())
    assert words[words.index("-l") :][:4] == ["-l", "images", "inputs/images", "/a"]
    assert words[words.index("-z") :][:4] == ["-z", "images", "inputs/images", "/b"]
    snapshots = {("images", None): Snapshot("c" * 40, {}, nested=["b/sub", "b/sub/[x]", "bb"])}
    assert launch_command.record_inputs(ONE, [task], snapshots) == [
        "inputs/images/a",
        "inputs/images/b",  # a link may publish it
        "inputs/images/b/sub",
        "inputs/images/b/sub/[[]x]",
    ]


def test_the_command_has_the_values_of_its_placeholders() -> None:
    spec = pipeline(
        'input: {pfs: {repo: images, glob: "/(*)-(*).png"}}\n'
        'transform: {cmd: [sh, code/x.sh, "{2}/{images.stem}", "{images}", "${name}"], err_cmd: [y, "{images.dir}"]}\n'
    )
    datum = Datum("n", (Match("images", "images", None, "/a-b.png", ("a", "b"), "", "", False, False),))
    words = shlex.split(launch_command.command(spec, [Task(datum, "f" * 64, "")], COMMITS, "j").text())
    part = words[words.index("-d") : words.index("-f")]
    values = [part[i + 1 : i + 3] for i, word in enumerate(part) if word == "-r"]
    assert values == [["2", "b"], ["images.dir", ""], ["images.stem", "a-b"]]
    assert list(records.matched(part)) == []


def test_the_command_has_the_variables_of_a_pachyderm_worker() -> None:
    task = Task(Datum("n", (match("/a"),)), "f" * 64, "")
    words = shlex.split(launch_command.command(ONE, [task], COMMITS, "j").text())
    variables = dict(word.split("=", 1) for option, word in pairwise(words) if option == "-e")
    assert (variables["PPS_NAMESPACE"], variables["PPS_POD_NAME"]) == ("default", "edges")
    blob = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/x.sh, "{images}"]}\n'
    assert variables["PPS_SPEC_COMMIT"] == blob_id(blob.encode())


def test_a_command_that_is_too_long_for_a_shell_is_refused() -> None:
    task = Task(Datum("all", tuple(match(f"/{i:0200d}") for i in range(700))), "f" * 64, "")
    with refused("datum.too-many-files", "edges/spec.yml", "'all'", "(700)"):
        launch_command.command(ONE, [task], COMMITS, "j")


def test_inputs_of_the_same_last_name_get_folders_of_their_own() -> None:
    both = pipeline(
        'input: {cross: [{pfs: {repo: a/raw, glob: "/*", name: x}}, {pfs: {repo: b/raw, glob: "/*", name: y}},\n'
        '  {pfs: {repo: c, glob: "/*"}}, {pfs: {repo: c, glob: "/*", branch: dev/1, name: d}}]}\n'
        "transform: {cmd: [sh]}\n"
    )
    assert set(records.slugs(both).values()) == {"a-raw", "b-raw", "c", "c@dev-1"}


@calm
@given(NAME)
def test_a_title_is_one_printable_line(name: str) -> None:
    title = records.title("edges", [name])
    assert title.isprintable() and title.startswith("edges: ")


def test_the_title_of_many() -> None:
    assert records.title("edges", ["a", "b", "c"]) == "edges: 3 datums, a ... c"


def _long(count: int, *, inputs: list[str] | None = None) -> dict[str, Any]:
    outputs = [f"{'d' * 80}/{'f' * 90}{number:05d}" for number in range(count)]
    datum = {"name": "a", "id": "1"}
    return {"cmd": "x", "inputs": inputs or [], "outputs": outputs, "minipach": {"datums": [datum]}}


def test_a_short_record_stays_as_it_is() -> None:
    assert records.fitted(_long(3)) == _long(3)


def test_a_record_with_many_outputs_can_be_committed_again_by_a_rerun() -> None:
    record = _long(3000)
    found = records.parse(records.compose("title", record))[1]
    assert found["outputs"] == []
    assert found["minipach"]["datums"] == [{"name": "a", "id": "1", "outputs": record["outputs"]}]
    rerun = {key: value for key, value in found.items() if key != "minipach"}  # as datalad does it
    assert len(records.compose("title", rerun).encode()) < 128 * 1024


def test_patterns_are_no_list_of_outputs() -> None:
    record = _long(3000)
    record["outputs"][0] = "a[[]1]"
    assert "outputs" not in records.fitted(record)["minipach"]["datums"][0]


def test_many_inputs_become_their_folders() -> None:
    inputs = [f"inputs/images/{name}/{'f' * 90}{number:05d}" for name in "ab" for number in range(1000)]
    found = records.fitted(_long(3, inputs=inputs))
    assert found["inputs"] == ["inputs/images/a", "inputs/images/b"]
    assert found["outputs"] == []
