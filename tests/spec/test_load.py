"""A spec.yml is read strictly: what is wrong is named with its line, its column and a way out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.model.pipeline import (
    BrokenSpec,
    Combination,
    Limits,
    Metadata,
    PfsInput,
    Pipeline,
    Resources,
    Secret,
    Transform,
)
from minipach.spec.legacy_fields import obsolete
from minipach.spec.load import json_schema, load_spec
from minipach.spec.yaml_reader import camel
from minipach.support.errors import UserError

INPUT = "input: {pfs: {repo: images, glob: /*}}\n"
TRANSFORM = "transform: {cmd: [python3, code/edges.py]}\n"
MINIMAL = INPUT + TRANSFORM


def read(text: str, folder: str = "edges") -> Pipeline:
    return load_spec(text, source="edges/spec.yml", folder=folder)


def problems(text: str, folder: str = "edges") -> list[str]:
    """Every problem, as `line:column: text`."""
    with pytest.raises(UserError) as caught:
        read(text, folder)
    found = list(map(str, caught.value.problems))
    assert all(problem.startswith("edges/spec.yml:") for problem in found)
    return [problem.removeprefix("edges/spec.yml:") for problem in found]


def problem(text: str) -> str:
    (only,) = problems(text)
    return only


def places(text: str) -> list[str]:
    return [":".join(found.split(":")[:2]) for found in problems(text)]


# A spec that is right


def test_the_smallest_spec_gets_every_default() -> None:
    assert read(MINIMAL) == Pipeline(
        name="edges",
        input=PfsInput(name="images", repo="images", glob="/*"),
        transform=Transform(image=None, cmd=("python3", "code/edges.py")),
        source="edges/spec.yml",
    )
    assert read(MINIMAL).datum_tries == 3
    assert read(MINIMAL).out == "/"
    assert read(MINIMAL).notes == ()


PACHYDERM = """\
pipeline: {name: edges, project: {name: default}}
description: Edge detection.
metadata: {annotations: {owner: me}, labels: {b: 2, a: x}}
input:
  cross:
    - pfs: {repo: images, branch: master, glob: "/(*)", lazy: true, emptyFiles: false, s3: false}
    - union:
        - join:
            - pfs: {repo: raw/t1, name: left, glob: "/(*).nii", joinOn: "$1", outerJoin: true}
            - pfs: {repo: t2, glob: "/(*).nii", joinOn: "${1}$$"}
        - group:
            - pfs: {repo: t2, glob: "/(*)-*", groupBy: "$0"}
transform:
  image: opencv
  cmd: [python3, /edges.py, 1.10, -5]
  stdin: [first, second]
  env: {B: 010, A: "yes"}
  acceptReturnCode: [3, "1", 3]
  workingDir: /home
datumTries: "5"
parallelismSpec: {constant: "10"}
resourceRequests: {cpu: 0.5, memory: 1.5Gi, disk: 10G, gpu: {type: nvidia.com/gpu, number: 2}}
resourceLimits: {cpu: 500m, memory: 7}
salt: 0a
reprocessSpec: until_success
autoscaling: true
schedulingSpec: {nodeSelector: {kubernetes.io/hostname: x}}
tolerations: [{key: a, operator: EXISTS}]
podPatch: '[{"op": "add"}]'
sidecarResourceLimits: {memory: 1G}
outputBranch: master
maximumExpectedUptime: 30m
s3Out: false
"""


def test_a_pachyderm_spec_keeps_its_meaning() -> None:
    pipeline = read(PACHYDERM)
    assert pipeline.input == Combination(
        "cross",
        (
            PfsInput(name="images", repo="images", branch="master", glob="/(*)", lazy=True),
            Combination(
                "union",
                (
                    Combination(
                        "join",
                        (
                            PfsInput("left", "raw/t1", "/(*).nii", join_on="$1", outer_join=True),
                            PfsInput("t2", "t2", "/(*).nii", join_on="${1}$$"),
                        ),
                    ),
                    Combination("group", (PfsInput("t2", "t2", "/(*)-*", group_by="$0"),)),
                ),
            ),
        ),
    )
    assert [found.name for found in pipeline.pfs_inputs()] == ["images", "left", "t2", "t2"]
    assert pipeline.transform == Transform(
        image="opencv",
        cmd=("python3", "/edges.py", "1.10", "-5"),
        stdin=("first", "second"),
        env=(("A", "yes"), ("B", "010")),
        accept_return_code=(1, 3),
        working_dir="/home",
    )
    assert pipeline.metadata == Metadata((("owner", "me"),), (("a", "x"), ("b", "2")))
    assert (pipeline.datum_tries, pipeline.parallelism, pipeline.salt) == (5, 10, "0a")
    assert pipeline.resource_requests == Resources(0.5, 3 * 2**29, 10**10, "nvidia.com/gpu", 2)
    assert pipeline.resource_limits == Resources(0.5, 7)


def test_what_has_no_effect_is_a_note_at_its_line() -> None:
    notes = [str(note).removeprefix("edges/spec.yml:").split("` ")[0] for note in read(PACHYDERM).notes]
    assert notes == [
        "1:25: `project",
        "26:1: `autoscaling",
        "30:1: `sidecar_resource_limits",
        "32:1: `maximum_expected_uptime",
    ]


def test_keys_of_joins_and_groups_are_noted_where_they_do_nothing() -> None:
    text = 'input: {pfs: {repo: a, glob: "(*)", join_on: $1, groupBy: $1, outer_join: true}}\n' + TRANSFORM
    assert [note.message for note in read(text).notes] == [
        "`join_on` changes nothing outside a join",
        "`group_by` changes nothing outside a group",
        "`outer_join` changes nothing outside a join",
    ]
    nested = 'input: {join: [{union: [{pfs: {repo: a, glob: "(*)", join_on: $1}}]}]}\n' + TRANSFORM
    assert read(nested).notes == ()


def test_json_is_read_like_yaml_even_with_tabs_and_surrogates() -> None:
    data = {
        "input": {"pfs": {"repo": "images", "glob": "/\\*", "name": "😀"}},
        "transform": {"cmd": ["a\tb"]},
    }
    pipeline = read(json.dumps(data, indent="\t"))
    assert pipeline.pfs_inputs() == (PfsInput(name="😀", repo="images", glob="/\\*"),)
    assert pipeline.transform.cmd == ("a\tb",)


def test_anchors_and_merge_keys_are_fine() -> None:
    text = """\
