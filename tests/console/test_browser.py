"""The console in a real Chromium: each page, the keyboard alone, a phone, dark and light, and what is live.

`MINIPACH_SCREENSHOTS=FOLDER` writes a picture of each page there (`python docs/screenshots.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from minipach.console.pages.log import last_attempt
from minipach.model.job_entries import Attempt, DatumResult, Took, Try
from minipach.project.project import Project
from minipach.records.job_history import open_ledger
from tests.fixtures.consoles import Shown, shown
from tests.fixtures.projects import PATIENCE, Study, need
from tests.fixtures.stories import HOSTILE, PIXEL, troubled

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PICTURES = os.environ.get("MINIPACH_SCREENSHOTS")  # read here: tests have none of these variables
pytestmark = pytest.mark.slow
# the tables with rows of fields that are wider than their box, and the fields that are not named
HIDDEN = """[...document.querySelectorAll("table.rows")].flatMap((table) => [
  ...(table.scrollWidth > table.parentElement.clientWidth ? [table.parentElement.ariaLabel] : []),
  ...[...table.querySelectorAll("tbody td")]
    .filter((cell) => cell.textContent && cell.colSpan === 1
      && getComputedStyle(cell, "::before").content !== JSON.stringify(cell.dataset.label))
    .map((cell) => cell.outerHTML),
])"""
PAGES = {
    "overview": "",
    "pipeline": "pipeline?pipeline=edges",
    "datum": "datum?pipeline=edges&name=bad.txt",
    "output": "datum?pipeline=numbers&name=%2F",
    "history": "history?pipeline=edges&name=moon.txt&file=1",
    "log": "log?pipeline=edges&name=bad.txt",
    "failures": "failures",
    "jobs": "jobs",
    "job": "job?id=edges",
    "experiments": "experiments",
    "storage": "storage?gc=1",
    "workers": "workers",
    "compose": "compose?pipeline=edges",
    "new": "compose?new=1",
    "missing": "pipeline?pipeline=nothing",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        options = [
            "--no-sandbox",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--disable-quic",
            "--no-first-run",
        ]
        opened = play.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A console with actions of a project that is only looked at."""
    with shown(troubled(), tmp_path_factory.mktemp("console") / "log", "--actions") as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield watched(context)
    context.close()


def watched(context: BrowserContext) -> Page:
    """A page that fails the test if it runs into an error, or asks for anything outside of the console."""
    found = context.new_page()
    found.set_default_timeout(PATIENCE * 1000)
    troubles: list[str] = []
    found.on("pageerror", lambda error: troubles.append(str(error)))
    found.on(
        "console", lambda said: troubles.append(said.text) if said.type == "error" and "404" not in said.text else None
    )
    found.on(
        "request",
        lambda asked: None if re.match(r"http://127\.0\.0\.1:|data:", asked.url) else troubles.append(asked.url),
    )
    found.troubles = troubles  # type: ignore[attr-defined]
    return found


def no_trouble(page: Page) -> None:
    assert page.troubles == []  # type: ignore[attr-defined]


