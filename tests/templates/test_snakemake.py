"""`minipach.templates.snakemake`: Snakemake is asked, and what its file would do has no effect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minipach.project.project import Project, find_project
from minipach.support.errors import UserError
from minipach.templates import snakemake as snakemake_of_rules
from minipach.templates.create import NewPipeline, draft_of
from minipach.templates.draft import Draft
from minipach.templates.snakemake import SnakemakeRule, from_rule, in_r, in_shell, read_rule
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.projects import Study, need
from tests.fixtures.repos import Files

__all__ = ["root"]

WITH_SNAKEMAKE = Path(snakemake_of_rules.__file__).with_name("with_snakemake.py")

SNAKEFILE = """\
from pathlib import Path
FACTOR = 3
def doubled(text):
    return text * 2
configfile: "config.yml"
rule all:
    input: expand("out/{s}.txt", s=["a", "b"])
rule sort:
    input: txt="data/{sample}.txt", tool="tools/tool.sh"
    output: "out/{sample}.txt"
    params: opt=config["opt"]
    log: "logs/{sample}.log"
    resources: mem_mb=200
    retries: 2
    container: "docker://ubuntu"
    conda: "env.yml"
    shell: "sh {input.tool} {params.opt} '{wildcards.sample}' {input.txt} > {output} 2> {log}"
rule lookup:
    input: lambda wildcards: {"a": "data/a.txt"}[wildcards.sample]
    output: "looked/{sample}"
    shell: "cp {input} {output}"
rule note:
    input: "data/{sample}.txt"
    output: "note/{sample}"
    notebook: "note.ipynb"
rule python:
    input: txt="data/{sample}.txt"
    output: main="python/{sample}.txt"
    params: opt=config["opt"], rows=[1, "x"], name=lambda wildcards: wildcards.sample + "!"
    resources: mem_mb=lambda wildcards, attempt: 100 * attempt
    script: "tools/python.py"
rule bash:
    input: "data/{sample}.txt"
    output: "bash/{sample}.txt"
    params: opt=config["opt"]
    script: "tools/bash.sh"
rule r:
    input: "data/{sample}.txt"
    output: "r/{sample}.txt"
    script: "tools/r.R"
rule run:
    input: a="data/{sample}.txt"
    output: "run/{sample}.txt"
    run:
        words = {
            "a": FACTOR,
        }
        with open(output[0], "w") as out:
            out.write(doubled(str(words["a"])) + Path(input.a).name)
        shell("echo {wildcards.sample:q} >> {output:q}")
rule lost:
    input: "data/{sample}.txt"
    output: "lost/{sample}.txt"
    run: print(workflow, checkpoints)
rule conda:
    input: "data/{sample}.txt"
    output: "conda/{sample}.txt"
    conda: "tools/env.yaml"
    shell: "cp {input} {output}"
"""


PYTHON = """\
from snakemake.script import snakemake as same
assert same is snakemake
with open(snakemake.output.main, "w") as out:
    print(open(snakemake.input.txt).readline().strip(), snakemake.params["opt"], snakemake.params.rows, file=out)
    print(snakemake.params.name, snakemake.wildcards.sample, snakemake.threads, snakemake.resources.mem_mb, file=out)