input:
  join:
    - pfs: &base {repo: a, glob: "/(*)", join_on: $1}
    - pfs: {<<: *base, repo: b}
transform: {cmd: &c [x, y], stdin: *c}
"""
    pipeline = read(text)
    assert [(found.repo, found.join_on) for found in pipeline.pfs_inputs()] == [("a", "$1"), ("b", "$1")]
    assert pipeline.transform.stdin == ("x", "y")


def test_our_own_keys() -> None:
    pipeline = read(MINIMAL + 'minipach: {identity: path, out: "{name}/", publish: available}')
    assert (pipeline.identity, pipeline.out, pipeline.publish) == ("path", "{name}/", "available")


def test_a_repo_is_a_path_in_the_project() -> None:
    assert read("input: {pfs: {repo: ./raw//t1/, glob: /}}\n" + TRANSFORM).pfs_inputs()[0] == PfsInput(
        name="t1", repo="raw/t1", glob="/"
    )


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1", 1),
        ('"1"', 1),
        ("1k", 1000),
        ("1.5Ki", 1536),
        ("0.1", 1),
        ("2Gi", 2**31),
        ("1E", 10**18),
        ("3M", 3 * 10**6),
    ],
)
def test_memory_in_bytes(written: str, size: int) -> None:
    requests = read(MINIMAL + f"resource_requests: {{memory: {written}}}").resource_requests
    assert requests == Resources(memory=size)


# A spec that is wrong


def test_every_problem_is_reported_at_once_in_order() -> None:
    text = """\
pipline: {name: edges}
cmd: [a]
input:
  cross:
    - pfs: {repo: /images, glob: "\\\\*/[a", joinOn: $1, join_on: $2, s3: true}
    - pfs: {repo: x/a, glob: "*", join_on: "$2 $x"}
    - pfs: {repo: a, branch: -x}
    - {}
    - 5
transform:
  cmd: echo
  image:
  env: {A: yes, 1b: 3, D: [1]}
