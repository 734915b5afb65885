"""A spec.yml is read strictly: what is wrong is named with its line, its column and a way out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from minipach.model.pipeline import (
    BrokenSpec,
    Combination,
    Limits,
    Metadata,
    PfsInput,
    Pipeline,
    Resources,
    Secret,
    Service,
    Transform,
)
from minipach.spec.legacy_fields import obsolete
from minipach.spec.load import json_schema, load_spec
from minipach.spec.schema import CronSpec, PipelineSpec, ScheduleSpec, SecretSpec, TriggerSpec
from minipach.spec.yaml_reader import camel
from minipach.support.errors import Problem, UserError

INPUT = "input: {pfs: {repo: images, glob: /*}}\n"
TRANSFORM = "transform: {cmd: [python3, code/edges.py]}\n"
MINIMAL = INPUT + TRANSFORM


def read(text: str, folder: str = "edges") -> Pipeline:
    return load_spec(text, source="edges/spec.yml", folder=folder)


def problems(text: str, folder: str = "edges") -> list[Problem]:
    """Every problem; its location is `line:column`."""
    with pytest.raises(UserError) as caught:
        read(text, folder)
    assert all(found.location.startswith("edges/spec.yml:") for found in caught.value.problems)
    return [replace(found, location=found.location.removeprefix("edges/spec.yml:")) for found in caught.value.problems]


def problem(text: str) -> Problem:
    (only,) = problems(text)
    return only


def brief(found: Problem) -> str:
    """`line:column code`."""
    return f"{found.location} {found.code}"


def places(text: str) -> list[str]:
    return [found.location for found in problems(text)]


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
    assert [(note.code, note.message.split()[0]) for note in read(text).notes] == [
        ("spec.note", "`join_on`"),
        ("spec.note", "`group_by`"),
        ("spec.note", "`outer_join`"),
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


@pytest.mark.parametrize("written", [".", "./", "././/"])
def test_the_superdataset_itself_is_a_repo(written: str) -> None:
    loaded = read(f"input: {{pfs: {{repo: {written}, glob: /}}}}\n" + TRANSFORM)
    assert [(pfs.repo, pfs.name) for pfs in loaded.pfs_inputs()] == [(".", "project")]


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
    assert [one.location for one in found] == [
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
    assert all(one.fix for one in found)


@pytest.mark.parametrize(
    ("extra", "expected", "value"),
    [
        ("pipline: x", "3:1 spec.unknown-field", "`pipeline`"),
        ("datumTrys: 1", "3:1 spec.unknown-field", "`datum_tries`"),
        ("cmd: [x]", "3:1 spec.unknown-field", "`transform`"),
        ("glob: /", "3:1 spec.unknown-field", "`input.pfs`"),
        ("metadata: {zebra: 1}", "3:12 spec.unknown-field", "annotations, labels"),
        ("minipach: {salt: 1}", "3:12 spec.unknown-field", "the top"),
        ("datum_tries: 1\ndatumTries: 2", "4:1 spec.unknown-field", "`datum_tries`"),
        ("salt: a\nsalt: b", "4:1 spec.duplicate-key", "line 3"),
        ("minipach: {publish: complet}", "3:21 spec.bad-value", "use complete"),
        ("minipach: {publish: 7}", "3:21 spec.bad-value", "available"),
        ("datum_tries: 0", "3:14 spec.bad-value", "0 tries"),
        ("datum_tries: 1.5", "3:14 spec.bad-value", "digits"),
        ("datum_tries: 0x10", "3:14 spec.bad-value", "digits"),
        ("parallelism_spec: 3", "3:19 spec.bad-value", "`parallelism_spec`"),
        ("parallelism_spec: {constant: -1}", "3:30 spec.bad-value", "-1"),
        ("salt: on", "3:7 spec.bad-value", "quotes"),
        ("salt: ~", "3:7 spec.no-value", "no value"),
        ("salt: [a]", "3:7 spec.bad-value", "quotes"),
        ('salt: "a\\0"', "3:7 spec.bad-value", "zero character"),
        ("resource_limits: {cpu: .inf}", "3:24 spec.bad-value", "500m"),
        ("resource_limits: {memory: 2 GB}", "3:27 spec.bad-value", "512M"),
        ("resource_limits: {disk: -1}", "3:25 spec.bad-value", "512M"),
        ("resource_limits: {memory: 5m}", "3:27 spec.bad-value", "thousandths"),
        ("pipeline: {name: other}", "3:18 spec.bad-input", '"other"'),
    ],
)
def test_one_problem_one_line(extra: str, expected: str, value: str) -> None:
    found = problem(MINIMAL + extra)
    assert brief(found) == expected and value in str(found)


@pytest.mark.parametrize(
    ("pfs", "expected", "value"),
    [
        ("glob: /", "1:14 spec.missing-field", "`repo`"),
        ("repo: a", "1:14 spec.missing-field", "`glob`"),
        ("repo: /a, glob: /", "1:21 spec.bad-repo", '"/a"'),
        ("repo: a/../b, glob: /", "1:21 spec.bad-repo", '"a/../b"'),
        ("repo: a, glob: /, name: out", "1:39 spec.bad-name", '"out"'),
        ("repo: raw/out, glob: /", "1:21 spec.bad-name", '"out"'),
        ("repo: a, glob: /, name: .b", "1:39 spec.bad-name", '".b"'),
        ("repo: .git, glob: /", "1:21 spec.bad-name", '".git"'),
        ("repo: a, glob: /, name: b/c", "1:39 spec.bad-name", '"b/c"'),
        ("repo: a, glob: /, branch: --upload-pack=x", "1:41 spec.bad-value", '"--upload-pack=x"'),
        ("repo: a, glob: /, branch: git-annex", "1:41 spec.bad-value", '"git-annex"'),
        ("repo: a, glob: /, branch: synced/main", "1:41 spec.bad-value", '"synced/main"'),
        ("repo: a, glob: /, branch: minipach", "1:41 spec.bad-value", '"minipach"'),
        ("repo: a, glob: /, branch: minipach/x", "1:41 spec.bad-value", '"minipach/x"'),
        ("repo: a, glob: /, branch: a..b", "1:41 spec.bad-value", '"a..b"'),
        ("repo: a, glob: /, lazy: 1", "1:39 spec.bad-value", "true or false"),
        ("repo: a, glob: '(*)', join_on: $2", "1:46 spec.bad-input", "(*)"),
        ("repo: a, glob: '*', join_on: a$", "1:45 spec.bad-input", "`$`"),
        ("repo: a, glob: !(b)*", "1:35 spec.not-yaml", "exclamation"),
        ("repo: a, glob: !(b) ", "1:30 spec.yaml-tag", '"!(b)"'),
    ],
)
def test_an_input_that_cannot_be(pfs: str, expected: str, value: str) -> None:
    found = problem(f"input: {{pfs: {{{pfs}}}}}\n{TRANSFORM}")
    assert brief(found) == expected and value in str(found)


@pytest.mark.parametrize("glob", ["/[a", "'/[a'", '"/[a"', '"\\\\*[a"', "'''[a'", '"\\x41[a"', "&glob '/[a'"])
def test_a_bad_glob_is_shown_at_the_bad_character(glob: str) -> None:
    line = f"  pfs: {{repo: a, name: b, glob: {glob}}}" if glob != "/[a" else "  pfs:\n    glob: /[a\n    repo: a"
    text = f"input:\n{line}\n{TRANSFORM}"
    where = next(row for row in text.split("\n") if "glob" in row)
    assert places(text) == [f"2:{where.index('[') + 1}" if glob != "/[a" else f"3:{where.index('[') + 1}"]


def test_names_are_unique_except_across_a_union() -> None:
    a, b = "{pfs: {repo: a, glob: /}}", "{pfs: {repo: x/a, glob: /}}"
    assert read(f"input: {{union: [{a}, {b}]}}\n{TRANSFORM}").notes == ()
    for kind in ("cross", "join", "group"):
        keyed = [node.replace("glob: /", "glob: /, join_on: $0, group_by: $0") for node in (a, b)]
        assert problem(f"input: {{{kind}: [{', '.join(keyed)}]}}\n{TRANSFORM}").code == "spec.bad-input"
    assert problem(f"input: {{cross: [{{union: [{a}, {a}]}}, {b}]}}\n{TRANSFORM}").code == "spec.bad-input"


def test_an_input_is_exactly_one_kind() -> None:
    assert brief(problem("input: {}\n" + TRANSFORM)) == "1:8 spec.bad-input"
    both = "input: {pfs: {repo: a, glob: /}, cross: [{pfs: {repo: b, glob: /}}]}\n" + TRANSFORM
    assert "`pfs` and `cross`" in problem(both).message
    assert brief(problem("input: {cross: []}\n" + TRANSFORM)) == "1:16 spec.bad-value"


@pytest.mark.parametrize(
    ("transform", "expected", "value"),
    [
        ("image: x", "1:12 spec.missing-field", "`cmd`"),
        ("cmd: echo hi", "1:18 spec.bad-value", "[sh, -c, ...]"),
        ("cmd: []", "1:18 spec.bad-value", "[python3, "),
        ('cmd: [""]', "1:18 spec.bad-value", "[python3, "),
        ("cmd: [x, yes]", "1:22 spec.bad-value", "quotes"),
        ("cmd: [x, {a: b}]", "1:22 spec.bad-value", "quotes"),
        ("cmd: [x], env: {minipach_a: 1}", "1:29 spec.bad-value", '"minipach_a"'),
        ("cmd: [x], env: {a-b: 1}", "1:29 spec.bad-value", '"a-b"'),
        ("cmd: [x], env: [A]", "1:28 spec.bad-value", "`env`"),
        ("cmd: [x], env: {A: }", "1:31 spec.no-value", "no value"),
        ("cmd: [x], accept_return_code: [256]", "1:44 spec.bad-value", "256"),
        ("cmd: [x], stdin: hello", "1:30 spec.bad-value", "`- item`"),
    ],
)
def test_a_transform_that_cannot_be(transform: str, expected: str, value: str) -> None:
    found = problem(f"transform: {{{transform}}}\n{INPUT}")
    assert brief(found) == expected and value in str(found)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("{URL: 's3://b/p'}", "s3://b/p"),
        ("{url: 'file:///srv/out'}", "file:///srv/out"),
        ("{object_storage: {url: 'ssh://me@h/p'}}", "ssh://me@h/p"),
        ('""', ""),
    ],
)
def test_egress(written: str, place: str) -> None:
    assert read(f"{MINIMAL}egress: {written}\n").egress == place


@pytest.mark.parametrize(
    "url",
    [
        "/srv",
        "file:x",
        "file:///a/../b",
        "file://h/x",
        "ssh://-oProxyCommand=x/p",
        "ssh://h",
        "ftp://h/x",
        "s3://",
        "s3://[b",
    ],
)
def test_no_place_of_egress(url: str) -> None:
    assert ". Fix: write s3://BUCKET/PREFIX" in str(problem(f"{MINIMAL}egress: {{URL: '{url}'}}\n"))


def test_egress_has_no_credentials_and_one_place() -> None:
    found = str(problem(f"{MINIMAL}egress: {{URL: 's3://key:secret@b/p'}}\n"))
    assert "credentials" in found and "secret" not in found
    for both in ("{}", "{URL: 's3://a', object_storage: {url: 's3://b'}}"):
        assert problem(f"{MINIMAL}egress: {both}\n").location.startswith("3:")


def test_a_service_has_ports_and_no_network_unless_it_says_so() -> None:
    found = read(f"{MINIMAL}service: {{internalPort: 80, externalPort: 30080, type: LoadBalancer, ip: 192.0.2.7}}\n")
    assert found.service == Service(80, 30080, "LoadBalancer", "192.0.2.7") and not found.network
    other = read(f"{MINIMAL}service: {{internal_port: '80'}}\nminipach: {{network: true, health: /ready}}\n")
    assert other.service == Service(80, 80, health="/ready") and other.network
    assert read(f"{MINIMAL}service: false\n").service is None


NO_SERVICES = {
    "service: {}": "3:10 spec.missing-field",
    "service: {internal_port: 0}": "3:26 spec.bad-value",
    "service: {internal_port: 70000}": "3:26 spec.bad-value",
    "service: {internal_port: 80, external_port: 70000}": "3:45 spec.bad-value",
    "service: {internal_port: 80, type: ExternalName}": "3:36 spec.bad-value",
    "service: {internal_port: 80}\nminipach: {health: ready}": "4:20 spec.bad-value",
    "service: {internal_port: 80}\nminipach: {health: '/a b'}": "4:20 spec.bad-value",
    "service: {internal_port: 80}\ndatum_timeout: 5s": "4:1 spec.bad-service",
    "service: {internal_port: 80}\nparallelism_spec: {constant: 2}": "4:30 spec.bad-service",
    "service: {internal_port: 80}\negress: {URL: 's3://a/b'}": "4:1 spec.bad-service",
    "minipach: {health: /ready}": "3:12 spec.bad-service",
}


@pytest.mark.parametrize(("lines", "expected"), NO_SERVICES.items())
def test_no_service(lines: str, expected: str) -> None:
    assert brief(problem(f"{MINIMAL}{lines}\n")) == expected


NOT_BUILT = [
    "transform: {cmd: [x], user: me}",
]
NOT_SUPPORTED = [
    "input: {pfs: {repo: a, glob: /, s3: true}}",
    "input: {pfs: {repo: a, glob: /, commit: abc}}",
    "egress: {sql_database: {url: x}}",
    "spout: {}",
    "s3_out: true",
    "tf_job: {}",
    "determined: {workspaces: [a]}",
]


@pytest.mark.parametrize("line", NOT_BUILT)
def test_what_is_not_built_yet_says_so(line: str) -> None:
    text = line + "\n" + (INPUT if "input" not in line else "") + (TRANSFORM if "transform" not in line else "")
    assert brief(problem(text)) == "1:23 spec.refused-field"


@pytest.mark.parametrize("line", NOT_SUPPORTED)
def test_what_is_not_supported_says_so(line: str) -> None:
    text = line + "\n" + (INPUT if "input" not in line else "") + TRANSFORM
    assert problem(text).code == "spec.refused-field" and problem(text).fix


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2h30m", 9000), ("1.5h", 5400), ("100ms", 0.1), ("0s", None), ('""', None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert read(f"datum_timeout: {text}\njobTimeout: {text}\n{MINIMAL}").datum_timeout == seconds
    assert read(f"datum_timeout: {text}\njobTimeout: {text}\n{MINIMAL}").job_timeout == seconds


@pytest.mark.parametrize("text", ["90", "'90'", "-1s", "1d", "s", "1 h", "true", "[1s]"])
def test_what_is_no_duration(text: str) -> None:
    assert problem(f"datum_timeout: {text}\n{MINIMAL}").code == "spec.bad-value"


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
    assert (note.code, note.location[:17]) == ("spec.note", "edges/spec.yml:1:") and "/s/db" in note.message


@pytest.mark.parametrize(
    ("secrets", "expected", "value"),
    [
        ("{name: ../a, env_var: A}", "1:55 spec.bad-value", '"../a"'),
        ("{name: a, env_var: PATH}", "1:67 spec.bad-secret", '"PATH"'),
        ("{name: a, env_var: SET}", "1:67 spec.bad-secret", '"SET"'),
        ("{name: a.b, env_var: A}, {name: a-b, env_var: B}", "1:80 spec.bad-input", "MINIPACH_SECRET_A_B"),
        ("{name: a}", "1:48 spec.bad-secret", "`env_var`"),
        ("{name: a, mount_path: x}", "1:70 spec.bad-secret", '"x"'),
        ("{name: a, mount_path: /pfs/x}", "1:70 spec.bad-secret", '"/pfs/x"'),
        ("{name: a, mount_path: /a/../b}", "1:70 spec.bad-secret", '"/a/../b"'),
        (
            "{name: a, mount_path: /x, key: k}, {name: b, mount_path: /x/, key: k}",
            "1:105 spec.bad-secret",
            "/x/k",
        ),
    ],
)
def test_secrets_that_can_not_be(secrets: str, expected: str, value: str) -> None:
    found = problem(f"transform: {{cmd: [x], env: {{SET: x}}, secrets: [{secrets}]}}\n{INPUT}")
    assert brief(found) == expected and value in str(found)


def test_a_refused_field_that_is_not_set_is_no_problem() -> None:
    text = 's3_out: false\ntransform: {cmd: [x], user: "", secrets: [], datum_batching: false}\n' + INPUT
    assert read(text).transform.cmd == ("x",)


def test_the_folder_must_be_able_to_name_a_pipeline() -> None:
    assert problems(MINIMAL, folder="my edges")[0].code == "spec.bad-name"
    assert read(MINIMAL, folder="a" * 63).name == "a" * 63
    assert problems(MINIMAL, folder="a" * 64)


def test_the_out_template_is_checked_even_when_something_else_is_wrong() -> None:
    found = problems(MINIMAL + "minipach: {out: '{nope}'}\nsalt: yes")
    assert [one.location for one in found] == ["3:17", "4:7"] and "nope" in found[0].message


# A file that is no spec


@pytest.mark.parametrize(
    ("text", "expected", "value"),
    [
        ("", "1:1 spec.empty", "`transform:`"),
        ("# nothing\n", "1:1 spec.empty", "`transform:`"),
        ("- input: a\n- input: b", "1:1 spec.is-a-list", "NAME/spec.yml"),
        (f"{MINIMAL}---\n{MINIMAL}", "3:1 spec.not-yaml", "NAME/spec.yml"),
        ("{}\n{}", "2:1 spec.not-yaml", "NAME/spec.yml"),
        ("hello", "1:1 spec.no-mapping", "`transform:`"),
        ("a: b: c", "1:5 spec.not-yaml", "colon"),
        ("a:\n\t- b", "2:1 spec.not-yaml", "tab"),
        ("x: 1\na: 'b", "2:4 spec.not-yaml", "quotes"),
        ("{a: 1", "1:1 spec.not-yaml", "bracket"),
        ("input:\n  pfs: {glob: *}", "2:16 spec.not-yaml", "star"),
        ("a: *b", "1:4 spec.not-yaml", "anchor"),
        ("a: @(b)", "1:4 spec.not-yaml", "character"),
        ('a: "\\q"', "1:6 spec.not-yaml", "backslash"),
        ("a: b\nc: \x07", "2:4 spec.not-yaml", "control"),
        ("a: &a [*a]", "1:4 spec.too-large", "alias"),
        ("[" * 5000, "1:1 spec.too-deep", "40 levels"),
        ("x" * 300_000, "1:1 spec.too-large", "262,144 characters"),
    ],
)
def test_a_file_that_is_no_spec(text: str, expected: str, value: str) -> None:
    found = problem(text)
    assert brief(found) == expected and value in str(found)


def test_no_python_object_is_ever_made() -> None:
    found = problems(MINIMAL + 'salt: !!python/object/apply:os.system ["touch /tmp/owned"]')
    assert [brief(one) for one in found] == ["3:7 spec.yaml-tag"]


def test_a_bomb_of_aliases_costs_a_message() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert problem("\n".join(rows)).code == "spec.too-large"
    merges = ["a0: &a0 {k: v}"]
    merges += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    assert problems("\n".join(merges))[-1].code == "spec.too-large"


def test_a_message_stays_on_its_line_whatever_the_file_says() -> None:
    assert '"a\\nb\\u001b[31m\\u009b"' in problem(MINIMAL + '"a\\nb\\e[31m\\x9b": 1').message


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
    assert schema["$defs"]["EgressSpec"]["properties"]["sql_database"]["description"].startswith("Not supported; ")
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
        assert found.code == "spec.bad-value" and f'"{wrong}"' in found.message
    found = problem(MINIMAL + "minipach: {retry: {memory: 2x}}\n")
    assert brief(found) == "3:20 spec.bad-value" and "resource_limits: {memory: 2Gi}" in found.fix


def test_a_program_that_loops_over_datums() -> None:
    assert not read(MINIMAL).transform.batching
    words = "cmd: [run, '{out}', '${name}'], datum_batching: true"
    assert read(f"transform: {{{words}}}\n{INPUT}").transform.batching


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("transform: {cmd: [x, '{name}'], datum_batching: true}\n", "1:23 spec.bad-placeholder"),
        ("transform: {cmd: [x, 'a{%s}'], datum_batching: true}\n", "1:24 spec.bad-placeholder"),
        ("transform: {cmd: [x], datumBatching: true}\nminipach: {inputs: writable}\n", "2:20 spec.bad-value"),
    ],
)
def test_what_is_not_for_a_program_that_loops_over_datums(more: str, expected: str) -> None:
    name = read(MINIMAL).pfs_inputs()[0].name
    assert brief(problem(more.replace("%s", name) + INPUT)) == expected


@pytest.mark.parametrize("path", ["/lib", "code", "../..", "''", "../lib/../../.."])
def test_shared_code_lies_beside_the_pipeline(path: str) -> None:
    assert brief(problem(f"{MINIMAL}minipach: {{code: [{path}]}}\n")) == "3:19 spec.bad-shared-code"


# Placeholders in commands


@pytest.mark.parametrize(
    ("word", "column", "fix"),
    [
        ("{imagse}", 1, "{name}, {key}, {1}, {images} or {images.stem}"),
        ("--out={2}.txt", 7, "( )"),
        ("x-{key}", 3, "{name}"),
        ("a{image.stem}", 2, "{images.stem}"),
        ("{images.stm}", 1, "stem, name, dir, ext"),
        ("echo '{images.2}'", 7, "( )"),
    ],
)
@pytest.mark.parametrize("field", ["cmd: [x, ", "cmd: [y], err_cmd: [x, "])
def test_an_unknown_placeholder_in_a_command(field: str, word: str, column: int, fix: str) -> None:
    start = f"transform: {{{field}"
    found = problem(f'{start}"{word}"]}}\ninput: {{pfs: {{repo: images, glob: "/(*).png"}}}}\n')
    assert brief(found) == f"1:{len(start) + 1 + column} spec.bad-placeholder" and fix in found.fix


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
    assert brief(problem(join + TRANSFORM)) == "1:71 spec.missing-field"


def test_an_input_of_a_group_needs_a_key() -> None:
    group = 'input: {group: [{pfs: {repo: a, glob: "/(*)", group_by: "$1"}}, {pfs: {repo: b, glob: "/*"}}]}\n'
    assert brief(problem(group + TRANSFORM)) == "1:66 spec.missing-field"
    nested = 'input: {group: [{join: [{pfs: {repo: a, glob: "/(*)", join_on: "$1"}}]}]}\n'
    assert problem(nested + TRANSFORM).code == "spec.missing-field"


# Specs as they come from Pachyderm

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
    assert brief(found) == f"1:{line.index(spelled(field)) + 1} spec.unknown-field"
    assert f"`{spelled(field)}`" in found.message and found.fix == fix


@pytest.mark.parametrize(
    ("text", "expected", "value"),
    [
        ("function(suffix, src)\n{input: {}}", "1:1 spec.is-jsonnet", 'jsonnet'),
        ("// about\nlocal a = 1;\n{}", "2:1 spec.is-jsonnet", 'jsonnet'),
        ('{\n  // the input\n  "input": {"pfs": {"repo": "x//y"}}}', "2:3 spec.not-yaml", '#'),
        ('{"transform": {"cmd": ["x"]}, /* x */ "input": {"pfs": {}}}', "1:31 spec.not-yaml", '#'),
        (f"{MINIMAL}---\npipeline: {{name: two}}\n", "3:1 spec.not-yaml", 'two/spec.yml'),
        ('{}\n{"pipeline": {"name": "two"}}', "2:1 spec.not-yaml", 'two/spec.yml'),
        (f"{MINIMAL}resource_limits: {{gpu: 1}}\n", "3:24 spec.bad-value", '`gpu`'),
    ],
)  # fmt: skip
def test_a_file_that_is_no_spec_yet(text: str, expected: str, value: str) -> None:
    found = problem(text)
    assert brief(found) == expected and value in str(found)


def test_a_repo_is_its_name_alone() -> None:
    text = "input: {pfs: {repo: {name: images}, glob: /}}\n" + TRANSFORM
    assert brief(problem(text)) == "1:21 spec.bad-value"


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
    ("text", "expected", "value"),
    [
        (CLOCK.replace("0 3 * * *", "0 0 30 2 *") % "", "1:34 spec.bad-value", '"0 0 30 2 *"'),
        (CLOCK.replace("0 3 * * *", "TZ=Europe/Brelin @daily") % "", "1:34 spec.bad-value", "Europe/Berlin"),
        (CLOCK % ", repo: .git/x", "1:51 spec.bad-repo", '".git/x"'),
        (CLOCK % ", start: yesterday", "1:52 spec.bad-value", '"yesterday"'),
        (CLOCK % "" + "minipach: {schedule: {cron: '@daily'}}", "3:29 spec.two-clocks", ""),
        (CLOCK % "" + "minipach: {schedule: {start: 2026-02-01, end: 2026-01-01}}", "3:47 spec.end-before-start", ""),
        (CROSSED % "timezone: Europe/Brelin, cron: '@daily'", "3:33 spec.bad-value", '"Europe/Berlin"'),
        (CROSSED % "timezone: '', cron: '@daily'", "3:33 spec.bad-value", "Europe/Berlin"),
        (CROSSED % "start: 2026-01-01", "3:12 spec.no-clock", "`cron`"),
        (CROSSED % "cron: TZ=UTC @daily, timezone: Asia/Tokyo", "3:29 spec.two-timezones", "UTC"),
        ("input: {join: [{cron: {name: a, spec: '@daily'}}, {pfs: {repo: b, glob: /*, join_on: $0}}]}\n"
         "transform: {cmd: [x]}", "1:17 spec.bad-input", "`cron`"),
    ],
)  # fmt: skip
def test_a_clock_that_cannot_be_is_one_line(text: str, expected: str, value: str) -> None:
    found = problem(text)
    assert brief(found) == expected and value in str(found)


# One line for each wrong value


_FRAMES = {
    "trigger": "input: {pfs: {repo: images, glob: /, trigger: {FIELD}}}\n" + TRANSFORM,
    "cron": "input: {cron: {name: tick, spec: '@daily', FIELD}}\n" + TRANSFORM,
    "schedule": MINIMAL + "minipach: {schedule: {FIELD}}\n",
    "secret": INPUT + "transform: {cmd: [x], secrets: [{name: key, FIELD}]}\n",
}
_INTERNALS = re.compile(r"literal|function|pydantic|Input should|\[_|''|Fix: write $")
_BIG = "99999999999999999999999E"
_WRONG = ("foo", "[a]", "[]", "{}", "{a: b}", "true", "-1", "~", "'\\0'", "1.5", _BIG, "'CRON_TZ=X/Y @daily'")
_FIELDS = [
    *(("trigger", name) for name in TriggerSpec.model_fields),
    *(("cron", name) for name in CronSpec.model_fields if name != "spec"),
    *(("schedule", name) for name in ScheduleSpec.model_fields),
    *(("secret", name) for name in SecretSpec.model_fields if name != "name"),
]


@pytest.mark.parametrize(("frame", "field"), _FIELDS)
@pytest.mark.parametrize("spelt", [str, camel])
def test_a_wrong_value_is_one_line(frame: str, field: str, spelt: Callable[[str], str]) -> None:
    for value in _WRONG:
        text = _FRAMES[frame].replace("FIELD", f"{spelt(field)}: {value}")
        try:
            read(text)
        except BrokenSpec as error:
            found = list(error.problems)
            assert len(found) == 1, [text, *map(str, found)]
            line = str(found[0])
            assert found[0].fix and not _INTERNALS.search(line), line


def test_no_field_is_a_union_whose_members_each_report_a_value() -> None:
    def models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
        if model in seen:
            return
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            for part in parts(field.annotation):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from models(part, seen)

    def parts(annotation: Any) -> Iterator[Any]:
        yield annotation
        for part in get_args(annotation):
            yield from parts(part)

    for model in models(PipelineSpec, set()):
        for name, field in model.model_fields.items():
            for part in parts(field.annotation):
                if get_origin(part) in (Union, UnionType):
                    assert len([p for p in get_args(part) if p is not type(None)]) == 1, f"{model.__name__}.{name}"


def test_what_is_wrong_inside_may_be_the_condition() -> None:
    assert brief(problem(_FRAMES["trigger"].replace("FIELD", "comits: 3"))) == "1:48 spec.unknown-field"
    assert brief(problem(_FRAMES["schedule"].replace("FIELD", "crom: x"))).endswith("spec.unknown-field")
    assert brief(problem(_FRAMES["trigger"].replace("FIELD", "all: true"))) == "1:38 spec.no-condition"
