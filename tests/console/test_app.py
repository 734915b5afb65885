"""The console over HTTP: each page in each form, who may ask, and that nothing that is asked for breaks it."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipach.console.app import ASSETS, HEADERS, PACKED
from minipach.console.pages.registry import PAGES
from minipach.console.rendering import STATIC
from minipach.planning.plan import Plan, PlannedDatum
from minipach.project.project import Project
from minipach.records.service_state import ServiceState, Supervising, log_of, write_state
from minipach.views.datum_table import table_of
from tests.fixtures.consoles import HOST, TOKEN, ask, console_of
from tests.fixtures.leftovers import until
from tests.fixtures.projects import Study
from tests.fixtures.stories import HOSTILE, PIXEL, spec, troubled

HOSTILE_DATUM = f"datum?pipeline=edges&name={quote(HOSTILE, safe='')}"
ADDRESSES = [
    "",
    "pipeline?pipeline=edges",
    "pipeline?pipeline=edges&state=failed&find=bad&sort=seconds&order=down&page=7",
    "datum?pipeline=edges&name=moon.txt",
    "datum?pipeline=edges&name=bad.txt",
    HOSTILE_DATUM,
    "history?pipeline=edges&name=moon.txt&file=1",
    "log?pipeline=edges&name=bad.txt&find=cannot",
    "failures",
    "jobs",
    "job?id=edges&lanes=worker",
    "experiments",
    "storage",
    "storage?gc=1",
    "workers",
]


LOG = "log?pipeline=edges&name=bad.txt"


def form_of(page: str, ending: str) -> str:
    """The address of a page in another form."""
    name, mark, query = page.partition("?")
    return f"{name or 'index'}.{ending}{mark}{query}"


@pytest.mark.parametrize("page", ADDRESSES)
def test_each_page_is_html_json_and_text(page: str) -> None:
    console = console_of(troubled())
    shown = ask(console, page)
    assert shown.status_code == 200 and shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script>alert" not in shown.text and "\x1b" not in shown.text
    assert ask(console, form_of(page, "json")).json()["schema"] == 1
    text = ask(console, form_of(page, "txt"))
    assert text.status_code == 200 and text.headers["content-type"].startswith("text/plain")


def test_the_addresses_above_have_all_pages() -> None:
    assert {page.partition("?")[0] for page in ADDRESSES} == set(PAGES) - {"compose"}


def test_the_overview_leads_to_the_cause_of_a_failure_in_two_clicks() -> None:
    console = console_of(troubled())
    assert f"{console.prefix}/failures" in ask(console, "").text
    cause = ask(console, "failures").text
    assert "the command exited with 3" in cause and "cannot read it" in cause
    groups = ask(console, "failures.json").json()["groups"]
    assert [(g["count"], g["datums"]) for g in groups] == [(2, ["bad.txt", "bad2.txt"]), (1, [HOSTILE])]


def test_pages_say_what_the_commands_say() -> None:
    study = troubled()
    shown = ask(console_of(study), "index.json").json()
    rows = {row["name"]: row for row in study.minipach("status", "--json").json["pipelines"]}
    assert {p["name"]: (p["state"], p["counts"]) for p in shown["pipelines"]} == {
        name: (row["state"], row["counts"]) for name, row in rows.items()
    }


def test_a_blocked_pipeline_says_what_it_waits_for(tmp_path: Path) -> None:
    study = troubled().duplicate(tmp_path / "study")
    study.pipeline("broken", spec("nowhere", "/", "x"), x="")
    study.pipeline("later", spec("broken", "/", "x"), x="")
    found = ask(console_of(study), "pipeline.json?pipeline=later").json()
    assert (found["state"], found["waits"]) == ("blocked", "waits for broken (1 problem)")


def test_filters_are_in_the_address() -> None:
    found = ask(console_of(troubled()), "pipeline.json?pipeline=edges&state=failed&find=bad2").json()
    assert [row["name"] for row in found["rows"]] == ["bad2.txt"] and found["selected"] == 1


def test_logs_say_how_many_lines_a_filter_hides() -> None:
    assert "0 of " in ask(console_of(troubled()), "log?pipeline=edges&name=bad.txt&find=nowhere").text
    assert '<span class="sgr-red">red</span>' in ask(console_of(troubled()), "log?pipeline=edges&name=bad.txt").text


def test_a_log_says_which_tries_it_shows() -> None:
    console = console_of(troubled())
    whole, first, second = (ask(console, LOG + more) for more in ("", "&try=1", "&try=2"))
    marked = [re.findall('aria-current="page">([^<]+)<', page.text)[-1] for page in (whole, first, second)]
    assert marked == ["all tries", "try 1", "try 2"]
    lines = [ask(console, LOG.replace("log?", "log.json?") + more).json()["lines"] for more in ("", "&try=1", "&try=2")]
    assert lines[0] == [*lines[1], "minipach: try 2 of 2", *lines[2]]


def test_failures_show_the_end_of_the_last_try() -> None:
    one, *_ = ask(console_of(troubled()), "failures.json").json()["groups"]
    assert one["tries"] == 2 and "cannot read it" in one["log"] and "minipach: try" not in one["log"]
    assert "End of the log of bad.txt, try 2:" in ask(console_of(troubled()), "failures").text


def test_one_word_for_a_result_that_waits_for_the_publish() -> None:
    step = PlannedDatum("a", "id", "reuse", "computed before")
    assert table_of(Plan("edges", (step,)), {}).counts == {"stored": 1}


@pytest.mark.slow
def test_files_are_asked_for_by_number_and_are_never_pages(study: Study) -> None:
    study.put("images/page.html", "<script>alert(1)</script>")
    study.put("images/dot.png", PIXEL)
    study.copier()
    study.schedule()
    console = console_of(study)
    page = ask(console, "file?pipeline=edges&name=page.html&file=0")
    assert page.headers["content-type"] == "text/plain; charset=utf-8" and page.text.startswith("<script>")
    assert page.headers["content-security-policy"].startswith("sandbox")
    picture = ask(console, "file?pipeline=edges&name=dot.png&file=1")
    assert picture.headers["content-type"] == "image/png" and picture.content == PIXEL
    for number in ("2", "-1", "x", "../../etc/passwd", ""):
        assert ask(console, f"file?pipeline=edges&name=dot.png&file={quote(number)}").status_code == 404


def test_the_strip_has_a_letter_for_each_datum_and_leads_to_it() -> None:
    console = console_of(troubled())
    of, letters = ask(console, "strip?pipeline=edges&find=bad2").text.split("\n")
    rows = ask(console, "pipeline.json?pipeline=edges").json()["rows"]
    assert [letter.islower() for letter in letters] == ["bad2" in row["name"] for row in rows]
    at = [row["name"] for row in rows].index("bad2.txt")
    there = ask(console, f"at?pipeline=edges&of={of}&row={at}")
    assert there.status_code == 303 and there.headers["location"].endswith("datum?pipeline=edges&name=bad2.txt")
    for query in (f"of={of}&row=99", f"of=other&row={at}", f"of={of}&row=-1", ""):
        assert ask(console, f"at?pipeline=edges&{query}").headers["location"].endswith("pipeline?pipeline=edges")


def test_a_page_shows_what_was_last_known_while_it_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from minipach.console import reading

    study = troubled().duplicate(tmp_path / "study")
    console = console_of(study)
    assert ask(console, "index.json").json()["pipelines"][0]["counts"]["datums"] == 6
    monkeypatch.setattr(reading, "SOON", 0.0)
    fresh = console_of(study)
    assert "6 datums" in ask(fresh, "").text, "the last console left it on disk"
    study.put("images/dust.txt", "fine\n")
    page = ask(fresh, "").text
    assert "6 datums" in page and "data-older" in page
    assert ask(fresh, "index.json").json()["pipelines"][0]["counts"]["datums"] == 7, "data are of now"
    page = ask(fresh, "").text
    assert "7 datums" in page and "data-older" not in page


def test_a_first_page_needs_no_states(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from minipach.console import reading

    study = troubled().duplicate(tmp_path / "study")
    shutil.rmtree(Project(study.root).local.cache)
    monkeypatch.setattr(reading, "SOON", 0.0)
    page = ask(console_of(study), "").text
    assert "unknown" in page and "data-older" in page and "edges" in page


def test_a_chart_says_which_tries_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from minipach.console.pages import jobs

    whole = ask(console_of(troubled()), "job?id=edges")
    assert "The chart has the first" not in whole.text
    tries = ask(console_of(troubled()), "job.json?id=edges").json()["tries_in_all"]
    monkeypatch.setattr(jobs, "_MOST_BARS", 4)
    page = ask(console_of(troubled()), "job?id=edges").text
    assert tries == 9 and f"the first 4 of {tries} tries" in page


def test_a_chart_that_is_cut_has_its_tries_as_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    from minipach.console.pages import jobs

    console = console_of(troubled())
    assert "data-query" not in ask(console, "job?id=edges").text, "a small job is an SVG"
    monkeypatch.setattr(jobs, "_MOST_BARS", 4)
    for lanes in ("datum", "worker"):
        page = ask(console, f"job?id=edges&lanes={lanes}").text
        query = html.unescape(page.partition('data-query="')[2].partition('"')[0])
        answer = ask(console, f"bars?{query}")
        found = answer.json()
        assert answer.headers["content-type"] == "application/json" and found["bars"] == len(found["datum"]) == 9
        assert HOSTILE in found["datums"] and (found["rows"] is None) == (lanes == "datum")
        failed = [
            found["datums"][d]
            for d, kind in zip(found["datum"], found["kind"], strict=True)
            if found["kinds"][kind] == "failed"
        ]
        assert set(failed) == {"bad.txt", "bad2.txt", HOSTILE}
        there = f"{found['link']}&name=bad.txt&try=1".removeprefix(f"{console.prefix}/")
        assert "cannot read it" in ask(console, there).text
    for query in ("", "id=", "id=nothing", "id=edges&lanes=%00"):
        assert ask(console, f"bars?{query}").status_code == (200 if "edges" in query else 404)


def test_only_the_first_try_is_staged() -> None:
    """Between tries of a datum nothing is staged: a bar of staging over the first try would hide it."""
    page = ask(console_of(troubled()), "job?id=edges").text
    chart = page[page.index('class="gantt"') :]
    second = [part for part in chart.split("<a ")[1:] if "try 2" in part]
    assert len(second) == 3 and not any('class="staging"' in part.partition("</a>")[0] for part in second)


def test_the_page_of_a_service_says_where_it_serves(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    text = 'input: {pfs: {repo: images, glob: "/"}}\ntransform: {cmd: [sh]}\nminipach: {health: /ready}\n'
    study.put("site/spec.yml", text + "service: {internal_port: 80, external_port: 30080}\n")
    local = Project(study.root).local
    console = console_of(study)
    page = ask(console, "pipeline?pipeline=site").text
    assert "does not serve" in page and "minipach services start site" in page and "0 datums shown" not in page
    supervising = Supervising(local)
    try:
        write_state(local, ServiceState("site", "serving", "d" * 64, "", "127.0.0.1:30080", 1.0, 2, "<b>"))
        log_of(local, "site").write_text("<script>alert(1)</script>\n")
        page = ask(console, "pipeline?pipeline=site").text
        found = ask(console, "pipeline.json?pipeline=site").json()["service"]
    finally:
        supervising.release()
    assert 'href="http://127.0.0.1:30080/"' in page and "GET /ready" in page and "<script>alert" not in page
    assert [found[name] for name in ("state", "external_port", "restarts", "why")] == ["serving", 30080, 2, "<b>"]


@pytest.mark.slow
def test_hostile_logs_specs_and_branches_are_text(tmp_path: Path) -> None:
    from minipach.console.pages.log import last_attempt

    evil = "<script>alert(2)</script>\u202e\x1b]0;x\x07"
    study = troubled().duplicate(tmp_path / "study")
    last, tries = last_attempt(Project(study.root), "edges", "bad.txt")
    assert last is not None
    for log in {last.log, *(one.log for one in tries)} - {""}:
        Path(log).write_bytes(b"x" * 10_000_000 + f"\n\0{evil}\n".encode() + b"\xff\xfe" * 1000)
    study.put(
        "edges/spec.yml", f"description: {evil!r}\ninput: {{pfs: {{repo: images, branch: 'a{evil}', glob: '/*'}}}}\n"
    )
    study.git("images", "branch", "odd-\u202e-<b>")
    console = console_of(study)
    for page in (
        "",
        "failures",
        "pipeline?pipeline=edges",
        "datum?pipeline=edges&name=bad.txt",
        LOG,
        f"{LOG}&find=%00",
    ):
        name, _, query = page.partition("?")
        for ending in ("", ".json", ".txt"):
            answer = ask(console, f"{name or 'index'}{ending}?{query}" if ending else page)
            assert answer.status_code in (200, 404) and len(answer.content) < 5_000_000, page
            if not ending:
                assert "<script>alert" not in answer.text and not {"\u202e", "\x1b", "\0"} & set(answer.text), page


@pytest.mark.slow
def test_a_datum_is_shown_beside_its_last_good_run(tmp_path: Path) -> None:
    study = troubled().duplicate(tmp_path / "study")
    study.put("images/moon.txt", "bad moon\n")
    study.put("edges/code/picky.sh", "exit 7\n")
    study.minipach("schedule")
    good = ask(console_of(study), "datum.json?pipeline=edges&name=moon.txt").json()["last_good"]
    parts = {row["part"] for row in good["rows"] if row["before"] != row["now"]}
    assert {"input", "code"} <= parts and not good["is_same"] and good["attempt"]["exit"] == 0
    groups = ask(console_of(study), "failures.json").json()["groups"]
    assert "code" in {row["part"] for one in groups for row in one["differs"]}, "of whichever is named first"
    assert "Different from the last good run of" in ask(console_of(study), "failures").text
    html = ask(console_of(study), "datum?pipeline=edges&name=moon.txt").text
    assert "Log then" in html and "reading moon.txt" in html
    history = ask(console_of(study), "history.json?pipeline=edges&name=moon.txt&file=1").json()["versions"]
    assert len(history) == 1 and history[0]["content"]
    old = ask(console_of(study), f"file?pipeline=edges&name=moon.txt&file=1&commit={history[0]['commit']}")
    assert old.text == "PALE\n"
    assert ask(console_of(study), "file?pipeline=edges&name=moon.txt&file=1&commit=HEAD").status_code == 404


def test_scripts_are_small_before_a_volume_is_opened() -> None:
    own = [name for name in ASSETS if name.endswith(".js") and name not in PACKED]
    assert sum(len(ask(console_of(troubled()), name).content) for name in own) < 60_000


def test_files_of_others_are_those_that_are_named() -> None:
    table = (STATIC / "VENDORED.md").read_text()
    for name in PACKED:
        packed = (STATIC / f"{name}.gz").read_bytes()
        assert hashlib.sha256(gzip.decompress(packed)).hexdigest() in table
        answer = ask(console_of(troubled()), name)
        assert answer.content == gzip.decompress(packed) and answer.headers["content-encoding"] == "gzip"


def test_logs_of_others_are_not_read(tmp_path: Path) -> None:
    from minipach.console.pages.log import log_file

    project = Project(troubled().root)
    secret = tmp_path / "secret"
    secret.write_text("x")
    link = project.local.logs / "link"
    link.symlink_to(secret)
    assert log_file(project, str(secret)) is None
    assert log_file(project, str(link)) is None
    assert log_file(project, str(project.local.logs / ".." / "ledger.sqlite")) is None
    link.unlink()


# Who may ask


def test_without_the_token_nothing_is_shown() -> None:
    console = console_of(troubled())
    for prefix in ("/c/wrong", "/c/", f"/c/{TOKEN}x", "/c/%ff"):
        answer = ask(console, "", prefix=prefix)
        assert answer.status_code == 404 and "study" not in answer.text
    assert ask(console, "", prefix="/").status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", "", "[::1"])
def test_names_that_another_dns_may_have_are_refused(host: str) -> None:
    assert ask(console_of(troubled()), "", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8642", "LOCALHOST"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert ask(console_of(troubled()), "jobs.json", headers={"Host": host}).status_code == 200


def test_each_answer_has_the_headers_of_security() -> None:
    console = console_of(troubled())
    for page in ("", "jobs.json", "console.js", "nothing", "pipeline?pipeline=none"):
        headers = ask(console, page).headers
        assert all(name in headers for name in HEADERS), page
    policy = ask(console, "").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy


# Actions


def test_without_actions_forms_do_nothing_and_are_not_shown() -> None:
    console = console_of(troubled())
    assert 'method="post"' not in ask(console, "").text
    assert ask(console, "act", method="POST", body=b"action=pause").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_forms_of_other_sites_do_nothing(headers: dict[str, str]) -> None:
    console = console_of(troubled(), actions=True)
    assert ask(console, "act", method="POST", body=b"action=pause", headers=headers).status_code == 403


def test_an_action_runs_the_command_that_its_button_shows(tmp_path: Path) -> None:
    study = troubled().duplicate(tmp_path / "study")
    console = console_of(study, actions=True)
    assert "minipach pause edges" in ask(console, "pipeline?pipeline=edges").text
    ours = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
    answer = ask(console, "act", method="POST", body=b"action=pause&pipeline=edges", headers=ours)
    assert answer.status_code == 303
    until("the pause", lambda: "edges" in study.minipach("triggers", "--json").json["paused"])
    assert Project(study.root).local.console_log.read_text().startswith("$ minipach pause edges\n")


@pytest.mark.parametrize(
    "body", [b"", b"action=init", b"action=retry", b"action=schedule&pipeline=none", b"a" * 70_000]
)
def test_wrong_forms_are_refused(body: bytes) -> None:
    assert ask(console_of(troubled(), actions=True), "act", method="POST", body=body).status_code in (400, 413)


# Compose

OURS = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}


def form(**values: str) -> bytes:
    return "&".join(f"{n.replace('__', '.')}={quote(v, safe='')}" for n, v in values.items()).encode()


def test_compose_shows_the_effect_of_a_form_and_of_its_text() -> None:
    console = console_of(troubled(), actions=True)
    opened = ask(console, "compose.json?pipeline=edges").json()
    assert opened["effect"]["current"] == 3 and opened["base"]
    text = "# mine\n" + opened["text"]
    body = form(base=opened["base"], path="edges", before=opened["text"], text=text, f__salt="x <b>", do="preview")
    page = ask(console, "compose", method="POST", body=body, headers=OURS)
    assert page.status_code == 200 and "# mine" in page.text and "salt: x &lt;b&gt;" in page.text
    assert "to run" in page.text and "<b>" not in page.text


def test_compose_begins_with_a_template_of_the_library() -> None:
    console = console_of(troubled(), actions=True)
    assert "library:edges" in ask(console, "compose").text
    page = ask(console, "compose.json?new=1&template=library%3Aedges&repo=images").json()
    assert page["template"] == "library:edges" and "repo: images" in page["text"] and page["failed"] == []
    assert ask(console, "compose?new=1&template=library%3Anothing").status_code == 200


def test_compose_needs_actions_and_its_own_page() -> None:
    assert ask(console_of(troubled()), "compose?pipeline=edges").status_code == 404
    console = console_of(troubled(), actions=True)
    assert "fieldset" in ask(console, "compose?new=1").text
    other = {"Origin": "http://evil.example"}
    assert ask(console, "compose", method="POST", body=b"do=save", headers=other).status_code == 403
    assert ask(console_of(troubled()), "compose", method="POST", body=b"do=save").status_code == 403


def test_what_was_written_is_kept_when_it_can_not_be_saved() -> None:
    console = console_of(troubled(), actions=True)
    text = "input: [<script>\n"
    body = form(base="0" * 40, path="edges", before=text, text=text, do="save")
    page = ask(console, "compose", method="POST", body=body, headers=OURS)
    assert page.status_code == 409 and "input: [&lt;script&gt;" in page.text and "problem" in page.text


FIELDS = ["base", "path", "before", "text", "f.salt", "f.transform.cmd", "i.kind", "i.0.repo", "i.0.glob", "branch"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            ["base", "path", "before", "text", "f.salt", "f.transform.cmd", "i.kind", "i.0.repo", "i.0.glob", "branch"]
        ),
        st.sampled_from(["edges", "new", "a/../b", "x: [", "input: {pfs: {repo: images}}", "\0", "\ud800", "cross"])
        | st.text(max_size=30),
    ),
    st.sampled_from(["preview", "save", ""]),
)
def test_no_form_breaks_compose(values: dict[str, str], do: str) -> None:
    body = "&".join(f"{n}={quote(v.encode('utf-8', 'surrogatepass'))}" for n, v in {**values, "do": do}.items())
    answer = ask(console_of(troubled(), actions=True), "compose", method="POST", body=body.encode(), headers=OURS)
    assert answer.status_code in (200, 400, 409), answer.text[:500]


# Whatever is asked for

NAMES = st.sampled_from(["edges", "numbers", "images", "..", "/", "", "moon.txt", "bad.txt", HOSTILE]) | st.text(
    max_size=20
)
NAMED = [
    "pipeline",
    "name",
    "file",
    "page",
    "state",
    "find",
    "sort",
    "order",
    "id",
    "job",
    "try",
    "lanes",
    "self",
    "row",
    "of",
    "commit",
    "gc",
    "x",
    "y",
    "base",
]
VALUES = st.dictionaries(
    st.sampled_from([name for name in NAMED if name != "base"]),
    NAMES,
    max_size=5,
)
WORDS = st.sampled_from(
    [*PAGES, *(f"{page}.json" for page in PAGES), "file", "strip", "at", "bars", "events.x", "console.js", "index.txt"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WORDS | st.text(max_size=10), VALUES, st.sampled_from(["GET", "HEAD", "POST"]))
def test_no_address_breaks_the_console(page: str, values: dict[str, str], method: str) -> None:
    console = console_of(troubled())
    query = "&".join(f"{n}={quote(v.encode('utf-8', 'surrogatepass'))}" for n, v in values.items())
    where = quote(page.encode("utf-8", "surrogatepass"), safe="")
    if where.startswith("events"):
        return
    answer = ask(console, f"{where}?{query}", method=method)
    assert answer.status_code in (200, 303, 307, 403, 404), answer.text[:500]
    if page.endswith(".json") and method == "GET" and answer.status_code == 200:
        json.loads(answer.text)