"""
BASH = """\
#!/bin/bash
echo "${snakemake_params[opt]} ${snakemake_wildcards[sample]} ${snakemake[rule]} $nothing" >"${snakemake_output[0]}"
exit 0
"""


def files(folder: Path) -> None:
    (folder / "tools").mkdir(exist_ok=True)
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "config.yml").write_text('opt: "-r"\n')
    (folder / "tools/tool.sh").write_text('echo "$2" && sort "$1" "$3"\n')
    (folder / "tools/python.py").write_text(PYTHON)
    (folder / "tools/bash.sh").write_text(BASH)
    (folder / "tools/r.R").write_text("writeLines(snakemake@wildcards$sample, snakemake@output[[1]])\n")
    (folder / "tools/env.yaml").write_text("dependencies: [python]\n")


@pytest.fixture
def project(root: Files) -> Project:
    data = repo(root, "data")
    data.put("a.txt", "1")
    data.commit()
    files(root.path)
    root.git("add", "--all")
    root.commit()
    return find_project(root.path)


def rule(folder: Path, *inputs: str, shell: str = "true", wildcards: tuple[str, ...] = ("x", "y")) -> SnakemakeRule:
    return SnakemakeRule("Snakefile:r", folder, wildcards, inputs, ("out/MPW_x_WPM",), shell, (), {}, ())


def code_of(call: Any) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert all("\n" not in str(problem) for problem in caught.value.problems)
    return caught.value.problems[0].code


@pytest.mark.parametrize(
    "value", ["a", "a b", "$(touch owned)", "'; touch owned; '", '"; touch owned; "', "*", "\\", "`id`"]
)
def test_no_value_of_a_wildcard_is_code(tmp_path: Path, value: str) -> None:
    token = "MPW_x_WPM"
    first = f"""printf '%s\\n' {token} p{token}q "{token} r" 's {token}' "it's "{token} # don't {token}"""
    text = f"{first}\nprintf '%s\\n' {token}"
    script = f"w_x=$1\n{in_shell(text)}\n"
    done = subprocess.run(["bash", "-c", script, "sh", value], cwd=tmp_path, capture_output=True, text=True, check=True)
    wanted = [value, f"p{value}q", f"{value} r", f"s {value}", f"it's {value}", value]
    assert done.stdout.splitlines() == wanted
    assert list(tmp_path.iterdir()) == []


def test_wildcards_become_globs_and_joins(project: Project) -> None:
    x, y = "MPW_x_WPM", "MPW_y_WPM"

    def made(*inputs: str, wildcards: tuple[str, ...] = ("x", "y")) -> Draft:
        return from_rule(project, rule(project.root, *inputs, wildcards=wildcards), "p")

    one = made(f"data/{x}/{y}.txt")
    assert one.spec["input"] == {"pfs": {"repo": "data", "glob": "/(*)/(*).txt"}}
    assert one.spec["transform"]["cmd"] == ["bash", "code/run.sh", "{data.1}", "{data.2}"]
    pair = made(f"data/{x}/{y}.txt", f"data/{y}-{x}.tsv", "data/all.txt").spec["input"]["cross"]
    assert [row["pfs"]["join_on"] for row in pair[0]["join"]] == ["${1}-${2}", "${2}-${1}"]
    assert pair[1]["pfs"]["glob"] == "/all.txt"
    cross = made(f"data/{x}.txt", f"data/{y}.tsv").spec["input"]["cross"]
    assert [row["pfs"]["glob"] for row in cross] == ["/(*).txt", "/(*).tsv"]
    again = made(f"data/{x}/{x}[1].txt", wildcards=("x",))
    assert again.spec["input"]["pfs"]["glob"] == "/(*)/*\\[1\\].txt"
    assert "may differ" in " ".join(again.sentences())
    assert code_of(lambda: made(f"data/{x}.txt")) == "new.rule-wildcard"
    assert code_of(lambda: made(f"data/{x}.txt", f"data/{x}{y}.txt")) == "new.rule-wildcard"
    assert code_of(lambda: made(f"nothing/{x}/{y}")) == "new.no-input"
    assert code_of(lambda: made(f"../{x}/{y}")) == "new.outside"


@pytest.fixture
def snakemake() -> None:
    need("bwrap")
    need("snakemake")


@pytest.mark.usefixtures("snakemake")
def test_a_rule_as_snakemake_expands_it(project: Project) -> None:
    draft = draft_of(project, NewPipeline("sort", "Snakefile:sort"), project.root)
    assert draft.spec["input"] == {"pfs": {"repo": "data", "glob": "/(*).txt"}}
    assert draft.spec["transform"] == {"image": "ubuntu", "cmd": ["bash", "code/run.sh", "{data.1}"]}
    assert draft.spec["resource_requests"] == {"memory": "200M"}
    assert draft.spec["datum_tries"] == 3
    script = draft.files[0].content.decode()
    assert """sh tools/tool.sh -r ''"${w_sample}"'' data/"${w_sample}".txt > out/"${w_sample}".txt""" in script
    assert [file.path for file in draft.files] == ["code/run.sh", "code/tools/tool.sh"]
    assert [row.split(":")[0] for row in draft.left_out] == ["conda", "log"]
    assert not (project.root / ".snakemake").exists()


