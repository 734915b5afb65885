"""Placeholders in a command: planned here, filled in by the launcher."""

from __future__ import annotations

import json
import shlex

import pytest

from minipach.datums import launch_command
from minipach.model.datum import Datum, Match, Task
from minipach.spec.load import load_spec
from minipach.spec.placeholder import used_fields
from tests.fixtures.projects import Study

GLOB = "/(*)-(*).tar.gz"
WORDS = {  # as written, and as the command gets it
    "{1}": "sub",
    "x{2}{images.ext}": "x01.tar.gz",
    "{images.stem}/{images.name}": "sub-01/sub-01.tar.gz",
    "{name}": "sub-01.tar.gz",
    "{images.2}": "01",
    '{"n": {name}}': '{"n": sub-01.tar.gz}',
    "${name}": "${name}",
    "{{name}}": "{{name}}",
    "[0-9]{2}": "[0-9]{2}",
    "(ab){1}": "(ab){1}",
    r"\d{1}": r"\d{1}",
    "{ print }": "{ print }",
    "awk '{print $1}'": "awk '{print $1}'",
    "{a,b}": "{a,b}",
    "{}": "{}",
    "{images}": "/pfs/images/sub-01.tar.gz",
}


def spec(words: list[str]) -> str:
    script = 'printf "%s\\n" "$@" >"$PFS/out/all"'
    cmd = json.dumps(["sh", "-c", script, "sh", *words])
    return f'input: {{pfs: {{repo: images, glob: "{GLOB}"}}}}\ntransform: {{cmd: {cmd}}}\n'


@pytest.mark.slow
def test_a_command_gets_the_values(study: Study) -> None:
    study.put("images/sub-01.tar.gz", "x")
    study.pipeline("edges", spec(list(WORDS)) + "minipach: {out: '{name}/'}\n")
    assert study.minipach("check").code == 0
    study.schedule()
    assert study.read("edges/sub-01.tar.gz/all").decode().splitlines() == list(WORDS.values())
    record = study.git("edges", "log", "-1", "--format=%B", "--grep=DATALAD RUNCMD")
    assert " -r 1 sub -r 2 01 -r images.2 01 " in record


def test_what_is_used_is_what_changes() -> None:
    """The table above, for the planner: a word is changed by the launcher if and only if it has a placeholder."""
    for word, becomes in WORDS.items():
        pipeline = load_spec(spec([word]), source="edges/spec.yml", folder="edges")
        used = used_fields(pipeline.transform, pipeline.input)
        assert bool(used) == (word not in (becomes, "{images}")), word


def test_the_launchers_options_are_in_the_command() -> None:
    pipeline = load_spec(
        'input: {pfs: {repo: images, glob: "/*"}}\n'
        "transform: {cmd: [sh], secrets: [{name: db, key: k, mount_path: /s}, {name: db, env_var: DB}]}\n"
        "resource_limits: {memory: 1Ki, disk: 2k, cpu: 1}\n"
        "minipach: {network: false, inputs: writable, outputs: required, limits: {processes: 9, file_size: 7}}\n",
        source="edges/spec.yml",
        folder="edges",
    )
    match = Match("images", "images", None, "/a", (), "", "", False, False)
    tasks = [Task(Datum("a", (match,)), "f" * 64, "")]
    words = shlex.split(launch_command.command(pipeline, tasks, {("images", None): "c" * 40}, "j").text())
    head = words[: words.index("-e")]
    assert shlex.join(head).endswith(
        "-S /s/k=MINIPACH_SECRET_DB_K -s DB=MINIPACH_SECRET_DB -N -I writable -q required "
        "-L memory=1024 -L disk=2000 -L processes=9 -L file-size=7"
    )


@pytest.mark.slow
def test_a_secret_is_a_file_that_can_only_be_read(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\n'
        "transform: {cmd: [sh, code/x.sh], secrets: [{name: db, key: password, mount_path: /secrets}]}\n",
        x="cat /secrets/password; wc -c </secrets/password | tr -d ' ' >$PFS/out/size; "
        "ls /secrets >$PFS/out/names; ! (echo x >/secrets/password) 2>/dev/null",
    )
    secret = "correct horse battery"
    done = study.minipach("schedule", env={"MINIPACH_SECRET_DB_PASSWORD": secret})
    assert done.code == 0, done.err
    assert study.read("edges/size").strip() == str(len(secret)).encode()
    assert study.read("edges/names") == b"password\n"
    assert secret not in study.minipach("logs", "edges", "a.txt").out
    assert "[secret]" in study.minipach("logs", "edges", "a.txt").out
    assert secret not in study.git("edges", "log", "--all", "-p")


@pytest.mark.slow
def test_neutral_names_are_the_values_with_identity_content(study: Study) -> None:
    study.put("images/liberty.txt", "x")
    study.put("images/other.txt", "x")
    spec = 'input: {pfs: {repo: images, glob: "/(*).txt"}}\ntransform: {cmd: [sh, code/x.sh, "{1}", "{name}"]}\n'
    study.pipeline("edges", spec + "minipach: {identity: content}\n", x='echo "$1 $2" >"$PFS/out/$2"\n')
    counts = study.schedule()["edges"]["counts"]
    assert (counts["ran"], counts["reused"]) == (1, 1)
    assert study.read("edges/liberty.txt") == study.read("edges/other.txt") == b"datum datum.txt\n"