def wait(page: Page, what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        page.wait_for_timeout(50)


def violations(page: Page) -> list[str]:
    """Return the faults that axe finds in a page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:150]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_page_is_accessible(browser: Browser, console: Shown, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = watched(context)
    for name, where in PAGES.items():
        page.goto(console.link + where)
        assert page.locator("h1").count() == 1, name
        assert not page.get_by_text("Swipe the graph").is_visible()
        assert violations(page) == [], f"{name}, {scheme}"
        screenshot(page, f"{name}-{scheme}")
    no_trouble(page)
    context.close()


def test_each_page_fits_a_phone(browser: Browser, console: Shown) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, device_scale_factor=2)
    page = watched(context)
    for name, where in PAGES.items():
        page.goto(console.link + where)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"{name} is {wide} pixels wide"
        hidden = page.evaluate(HIDDEN)
        assert hidden == [], f"{name}: a table has to be scrolled"
        assert page.get_by_text("Swipe the graph").is_visible() is (name == "overview")
        assert violations(page) == [], name
        screenshot(page, f"{name}-phone")
    no_trouble(page)
    context.close()


def screenshot(page: Page, name: str, *, whole: bool = True) -> None:
    """Write a picture where someone asked for them. whole: of all of the page, not only of what is seen."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=whole)


@pytest.mark.parametrize(("wide", "high"), [(1280, 800), (360, 740)])
def test_a_stranger_finds_the_cause_in_two_clicks(browser: Browser, tmp_path: Path, wide: int, high: int) -> None:
    """Each click is on what a page shows without scrolling, and so is the line of the log that has the cause."""
    study = troubled().duplicate(tmp_path / "study")
    cause = "ValueError: cannot read the 3rd channel"
    last, _ = last_attempt(Project(study.root), "edges", "bad.txt")
    assert last is not None
    lines = [f"INFO {n:05} a line of a program that says much about what it does" for n in range(5000)]
    Path(last.log).write_text("\n".join([*lines, cause, "datum: bad.txt: the command failed with exit code 3"]) + "\n")
    context = browser.new_context(viewport={"width": wide, "height": high})
    page = watched(context)
    with shown(study, tmp_path / "log", "--actions") as console:
        page.goto(console.link)
        first = page.get_by_role("link", name=re.compile("^why"))
        assert is_seen(page, first.inner_text())
        first.click()
        page.wait_for_url("**/failures*")
        assert is_seen(page, cause), "after one click"
        page.get_by_role("link", name="bad.txt", exact=True).click()
        page.wait_for_url("**/datum*")
        assert is_seen(page, cause) and is_seen(page, "the command exited with 3"), "after two"
        no_trouble(page)
    context.close()


def is_seen(page: Page, text: str) -> bool:
    """Return whether a text is in the viewport, and nothing hides it or cuts it off."""
    return bool(
        page.evaluate(
            """(text) => {
              const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
              while (walk.nextNode()) {
                const at = walk.currentNode.data.indexOf(text);
                if (at < 0) continue;
                const range = document.createRange();
                range.setStart(walk.currentNode, at);
                range.setEnd(walk.currentNode, at + text.length);
                const seen = [...range.getClientRects()].every((box) => {
                  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                  const there = document.elementFromPoint(x, y);
                  return there && there.contains(walk.currentNode) && box.left >= 0 && box.right <= innerWidth + 1;
                });
                if (seen) return true;
              }
              return false;
            }""",
            text,
        )
    )


def test_a_cell_of_the_strip_leads_to_its_datum(page: Page, console: Shown) -> None:
    page.goto(f"{console.link}pipeline?pipeline=edges")
    page.wait_for_selector("#strip[data-cells='6'] canvas")
    names = page.locator("#datums tbody a").all_inner_texts()
    page.locator("#strip canvas").click(position={"x": 12 * 2 + 3, "y": 3})
    page.wait_for_url("**/datum*")
    assert names[2] in page.locator("h1").inner_text()
    page.go_back()
    page.wait_for_selector("#strip[data-cells='6'] canvas")
    page.locator("#strip canvas").focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/datum*")
    assert names[1] in page.locator("h1").inner_text()
    no_trouble(page)


def test_all_tries_of_a_large_job_are_reached_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    """6,000 tries on a canvas: each is reached by arrow keys and says which it is, Enter and a click open its log."""
    study = troubled().duplicate(tmp_path / "study")
    large_job(study, 3000)
    with shown(study, tmp_path / "log") as console:
        for scheme, wide in (("light", 1280), ("dark", 360)):
            context = browser.new_context(color_scheme=cast(Any, scheme), viewport={"width": wide, "height": 900})
            page = watched(context)
            page.goto(f"{console.link}job?id=edges")
            page.wait_for_selector("#chart[data-bars='6000'] canvas")
            assert page.locator("#chart svg, #chart .cut").count() == 0, "the canvas has all of them"
            assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= wide
            screenshot(page, f"large-job-{scheme}", whole=False)
            if scheme == "light":
                keep_place(page, study)
                reach_all(page)
            no_trouble(page)
            context.close()


def keep_place(page: Page, study: Study) -> None:
    """An update of the page leaves the zoom, the chosen try and the focus."""
    own = page.locator("#chart .gantt")
    page.locator("#chart canvas").focus()
    for key in ("End", "+"):
        page.keyboard.press(key)
    view = own.get_attribute("data-view")
    page.evaluate("document.getElementById('chart').dataset.old = '1'")
    study.put("images/dust.txt", "fine\n")
    page.wait_for_selector("#chart[data-bars]:not([data-old]) canvas")
    assert own.get_attribute("data-at") == "5999" and own.get_attribute("data-view") == view
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    page.keyboard.press("0")


def reach_all(page: Page) -> None:
    note, own = page.locator("#chart .note"), page.locator("#chart .gantt")
    page.locator("#chart canvas").focus()
    page.keyboard.press("Home")
    seen = page.evaluate(
        """() => {
          const [canvas, note] = ["canvas", ".note"].map((one) => document.querySelector("#chart " + one));
          const seen = [note.textContent];
          for (let n = 1; n < 6000; n++) {
            canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
            seen.push(note.textContent);
          }
          return seen;
        }"""
    )
    tries = {re.sub(r"^try \d+ of 6000: (.*): \w+, (try \d).*", r"\1 \2", one) for one in seen}
    assert tries == {f"d{n:04}.txt try {number}" for n in range(3000) for number in (1, 2)}
    page.keyboard.press("Home")
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('#chart .lanes').scrollTop") > 50_000, "what is chosen is in view"
    page.keyboard.press("ArrowUp")
    assert note.inner_text().startswith("try 5998 of 6000: d2998.txt: ok, try 2")
    whole = own.get_attribute("data-view")
    page.keyboard.press("+")
    near = own.get_attribute("data-view")
    page.keyboard.press("Shift+ArrowLeft")
    moved = own.get_attribute("data-view")
    page.keyboard.press("0")
    assert len({whole, near, moved}) == 3 and own.get_attribute("data-view") == whole
    page.keyboard.press("Enter")
    page.wait_for_url("**/log*try=2")
    assert "d2998.txt" in page.locator("h1").inner_text()
    page.go_back()
    page.wait_for_selector("#chart[data-bars='6000'] canvas")
    box = page.locator("#chart canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 210 + 5, box["y"] + 64 + 10)
    wait(page, "the tooltip", lambda: page.locator("#chart .tip").inner_text().startswith("d0000.txt"))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    wait(page, "the zoom", lambda: own.get_attribute("data-view") != whole)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + 64 + 10, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Show all of the time").click()
    page.mouse.click(box["x"] + 210 + 2, box["y"] + 64 + 10)
    page.wait_for_url("**/log*name=d0000.txt*")


def large_job(study: Study, count: int) -> None:
    """Note a job of so many datums, each of which failed once, as a schedule would have."""
    ledger = open_ledger(Project(study.root))
    begin = time.time()
    with ledger.together():
        key = ledger.start_job("f" * 64, "edges")
        for n in range(count):
            at = begin + n / 10
            before = (Try("failed", 1, "no", at, at + 1, 1.0, host="host"),)
            result = DatumResult(0, "ok", took=Took(at + 1, at + 2.5, 1.5, 1.0))
            ledger.add_attempt(
                key, "edges", Attempt(f"d{n:04}.txt", f"{n}", result, 2, "host", "", at, at + 3, before=before)
            )
        ledger.end_job(key, "published", Counter({"datums": count, "ok": count}), "")
    ledger.close()


def test_compose_by_form_text_and_graph(browser: Browser, tmp_path: Path) -> None:
    study = troubled().duplicate(tmp_path / "study")
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = watched(context)
    with shown(study, tmp_path / "log", "--actions") as console:
        page.goto(f"{console.link}compose?pipeline=edges")
        yaml = page.locator("#text")
        yaml.fill("# mine\n" + yaml.input_value())
        page.locator("[name='f.description']").fill("picks the good ones")
        page.locator("[name='f.description']").blur()
        wait(page, "the YAML", lambda: "description: picks the good ones" in yaml.input_value())
        assert yaml.input_value().startswith("# mine\n")
        page.get_by_text("Running", exact=True).click()
        page.locator("[name='f.salt']").fill("again")
        page.locator("[name='f.salt']").blur()
        wait(page, "the effect", lambda: "to run" in page.locator("#effect").inner_text())
        page.get_by_role("button", name="Save as a commit").click()
        page.wait_for_url("**/pipeline*")
        assert "To undo it: git -C edges revert" in page.locator("main").inner_text()
        assert study.git("edges", "show", "HEAD:spec.yml").startswith("# mine\n")
        page.goto(f"{console.link}compose?new=1&repo=images")
        source = page.locator("#graph a[href*='repo=edges']")
        target = page.locator("#graph a[href*='repo=step']")
        target.scroll_into_view_if_needed()
        a, b = source.bounding_box(), target.bounding_box()
        assert a and b
        page.mouse.move(a["x"] + 20, a["y"] + 10)
        page.mouse.down()
        page.mouse.move(b["x"] + 20, b["y"] + 10, steps=5)
        page.mouse.up()
        wait(page, "the drawn input", lambda: "repo: edges" in page.locator("#text").input_value())
        page.locator("#graph a[href*='repo=numbers']").focus()
        page.keyboard.press("Enter")
        wait(page, "the input of the keyboard", lambda: "repo: numbers" in page.locator("#text").input_value())
        page.goto(f"{console.link}compose?new=1&template=library%3Atrain")
        for value in ("7", "8"):
            page.locator("[name='p.epochs']").fill(value)
            wait(page, "the parameter", lambda v=value: f"epochs: {v}" in page.locator("#text").input_value())
        no_trouble(page)
    context.close()


def test_compose_without_javascript(browser: Browser, tmp_path: Path) -> None:
    study = troubled().duplicate(tmp_path / "study")
    context = browser.new_context(java_script_enabled=False)
    page = watched(context)
    with shown(study, tmp_path / "log", "--actions") as console:
        page.goto(f"{console.link}compose?pipeline=numbers")
        page.locator("[name='f.description']").fill("counts <b>")
        page.get_by_role("button", name="Show the effect").click()
        assert "description: counts <b>" in page.locator("#text").input_value()
        assert "datum" in page.locator("#effect").inner_text()
        page.locator("[name=branch]").fill("idea")
        page.get_by_role("button", name="Save as a commit").click()
        assert "Saved as commit" in page.locator("main").inner_text()
        assert "counts <b>" in study.git("numbers", "show", "idea:spec.yml")
        page.goto(f"{console.link}compose?new=1&template=library%3Atrain&path=fit")
        page.locator("[name='p.lr']").fill("0.5")
        page.get_by_role("button", name="Show the effect").click()
        assert "lr: 0.5" in page.locator("#text").input_value()
        page.locator("[name=branch]").fill("fit-idea")
        page.get_by_role("button", name="Save as a commit").click()
        assert "Saved as commit" in page.locator("main").inner_text()
        assert "lr: 0.5" in study.git(".", "show", "fit-idea:fit/spec.yml")
        assert study.git(".", "show", "fit-idea:fit/code/train.py")
        no_trouble(page)
    context.close()


def test_a_volume_is_opened_on_demand_and_a_damaged_picture_says_so(tmp_path: Path, browser: Browser) -> None:
    import nibabel
    import numpy

    study = Study.create(tmp_path / "study")
    image = nibabel.Nifti1Image(numpy.arange(4096, dtype="int16").reshape(16, 16, 16), numpy.eye(4))
    nibabel.save(image, study.root / "images" / "brain.nii.gz")
    (study.root / "images" / "torn.png").write_bytes(PIXEL[:40])
    study.save("images")
    study.copier()
    study.schedule()
    context = browser.new_context()
    page = watched(context)
    fetched: list[str] = []
    page.on("request", lambda asked: fetched.append(asked.url))
    with shown(study, tmp_path / "log") as console:
        page.goto(f"{console.link}datum?pipeline=edges&name=brain.nii.gz")
        assert not [url for url in fetched if "niivue" in url]
        page.get_by_role("button", name="Open the volume").first.click()
        page.wait_for_selector(".volume-box[data-shown='1'] canvas")
        assert [url for url in fetched if "niivue" in url] and violations(page) == []
        page.goto(f"{console.link}datum?pipeline=edges&name=torn.png")
        wait(page, "the note", lambda: "torn.png can't be shown" in page.locator("main").inner_text())
        no_trouble(page)
    context.close()


def test_the_keyboard_alone_finds_the_cause(page: Page, console: Shown) -> None:
    page.goto(console.link)
    tab_to(page, "why 3 failed")
    page.keyboard.press("Enter")
    page.wait_for_url("**/failures*")
    tab_to(page, "bad.txt")
    page.keyboard.press("Enter")
    page.wait_for_url("**/datum*")
    assert "cannot read it" in page.locator("#log").inner_text()
    no_trouble(page)


def tab_to(page: Page, text: str) -> None:
    """Press Tab until what has the focus has this text."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            return
    raise AssertionError(f"Tab never comes to {text!r}")


def test_hostile_names_and_logs_are_text(page: Page, console: Shown) -> None:
    page.goto(f"{console.link}pipeline?pipeline=edges")
    page.get_by_role("link", name=HOSTILE, exact=True).click()
    assert HOSTILE in page.locator("h1").inner_text()
    page.goto(f"{console.link}log?pipeline=edges&name=bad.txt")
    assert "red <b>" in page.locator("#lines .log").inner_text()
    no_trouble(page)


def test_pages_work_without_javascript(browser: Browser, console: Shown) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = watched(context)
    page.goto(console.link)
    page.get_by_role("link", name="why 3 failed").click()
    page.get_by_role("link", name="bad2.txt").click()
    assert "bad2.txt" in page.locator("h1").inner_text()
    page.goto(f"{console.link}pipeline?pipeline=edges")
    page.locator("select[name=state]").select_option("failed")
    page.get_by_role("button", name="Show").click()
    wait(page, "the table", lambda: "3 of 6 datums shown" in page.locator("#datums").inner_text())
    no_trouble(page)
    context.close()


def test_pages_follow_the_project_and_miss_nothing(browser: Browser, tmp_path: Path) -> None:
    """Twenty tabs of which one listens; actions from the page; and the server goes away and comes back."""
    study = troubled().duplicate(tmp_path / "study")
    context = browser.new_context()
    with shown(study, tmp_path / "log", "--actions") as console:
        tabs = [watched(context) for _ in range(20)]
        for tab in tabs:
            tab.goto(console.link)
        for tab in (tabs[0], tabs[-1]):
            wait(tab, "the state", lambda tab=tab: states(tab))
        wait(tabs[1], "what is new", lambda: not tabs[1].locator("[data-older]").count())
        fetched: list[str] = []
        tabs[1].on("request", lambda request: fetched.append(request.url))
        tabs.append(watched(context))
        tabs[-1].goto(console.link)
        wait(tabs[-1], "the state", lambda: states(tabs[-1]))
        tabs[1].wait_for_timeout(500)
        assert fetched == [], "a new tab tells the others nothing new"
        study.put("images/dust.txt", "fine\n")
        for tab in (tabs[0], tabs[-1]):
            wait(tab, "the change", lambda tab=tab: "7 datums" in tab.locator("#pipelines").inner_text())
        tabs[0].goto(f"{console.link}pipeline?pipeline=edges")
        tabs[0].get_by_role("button", name="schedule").click()
        last = tabs[-1]
        wait(last, "the end", lambda: states(last).get("edges", {}).get("counts", {}).get("current") == 4)
        assert study.minipach("wait").code in (0, 1)
        rows = {row["name"]: row for row in study.minipach("status", "--json").json["pipelines"]}
        wait(last, "the last state", lambda: states(last) == rows)
        for tab in tabs:
            no_trouble(tab)
        console.process.kill()
        wait(last, "the server is away", lambda: "does not answer" in last.locator("#live").inner_text())
    context.close()


def states(page: Page) -> dict[str, Any]:
    """The rows of pipelines as the page knows them from events."""
    found: dict[str, Any] = json.loads(page.evaluate("document.documentElement.dataset.states || '{}'"))
    return found


def test_the_report_makes_no_request(page: Page, tmp_path: Path) -> None:
    study: Study = troubled()
    assert study.minipach("report", "-o", str(tmp_path / "report.html")).code == 0
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert violations(page) == []
    screenshot(page, "report-light")