datumTries: 0
reprocess_spec: until_sucess
"""
    found = problems(text)
    assert [":".join(one.split(":")[:2]) for one in found] == [
        "1:1",
        "2:1",
        "5:19",
        "5:39",
        "5:44",
        "5:69",
        "6:45",
        "6:48",
        "7:12",
        "7:19",
        "7:30",
        "8:7",
        "9:7",
        "11:8",
        "12:9",
        "13:12",
        "13:17",
        "13:27",
        "14:13",
        "15:17",
    ]
    assert all(". Fix: " in one for one in found)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("pipline: x", '3:1: unknown key "pipline". Fix: use `pipeline`'),
        ("datumTrys: 1", '3:1: unknown key "datumTrys". Fix: use `datum_tries`'),
        ("cmd: [x]", '3:1: unknown key "cmd" here. Fix: move it below `transform`'),
        ("glob: /", '3:1: unknown key "glob" here. Fix: move it below `input.pfs`'),
        ("metadata: {zebra: 1}", '3:12: unknown key "zebra". Fix: use one of: annotations, labels'),
        ("minipach: {salt: 1}", '3:12: unknown key "salt" here. Fix: move it to the top'),
        ("datum_tries: 1\ndatumTries: 2", "4:1: `datumTries` is there already as `datum_tries`. Fix: keep one"),
        ("salt: a\nsalt: b", '4:1: "salt" is there twice, first in line 3. Fix: keep one'),
        ("minipach: {publish: complet}", '3:21: `publish` can\'t be "complet". Fix: use complete'),
        ("minipach: {publish: 7}", '3:21: `publish` can\'t be "7". Fix: write complete or available'),
        ("datum_tries: 0", "3:14: 0 tries. Fix: write 1 or more, the first one counts"),
        ("datum_tries: 1.5", "3:14: a whole number is needed here. Fix: write it in digits, as in 3"),
        ("datum_tries: 0x10", "3:14: a whole number is needed here. Fix: write it in digits, as in 3"),
        (
            "parallelism_spec: 3",
            "3:19: `parallelism_spec` needs keys and values. Fix: write them below it, indented",
        ),
        ("parallelism_spec: {constant: -1}", "3:30: -1 is less than nothing. Fix: write 0 or more"),
        ("salt: on", "3:7: true or false to YAML, but this is text. Fix: put it in quotes"),
        ("salt: ~", "3:7: no value. Fix: give one, or remove the line"),
        ("salt: [a]", "3:7: text is needed here, not a list. Fix: put it in quotes if it is text"),
        ('salt: "a\\0"', "3:7: a zero character, which no program can take. Fix: remove it"),
        ("resource_limits: {cpu: .inf}", "3:24: not a number of CPUs. Fix: write it as in 2, 0.5 or 500m"),
        ("resource_limits: {memory: 2 GB}", "3:27: not a quantity. Fix: write bytes, as in 512M, 2Gi or 1.5G"),
        ("resource_limits: {disk: -1}", "3:25: not a quantity. Fix: write bytes, as in 512M, 2Gi or 1.5G"),
        ("resource_limits: {memory: 5m}", "3:27: thousandths of a byte. Fix: write bytes, as in 512M or 512Mi"),
        (
            "pipeline: {name: other}",
            '3:18: "other" is in the folder "edges". Fix: rename one of them, or remove the line',
        ),
    ],
)
def test_one_problem_one_line(extra: str, expected: str) -> None:
    assert problem(MINIMAL + extra) == expected


@pytest.mark.parametrize(
    ("pfs", "expected"),
    [
        ("glob: /", "`pfs` has no `repo`. Fix: add it"),
        ("repo: a", "`pfs` has no `glob`. Fix: add it"),
        ("repo: /a, glob: /", '"/a" is an absolute path. Fix: write the dataset'),
        ("repo: a/../b, glob: /", '"a/../b" leads out by `..`. Fix: write'),
        ("repo: ./, glob: /", '"./" names no repo. Fix: write'),
        ("repo: a, glob: /, name: out", 'an input can\'t be called "out", where results go. Fix: give'),
        ("repo: raw/out, glob: /", 'an input can\'t be called "out", where results go. Fix: give'),
        ("repo: a, glob: /, name: .b", '".b" can\'t be a folder below /pfs. Fix: give'),
        ("repo: .git, glob: /", '".git" can\'t be a folder below /pfs. Fix: give'),
        ("repo: a, glob: /, name: b/c", '"b/c" can\'t be a folder below /pfs. Fix: give'),
        ("repo: a, glob: /, branch: --upload-pack=x", "\"--upload-pack=x\" can't be a branch's name. Fix: use"),
        ("repo: a, glob: /, branch: git-annex", '"git-annex" is git-annex\'s own branch. Fix: name the one'),
        ("repo: a, glob: /, branch: synced/main", '"synced/main" is git-annex\'s own branch. Fix: name the one'),
        ("repo: a, glob: /, branch: minipach", '"minipach" is minipach\'s own branch. Fix: name the one'),
        ("repo: a, glob: /, branch: minipach/x", '"minipach/x" is minipach\'s own branch. Fix: name the one'),
        ("repo: a, glob: /, branch: a..b", "\"a..b\" can't be a branch's name. Fix: use"),
        ("repo: a, glob: /, lazy: 1", "true or false is needed here. Fix: write one of them"),
        ("repo: a, glob: '(*)', join_on: $2", "$2 names no capture, the glob has 1. Fix: put"),
        ("repo: a, glob: '*', join_on: a$", "a `$` without a number. Fix: write $1"),
        ("repo: a, glob: !(b)*", "plain text can't start with an exclamation mark. Fix: put it in quotes"),
        ("repo: a, glob: !(b) ", 'the tag "!(b)" means nothing here. Fix: remove it, or add quotes'),
    ],
)
def test_an_input_that_cannot_be(pfs: str, expected: str) -> None:
    assert expected in problem(f"input: {{pfs: {{{pfs}}}}}\n{TRANSFORM}")


@pytest.mark.parametrize("glob", ["/[a", "'/[a'", '"/[a"', '"\\\\*[a"', "'''[a'", '"\\x41[a"', "&glob '/[a'"])
def test_a_bad_glob_is_shown_at_the_bad_character(glob: str) -> None:
    line = f"  pfs: {{repo: a, name: b, glob: {glob}}}" if glob != "/[a" else "  pfs:\n    glob: /[a\n    repo: a"
    text = f"input:\n{line}\n{TRANSFORM}"
    where = next(row for row in text.split("\n") if "glob" in row)
    assert places(text) == [f"2:{where.index('[') + 1}" if glob != "/[a" else f"3:{where.index('[') + 1}"]


def test_names_are_unique_except_across_a_union() -> None:
    a, b = "{pfs: {repo: a, glob: /}}", "{pfs: {repo: x/a, glob: /}}"
    assert read(f"input: {{union: [{a}, {b}]}}\n{TRANSFORM}").notes == ()
    taken = 'the input name "a" is used in line 1. Fix: give this one another `name`'
    for kind in ("cross", "join", "group"):
        keyed = [node.replace("glob: /", "glob: /, join_on: $0, group_by: $0") for node in (a, b)]
        assert taken in problem(f"input: {{{kind}: [{', '.join(keyed)}]}}\n{TRANSFORM}")
    assert taken in problem(f"input: {{cross: [{{union: [{a}, {a}]}}, {b}]}}\n{TRANSFORM}")


def test_an_input_is_exactly_one_kind() -> None:
    assert "this has none" in problem("input: {}\n" + TRANSFORM)
    both = "input: {pfs: {repo: a, glob: /}, cross: [{pfs: {repo: b, glob: /}}]}\n" + TRANSFORM
    assert "this has `pfs` and `cross`" in problem(both)
    assert problem("input: {cross: []}\n" + TRANSFORM).startswith("1:16: an empty list. Fix: give it")


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("image: x", "1:12: `transform` has no `cmd`. Fix: add it"),
        ("cmd: echo hi", "1:18: a list of words is needed here, no shell reads it. Fix: write"),
        ("cmd: []", "1:18: an empty command. Fix: name a program"),
        ('cmd: [""]', "1:18: an empty command. Fix: name a program"),
        ("cmd: [x, yes]", "1:22: true or false to YAML, but this is text. Fix: put it in quotes"),
        ("cmd: [x, {a: b}]", "1:22: text is needed here, not a mapping. Fix: put"),
        ("cmd: [x], env: {minipach_a: 1}", '1:29: "minipach_a": names that begin with minipach_ are minipach\'s own'),
        ("cmd: [x], env: {a-b: 1}", "1:29: \"a-b\" can't be a variable's name. Fix: use"),
        ("cmd: [x], env: [A]", "1:28: `env` needs keys and values. Fix: write"),
        ("cmd: [x], env: {A: }", "1:31: no value. Fix: give one, or remove the line"),
        ("cmd: [x], accept_return_code: [256]", "1:44: 256 can't be an exit code. Fix: write one from 0 to 255"),
        ("cmd: [x], stdin: hello", "1:30: a list is needed here. Fix: write [a, b], or one"),
    ],
)
def test_a_transform_that_cannot_be(transform: str, expected: str) -> None:
    assert problem(f"transform: {{{transform}}}\n{INPUT}").startswith(expected)


NOT_BUILT = [
    "transform: {cmd: [x], user: me}",
]
NOT_SUPPORTED = [
    "input: {pfs: {repo: a, glob: /, s3: true}}",
    "input: {pfs: {repo: a, glob: /, commit: abc}}",
    "egress: {URL: s3://x}",
    "service: {internal_port: 80}",
    "spout: {}",
    "s3_out: true",
    "tf_job: {}",
    "determined: {workspaces: [a]}",
]


@pytest.mark.parametrize("line", NOT_BUILT)
def test_what_is_not_built_yet_says_so(line: str) -> None:
    text = line + "\n" + (INPUT if "input" not in line else "") + (TRANSFORM if "transform" not in line else "")
    assert "is not built yet. Fix: " in problem(text)
    assert problem(text).startswith("1:")


@pytest.mark.parametrize("line", NOT_SUPPORTED)
def test_what_is_not_supported_says_so(line: str) -> None:
    text = line + "\n" + (INPUT if "input" not in line else "") + TRANSFORM
    assert "is not supported. Fix: " in problem(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2h30m", 9000), ("1.5h", 5400), ("100ms", 0.1), ("0s", None), ('""', None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert read(f"datum_timeout: {text}\njobTimeout: {text}\n{MINIMAL}").datum_timeout == seconds
    assert read(f"datum_timeout: {text}\njobTimeout: {text}\n{MINIMAL}").job_timeout == seconds


@pytest.mark.parametrize("text", ["90", "'90'", "-1s", "1d", "s", "1 h", "true", "[1s]"])
def test_what_is_no_duration(text: str) -> None:
    assert problem(f"datum_timeout: {text}\n{MINIMAL}").startswith("1:16: not a duration. Fix: write it with its unit")


def test_err_cmd_and_secrets() -> None:
    found = read(
        "transform: {cmd: [x], err_cmd: [y, 1], errStdin: [z], secrets: [{name: s3, envVar: B, key: id}, "
        "{name: other.one, env_var: A}]}\n" + INPUT
    ).transform
    assert (found.err_cmd, found.err_stdin) == (("y", "1"), ("z",))
    assert [(s.name, s.env_var) for s in found.secrets] == [("other.one", "A"), ("s3/id", "B")]


def test_a_secret_is_a_file_by_its_key_or_name() -> None:
    found = read(
        "transform: {cmd: [x], secrets: [{name: db, mountPath: /s/, key: password}, {name: db, mount_path: /s}, "
        f"{{name: db, mount_path: /t, key: k, env_var: K}}]}}\n{INPUT}"
    )
    assert found.transform.secrets == (
        Secret("db", file="/s/db"),
        Secret("db/password", file="/s/password"),
        Secret("db/k", "K", "/t/k"),
    )
    (note,) = found.notes
    assert note.location.startswith("edges/spec.yml:1:") and note.message == "the secret is the file /s/db"
    assert note.fix == "to give the file another name, add `key`"


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ("{name: ../a, env_var: A}", "can't be a secret's name"),
        ("{name: a, env_var: PATH}", '"PATH" has a meaning of its own'),
        ("{name: a, env_var: SET}", 'the variable "SET" is set twice'),
        ("{name: a.b, env_var: A}, {name: a-b, env_var: B}", "have the same variable MINIPACH_SECRET_A_B"),
        ("{name: a}", "the secret goes nowhere. Fix: add `env_var` (a variable) or `mount_path` (a folder)"),
        ("{name: a, mount_path: x}", '"x" is no absolute path. Fix: write an absolute path of its own, as in /secrets'),
        ("{name: a, mount_path: /pfs/x}", '"/pfs/x" is used by the system or by minipach. Fix: '),
        ("{name: a, mount_path: /a/../b}", 'holds "..", ":", "=" or a control character. Fix: '),
        (
            "{name: a, mount_path: /x, key: k}, {name: b, mount_path: /x/, key: k}",
            "a second secret in the file /x/k. Fix: ",
        ),
    ],
)
def test_secrets_that_can_not_be(secrets: str, expected: str) -> None:
    assert expected in problem(f"transform: {{cmd: [x], env: {{SET: x}}, secrets: [{secrets}]}}\n{INPUT}")


def test_a_refused_field_that_is_not_set_is_no_problem() -> None:
    text = 's3_out: false\ntransform: {cmd: [x], user: "", secrets: [], datum_batching: false}\n' + INPUT
    assert read(text).transform.cmd == ("x",)


def test_the_folder_must_be_able_to_name_a_pipeline() -> None:
    assert 'the folder "my edges" can\'t name a pipeline' in problems(MINIMAL, folder="my edges")[0]
    assert read(MINIMAL, folder="a" * 63).name == "a" * 63
    assert problems(MINIMAL, folder="a" * 64)


def test_the_out_template_is_checked_even_when_something_else_is_wrong() -> None:
    found = problems(MINIMAL + "minipach: {out: '{nope}'}\nsalt: yes")
    assert found[0].startswith("3:17: ") and "nope" in found[0]
    assert found[1].startswith("4:7: ")


# A file that is no spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the spec is empty. Fix: write"),
        ("# nothing\n", "1:1: the spec is empty. Fix: write"),
        (
            "- input: a\n- input: b",
            "1:1: a list. Fix: put each pipeline into the spec.yml of its own folder",
        ),
        (
            f"{MINIMAL}---\n{MINIMAL}",
            "3:1: a second document starts here. Fix: move it into a folder of its own: NAME",
        ),
        ("{}\n{}", "2:1: a second document starts here. Fix: move it into a folder of its own: NAME"),
        ("hello", "1:1: no spec. Fix: write keys and values"),
        ("a: b: c", "1:5: not YAML: a colon that can't be here. Fix: "),
        ("a:\n\t- b", "2:1: not YAML: a tab. Fix: indent with spaces"),
        ("x: 1\na: 'b", "2:4: not YAML: the file ends inside quotes. Fix: close them"),
        ("{a: 1", "1:1: not YAML: a bracket, brace or comma is missing"),
        ("input:\n  pfs: {glob: *}", "2:16: not YAML: plain text can't start with a star. Fix: put it in quotes"),
        ("a: *b", "1:4: not YAML: found undefined alias 'b'. Fix: "),
        ("a: @(b)", "1:4: not YAML: a character that can't start plain text. Fix: put the text in quotes"),
        ('a: "\\q"', "1:6: not YAML: a backslash that means nothing in double quotes. Fix: "),
        ("a: b\nc: \x07", "2:4: a control character. Fix: remove it"),
        ("a: &a [*a]", "1:4: an alias inside the very value it stands for. Fix: remove it"),
        ("[" * 5000, "1:1: nested too deep. Fix: use at most 40 levels"),
        ("x" * 300_000, "1:1: more than 262,144 characters. Fix: move"),
    ],
)
def test_a_file_that_is_no_spec(text: str, expected: str) -> None:
    assert problem(text).startswith(expected)


def test_no_python_object_is_ever_made() -> None:
    found = problems(MINIMAL + 'salt: !!python/object/apply:os.system ["touch /tmp/owned"]')
    assert found == ['3:7: the tag "!!python/object/apply:os.system" means nothing here. Fix: remove it, or add quotes']


def test_a_bomb_of_aliases_costs_a_message() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 50,000 values once aliases are expanded. Fix: write fewer" in problem("\n".join(rows))
    merges = ["a0: &a0 {k: v}"]
    merges += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    assert "more than 50,000 values" in problems("\n".join(merges))[-1]


def test_a_message_stays_on_its_line_whatever_the_file_says() -> None:
    assert problem(MINIMAL + '"a\\nb\\e[31m\\x9b": 1').startswith('3:1: unknown key "a\\nb\\u001b[31m\\u009b". Fix: ')


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_places(text: str) -> None:
    for candidate in (text, MINIMAL + text, INPUT + f"transform: {{cmd: [{text}]}}"):
        try:
            read(candidate)
        except UserError as error:
            assert all(found.location.startswith("edges/spec.yml:") for found in error.problems)


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text("$0123{}a.", max_size=8))
def test_any_value_is_taken_or_refused_with_its_place(value: str, template: str) -> None:
    pfs = {"repo": value, "name": value, "branch": value, "glob": value, "join_on": template}
    data = {
        "input": {"join": [{"pfs": pfs}]},
        "transform": {"cmd": ["x", value]},
        "minipach": {"out": template},
    }
    try:
        assert read(json.dumps(data)).transform.cmd[1] == value
    except UserError as error:
        assert all(found.location.startswith("edges/spec.yml:1:") for found in error.problems)


# The JSON Schema, for editors


def test_the_schema_has_every_key_in_both_spellings_and_no_others() -> None:
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert all(field["description"] for field in part["properties"].values())
    assert schema["properties"]["datumTries"] == schema["properties"]["datum_tries"]
    assert schema["properties"]["egress"]["description"].startswith("Not supported; ")
    assert "null" not in json.dumps(schema)


def test_the_schema_agrees_with_the_reader() -> None:
    yaml = pytest.importorskip("yaml")
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json_schema())
    assert validator.is_valid(yaml.safe_load(MINIMAL))
    assert validator.is_valid(yaml.safe_load(PACHYDERM))
    for line in (
        *NOT_BUILT,
        *NOT_SUPPORTED,
        "pipline: x",
        "datum_tries: a",
        "salt: yes",
        "transform: {cmd: x}",
    ):
        data = yaml.safe_load(MINIMAL) | yaml.safe_load(line)
        assert not validator.is_valid(data), line


# Keys of minipach's own


def test_what_a_datum_may_do() -> None:
    pipeline = read(MINIMAL)
    assert (pipeline.network, pipeline.outputs_required, pipeline.shared_code) == (True, False, ())
    assert not pipeline.writable_inputs
    pipeline = read(
        MINIMAL
        + "minipach: {network: false, inputs: writable, outputs: required, code: [../lib/, ../../shared, ../lib], "
        + "limits: {processes: 50, fileSize: 2Gi}}\n"
    )
    assert (pipeline.network, pipeline.outputs_required, pipeline.writable_inputs) == (False, True, True)
    assert pipeline.shared_code == ("../lib", "../../shared")
    assert pipeline.limits == Limits(50, 2 * 1024**3)


def test_another_try_may_get_more_memory() -> None:
    assert read(MINIMAL).more_memory == 1.0
    limits = "resource_limits: {memory: 1Gi}\n"
    assert read(MINIMAL + limits + "minipach: {retry: {memory: 1.5x}}\n").more_memory == 1.5
    for wrong in ("1x", "11x", "2", "x", "-2x", "2GiB"):
        found = problem(MINIMAL + limits + f"minipach: {{retry: {{memory: {wrong}}}}}\n")
        assert f'"{wrong}" is not a factor from 1 to 10. Fix: write 2x or 1.5x' in found
    found = problem(MINIMAL + "minipach: {retry: {memory: 2x}}\n")
    assert "the spec says nowhere how much memory a datum has. Fix: add resource_limits: {memory: 2Gi}" in found


def test_a_program_that_loops_over_datums() -> None:
    assert not read(MINIMAL).transform.batching
    words = "cmd: [run, '{out}', '${name}'], datum_batching: true"
    assert read(f"transform: {{{words}}}\n{INPUT}").transform.batching


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("transform: {cmd: [x, '{name}'], datum_batching: true}\n", "1:23: {name} differs from datum to datum"),
        ("transform: {cmd: [x, 'a{%s}'], datum_batching: true}\n", "1:24: {%s} differs from datum to datum"),
        ("transform: {cmd: [x], datumBatching: true}\nminipach: {inputs: writable}\n", "2:20: with `datum_batching`"),
    ],
)
def test_what_is_not_for_a_program_that_loops_over_datums(more: str, expected: str) -> None:
    name = read(MINIMAL).pfs_inputs()[0].name
    assert problem(more.replace("%s", name) + INPUT).startswith(expected.replace("%s", name))


@pytest.mark.parametrize("path", ["/lib", "code", "../..", "''", "../lib/../../.."])
def test_shared_code_lies_beside_the_pipeline(path: str) -> None:
    assert problem(f"{MINIMAL}minipach: {{code: [{path}]}}\n").startswith("3:19: ")


# Placeholders in commands


@pytest.mark.parametrize(
    ("word", "column", "said"),
    [
        ("{imagse}", 1, "{imagse} is unknown. Fix: use {name}, {key}, {1}, {images} or {images.stem}; "),
        ("--out={2}.txt", 7, "{2}: no glob here has 2 captures. Fix: put ( ) around a part; "),
        ("x-{key}", 3, "{key} needs a join or a group as the input. Fix: use {name}; "),
        ("a{image.stem}", 2, "{image.stem} is unknown. Fix: use "),
        (
            "{images.stm}",
            1,
            "{images.stm}: no such part of an input. Fix: use stem, name, dir, ext or a capture's number",
        ),
        ("echo '{images.2}'", 7, "{images.2}: that glob has fewer captures. Fix: "),
    ],
)
@pytest.mark.parametrize("field", ["cmd: [x, ", "cmd: [y], err_cmd: [x, "])
def test_an_unknown_placeholder_in_a_command(field: str, word: str, column: int, said: str) -> None:
    start = f"transform: {{{field}"
    found = problem(f'{start}"{word}"]}}\ninput: {{pfs: {{repo: images, glob: "/(*).png"}}}}\n')
    assert found.startswith(f"1:{len(start) + 1 + column}: {said}")


@pytest.mark.parametrize(
    "word",
    [
        "{name}",
        "{1}-{images.stem}{images.ext}",
        "{images}",
        "{out}/x",
        "awk '{print $1}' {images}",
        "{print}; {foo}",
        "echo ${key} ${x}",
        "${key}",
        "{{key}}",
        "[0-9]{4}",
        "a{3}",
        '{"a": {"b": 2}}',
        "{a,b}",
        "{}",
        "f'{x.shape}'",
    ],
)
def test_braces_that_a_command_may_have(word: str) -> None:
    text = 'input: {pfs: {repo: images, glob: "/(*).png"}}\ntransform: {cmd: [x, ' + json.dumps(word) + "]}\n"
    assert read(text).transform.cmd == ("x", word)


def test_an_input_of_a_join_needs_a_key() -> None:
    join = 'input: {join: [{pfs: {repo: a, glob: "/*", join_on: "$0"}}, {union: [{pfs: {repo: b, glob: "/*"}}]}]}\n'
    assert problem(join + TRANSFORM) == '1:71: an input of a join without `join_on`. Fix: add it, as in join_on: "$1"'


def test_an_input_of_a_group_needs_a_key() -> None:
    group = 'input: {group: [{pfs: {repo: a, glob: "/(*)", group_by: "$1"}}, {pfs: {repo: b, glob: "/*"}}]}\n'
    assert (
        problem(group + TRANSFORM) == '1:66: an input of a group without `group_by`. Fix: add it, as in group_by: "$1"'
    )
    nested = 'input: {group: [{join: [{pfs: {repo: a, glob: "/(*)", join_on: "$1"}}]}]}\n'
    assert "an input of a group without `group_by`" in problem(nested + TRANSFORM)


# Specs as they come from Pachyderm

SECOND = "a second document starts here. Fix: move it into a folder of its own: "
_IN = {
    "PipelineSpec": "{}",
    "InputSpec": "input: {{{}}}",
    "PfsSpec": "input: {{pfs: {{repo: images, glob: /*, {}}}}}",
    "TransformSpec": "transform: {{cmd: [x], {}}}",
    "ParallelismSpec": "parallelism_spec: {{{}}}",
}


@pytest.mark.parametrize(("model", "field", "what", "fix"), obsolete())
@pytest.mark.parametrize("spelled", [str, camel])
def test_a_field_of_older_versions_gets_one_line(model: str, field: str, what: str, fix: str, spelled: Any) -> None:
    line = _IN[model].format(spelled(field) + ": x") + "\n"
    rest = "".join(part for part in (INPUT, TRANSFORM) if part[:6] != line[:6])
    if field in ("inputs", "job_input"):
        rest = TRANSFORM
    found = problem(line + rest)
    assert found == f"1:{line.index(spelled(field)) + 1}: `{spelled(field)}` is {what}. Fix: {fix}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("function(suffix, src)\n{input: {}}", "1:1: a jsonnet template, no spec. Fix: "),
        ("// about\nlocal a = 1;\n{}", "2:1: a jsonnet template, no spec. Fix: "),
        ('{\n  // the input\n  "input": {"pfs": {"repo": "x//y"}}}', "2:3: a comment. Fix: write # instead"),
        ('{"transform": {"cmd": ["x"]}, /* x */ "input": {"pfs": {}}}', "1:31: a comment"),
        (f"{MINIMAL}---\npipeline: {{name: two}}\n", f"3:1: {SECOND}two/spec.yml"),
        ('{}\n{"pipeline": {"name": "two"}}', f"2:1: {SECOND}two/spec.yml"),
        (f"{MINIMAL}resource_limits: {{gpu: 1}}\n", "3:24: `gpu` needs keys and values. Fix: write gpu: {type: "),
    ],
)  # fmt: skip
def test_a_file_that_is_no_spec_yet(text: str, expected: str) -> None:
    assert problem(text).startswith(expected)


def test_a_repo_is_its_name_alone() -> None:
    text = "input: {pfs: {repo: {name: images}, glob: /}}\n" + TRANSFORM
    assert problem(text) == "1:21: the repo's name alone is needed here, since Pachyderm 1.4. Fix: write repo: NAME"


def test_json_with_tabs_and_trailing_commas() -> None:
    text = '{\n\t"input": {"pfs": {"repo": "images", "glob": "/*"},},\n\t"transform": {"cmd": ["x,]\\t",]},\n}\n'
    assert read(text).transform.cmd == ("x,]\t",)


@pytest.mark.parametrize(
    ("own", "project", "repo"),
    [
        ("", "default", "images"),
        ("", "team", "team/images"),
        ("project: {name: team}", "team", "images"),
        ("project: team", "{name: team}", "images"),
        ("project: team", "default", "default/images"),
    ],
)
def test_a_project_of_pachyderm_is_part_of_the_repos_path(own: str, project: str, repo: str) -> None:
    text = f"pipeline: {{{own}}}\ninput: {{pfs: {{repo: images, glob: /, project: {project}}}}}\n{TRANSFORM}"
    (pfs,) = read(text).pfs_inputs()
    assert (pfs.repo, pfs.name) == (repo, "images")
    with pytest.raises(BrokenSpec) as caught:
        read(text + "nonsense: 1\n")
    assert [need.repo for need in caught.value.needs] == [repo]


# Clocks.

CLOCK = "input: {cron: {name: tick, spec: 0 3 * * *%s}}\ntransform: {cmd: [x]}\n"
CROSSED = "input: {pfs: {repo: a, glob: /*}}\ntransform: {cmd: [x]}\nminipach: {schedule: {%s}}\n"


def test_a_cron_input_reads_a_repo_of_ticks() -> None:
    pipeline = load_spec(CLOCK % ", start: 2026-01-01, overwrite: true", source="sub/edges/spec.yml", folder="edges")
    ((pfs, clock),) = pipeline.clocks()
    assert (pfs.name, pfs.repo, clock.line, clock.zone) == ("tick", "sub/edges_tick", "0 3 * * *", "UTC")
    assert (clock.start, clock.overwrite) == (1767225600, True)
    assert pipeline.needs()[0].repo_at == "sub/edges/spec.yml:1:15"


def test_a_schedule_adds_ticks_to_the_input() -> None:
    text = (
        CROSSED
        % "cron: 0 3 * * *, timezone: Europe/Berlin, start: 2026-01-01, depends_on_past: true, expired_limit: 24h"
    )
    pipeline = load_spec(text, source="edges/spec.yml", folder="edges")
    ((pfs, clock),) = pipeline.clocks()
    assert (pfs.name, pfs.repo, clock.zone, clock.start) == ("schedule", "edges_schedule", "Europe/Berlin", 1767222000)
    assert (clock.depends_on_past, clock.expired_limit) == (True, 86400)
    assert [need.repo_at for need in pipeline.needs()] == ["edges/spec.yml:1:21", "edges/spec.yml:3:22"]
    policy = CLOCK % "" + "minipach: {schedule: {max_active_runs: 2, timezone: Asia/Tokyo}}\n"
    ((_, clock),) = load_spec(policy, source="edges/spec.yml", folder="edges").clocks()
    assert (clock.max_active_runs, clock.zone) == (2, "Asia/Tokyo")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CLOCK.replace("0 3 * * *", "0 0 30 2 *") % "", '1:34: the cron line "0 0 30 2 *" can\'t be read: bad day'),
        (CLOCK.replace("0 3 * * *", "TZ=Europe/Brelin @daily") % "", "1:34: there is no timezone"),
        (CLOCK % ", repo: .git/x", '1:51: ".git/x" is at a hidden place'),
        (CLOCK % ", start: yesterday", '1:52: "yesterday" is no time. Fix: write a date'),
        (CLOCK % "" + "minipach: {schedule: {cron: '@daily'}}", "3:29: a second clock, beside the"),
        (CLOCK % "" + "minipach: {schedule: {start: 2026-02-01, end: 2026-01-01}}", "3:47: the end"),
        (CROSSED % "timezone: Europe/Brelin, cron: '@daily'", "use \"Europe/Berlin\""),
        (CROSSED % "start: 2026-01-01", "3:12: a schedule without a clock. Fix: add `cron`"),
        (CROSSED % "cron: TZ=UTC @daily, timezone: Asia/Tokyo", "3:29: the line names the timezone UTC, but"),
        ("input: {join: [{cron: {name: a, spec: '@daily'}}, {pfs: {repo: b, glob: /*, join_on: $0}}]}\n"
         "transform: {cmd: [x]}", "a `cron` input in a join"),
    ],
)  # fmt: skip
def test_a_clock_that_cannot_be_is_one_line(text: str, told: str) -> None:
    assert told in problem(text)