@pytest.mark.usefixtures("snakemake")
@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("srot", "new.no-stage"),
        ("lookup", "new.rule-function"),
        ("note", "new.rule-is-code"),
        ("lost", "new.rule-is-code"),
        ("all", "new.no-command"),
    ],
)
def test_rules_that_are_refused(project: Project, part: str, code: str) -> None:
    assert code_of(lambda: read_rule(project.root / "Snakefile", part)) == code


@pytest.mark.slow
@pytest.mark.usefixtures("snakemake")
def test_scripts_and_python_code_keep_what_snakemake_says_of_the_rule(project: Project) -> None:
    def made(name: str) -> Draft:
        return draft_of(project, NewPipeline("p", f"Snakefile:{name}"), project.root)

    python = made("python")
    assert python.spec["resource_requests"] == {"memory": "100M"}
    assert python.spec["minipach"] == {"retry": {"memory": "2x"}}
    content = {file.path: file.content.decode() for file in python.files}
    assert content["code/python.py"] == PYTHON
    assert json.loads(content["code/rule.json"])["params"]["items"] == ["-r", [1, "x"], "MPW_sample_WPM!"]
    run = {file.path: file.content.decode() for file in made("run").files}
    assert "FACTOR = 3" in run["code/rule_code.py"] and "import Path" in run["code/rule_code.py"]
    r = {file.path: file.content.decode() for file in made("r").files}
    assert """output = list(paste0('r/', Sys.getenv("w_sample"), '.txt'))""" in r["code/rule.R"]
    conda = made("conda")
    assert conda.spec["minipach"] == {"environment": "environment.yml"}
    assert conda.files[-1].content == b"dependencies: [python]\n"


@pytest.mark.parametrize("word", ["a", "it's", '"; system("touch owned"); "', "`id`", "\\", "MPW_y_WPM"])
def test_a_value_of_a_wildcard_reaches_a_script_as_it_is(tmp_path: Path, word: str) -> None:
    rows = {"items": ["MPW_x_WPM", "p/MPW_x_WPM.txt", "b"], "names": {"a": [0, 2], "b": [2, None]}}
    empty: dict[str, Any] = {"items": [], "names": {}}
    data = {"input": rows, "output": empty, "params": empty, "wildcards": empty, "log": empty}
    data |= {"threads": 1, "config": {}, "rule": "r", "resources": {"mem_mb": 5}}
    (tmp_path / "rule.json").write_text(json.dumps(data))
    lines = [
        "from snakemake.shell import shell",
        "words = snakemake.input",
        "shell('printf %s {words.a[0]:q} >one')",
        "assert shell('printf %s {words.b}', read=True) == 'b' and str(words.get('a')) == ' '.join(words[:2])",
        "open('two', 'w').write(words[1])",
    ]
    (tmp_path / "s.py").write_text("\n".join(lines))
    command = [sys.executable, str(WITH_SNAKEMAKE), "rule.json", "s.py", f"x={word}", "y=other"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "one").read_text() == word
    assert (tmp_path / "two").read_text() == f"p/{word}.txt"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "rule.json", "s.py", "two"]


def test_code_of_r_looks_values_up() -> None:
    text = "x = list('a', 'p\\'MPW_x_WPM', \"n\" = 'MPW_x_WPM/MPW_y_WPM')"
    wanted = """x = list('a', paste0('p\\'', Sys.getenv("w_x"), ''), "n" = """
    assert in_r(text) == wanted + """paste0('', Sys.getenv("w_x"), '/', Sys.getenv("w_y"), ''))"""


@pytest.mark.usefixtures("snakemake")
def test_a_file_that_a_rule_makes_is_one_datum(project: Project) -> None:
    draft = draft_of(project, NewPipeline("one", "Snakefile:looked/a"), project.root)
    assert draft.spec["input"] == {"pfs": {"repo": "data", "glob": "/a.txt"}}
    assert b"cp data/a.txt looked/a" in draft.files[0].content


