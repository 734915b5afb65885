"""What failed twice at a limit runs again once the limit is higher, and so does what was in another datum's way."""

from __future__ import annotations

import pytest

from tests.fixtures.projects import Study

pytestmark = pytest.mark.slow

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\ndatum_tries: 1\n'


def steps(study: Study) -> dict[str, tuple[str, str]]:
    found = study.minipach("plan", "--json").json["pipelines"]  # 2 where results are in each other's way
    return {s["name"]: (s["action"], s["reason"]) for s in found[0]["datums"]}


def test_a_datum_whose_time_was_over_runs_again_with_more_time(study: Study) -> None:
    study.put("images/a", "a\n")
    study.pipeline("edges", SPEC + "datum_timeout: 1s\n", run='sleep 3\ncp "$images" "$PFS/out/"\n')
    for _ in range(2):
        study.schedule(code=1)
    skip = ("skip", "failed in 2 jobs with this content: timed out after 1 s")
    assert steps(study) == {"a": skip}
    study.put("edges/spec.yml", SPEC + "datum_timeout: 900ms\n")
    assert steps(study) == {"a": skip}
    study.put("edges/spec.yml", SPEC + "datum_timeout: 120s\n")
    why = "failed at the limit of 1 s, which is 120 s now: runs again"
    assert steps(study) == {"a": ("run", f"failed the last 2 times: timed out after 1 s; {why}")}
    assert why in study.minipach("plan", "edges", "--why", "a").out
    status = study.minipach("status").out
    assert f"failed: a: timed out after 1 s; {why}; minipach logs edges a" in status
    assert study.schedule()["edges"]["state"] == "published"


def test_a_limit_of_the_settings_counts_too(study: Study) -> None:
    study.put("images/a", "a\n")
    study.ok("git", "config", "minipach.limits", "file-size=2000")
    study.pipeline("edges", SPEC, run='head -c 5000 /dev/zero > "$PFS/out/zeros"\n')
    for _ in range(2):
        study.schedule(code=1)
    assert steps(study)["a"][0] == "skip"
    study.ok("git", "config", "minipach.limits", "processes=8,disk=none")
    assert steps(study)["a"][0] == "skip"  # it can't be used; `schedule` says so
    study.ok("git", "config", "minipach.limits", "file-size=100000")
    assert steps(study)["a"][1].endswith("failed with a limit of 2.0 kB for a file, which is 100.0 kB now: runs again")
    assert study.schedule()["edges"]["state"] == "published"


def test_a_datum_runs_again_when_those_in_its_way_are_gone(study: Study) -> None:
    for name in "abc":
        study.put(f"images/{name}", f"{name}\n", save=False)
    study.save("images")
    spec = SPEC + "datum_set_spec: {number: 3}\n"
    study.pipeline("edges", spec, run='cp "$images" "$PFS/out/same"\n')
    for _ in range(2):  # beside a, then beside b
        study.schedule(code=1)
    assert steps(study)["c"] == (
        "skip",
        'failed in 2 jobs with this content: output "same" was written by datum "b", too',
    )
    study.put("edges/spec.yml", spec + 'minipach: {out: "{name}/"}\n')
    assert steps(study)["c"][0] == "run"
    study.put("edges/spec.yml", spec)
    assert steps(study)["c"][0] == "skip"
    study.put("edges/spec.yml", spec + "minipach: {exclude: [{datum: a, reason: spare}, {datum: b, reason: spare}]}\n")
    action, reason = steps(study)["c"]
    assert action == "run"
    assert reason.endswith("the datum whose output was in its way is gone or has changed: runs again")
    assert study.schedule()["edges"]["state"] == "published"
    assert study.read("edges/same") == b"c\n"


def test_a_datum_runs_again_when_its_command_sees_more(study: Study) -> None:
    study.put("images/a", "a\n")
    study.pipeline("edges", SPEC, run='test -n "$LICENCE" && cp "$images" "$PFS/out/"\n')
    for _ in range(2):
        study.schedule(code=1)
    assert steps(study)["a"][0] == "skip"
    study.ok("git", "config", "minipach.pass-env", "LICENCE")
    action, reason = steps(study)["a"]
    assert (action, reason.endswith("(pass-env, host-paths, network): runs again")) == ("run", True)