@pytest.mark.usefixtures("snakemake")
def test_a_hostile_snakefile_changes_nothing(project: Project, tmp_path: Path) -> None:
    mark, secret = tmp_path / "owned", Path.home() / ".minipach-test-secret"
    lines = [
        "import os, sys",
        f"os.system('touch {mark} {project.root}/owned; rm -rf {project.root}/data; echo x >> Snakefile')",
        f"open('{project.root}/data/a.txt', 'w').write('x')",
        "rule x:",
        '    input: "data/{s}.txt"',
        '    output: "{s}.y"',
        f"    shell: 'echo ' + str(os.path.exists({str(secret)!r})) + str(os.listdir('/sys/class/net'))",
    ]
    (project.root / "evil.smk").write_text("\n".join(lines) + "\n")
    before = {
        path: path.read_bytes() for path in project.root.rglob("*") if path.is_file() and ".git" not in path.parts
    }
    secret.write_text("x")
    try:
        assert code_of(lambda: read_rule(project.root / "evil.smk", "x")) == "new.no-answer"  # data is read-only
        (project.root / "evil.smk").write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")
        shell = read_rule(project.root / "evil.smk", "x").shell
    finally:
        secret.unlink()
    assert shell.startswith("echo False")
    after = {path: path.read_bytes() for path in before if path.name != "evil.smk"}
    assert after == {path: content for path, content in before.items() if path.name != "evil.smk"}
    assert not mark.exists() and not (project.root / "owned").exists()


@pytest.mark.usefixtures("snakemake")
@pytest.mark.parametrize(
    "text", ["x = 'a' * 10**12\n", "while True: print('x' * 10**6)\n", "rule\n", "raise SystemExit(3)\n"]
)
def test_a_snakefile_without_an_answer(tmp_path: Path, text: str) -> None:
    (tmp_path / "Snakefile").write_text(text)
    assert code_of(lambda: read_rule(tmp_path / "Snakefile", "")) == "new.no-answer"


@pytest.mark.usefixtures("snakemake")
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('rule a:\n    output "x"\n', "Snakefile:2"),
        ('include: "o.smk"\n', "Snakefile"),
        ("\udcff", "Snakefile"),
    ],
)
def test_a_broken_snakefile_has_a_place_and_a_fix(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "Snakefile").write_text(text, errors="surrogateescape")
    with pytest.raises(UserError) as caught:
        read_rule(tmp_path / "Snakefile", "")
    (problem,) = caught.value.problems
    assert problem.location == str(tmp_path / place) and problem.fix
    assert "Error" not in problem.message and "Errno" not in problem.message


def test_without_snakemake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    assert code_of(lambda: read_rule(tmp_path / "Snakefile", "")) == "new.no-program"


@pytest.mark.slow
@pytest.mark.usefixtures("snakemake")
def test_a_rule_becomes_a_pipeline_in_one_command_and_runs(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "data")
    study.put("data/a.txt", "1\n3\n2\n", save=False)
    study.put("data/it's b.txt", "x\ny\n", save=False)
    study.save("data")
    files(study.root)
    snakefile = study.root / "Snakefile"
    snakefile.write_text(snakefile.read_text().replace('    container: "docker://ubuntu"\n', ""))
    study.save(".")
    for name in ("sort", "python", "bash", "run"):
        done = study.minipach("new", name, "--from", f"Snakefile:{name}", "--commit")
        assert done.code == 0, done.err
    study.schedule()
    assert study.read("sort/out/a.txt") == b"a\n3\n2\n1\n"
    assert study.read("sort/out/it's b.txt") == b"it's b\ny\nx\n"
    assert study.read("python/python/it's b.txt") == b"x -r [1, 'x']\nit's b! it's b 1 100\n"
    assert study.read("bash/bash/it's b.txt") == b"-r it's b bash \n"
    assert study.read("run/run/it's b.txt") == b"33it's b.txtit's b\n"
