/* Compose: the effect of each change is shown as it is made, and inputs can be drawn. The form works without it. */
"use strict";
(() => {
  const form = document.getElementById("compose");
  if (!form) return;
  let timer = 0;
  let number = 0;
  const text = () => document.getElementById("text");

  // Send the form as it is, and put in place what the server makes of it. What is being typed stays.
  const show = async () => {
    const mine = ++number;
    const body = new URLSearchParams(new FormData(form));
    body.set("do", "preview");
    const sent = text().value;
    let page;
    try {
      const answer = await fetch(form.action, { method: "POST", body });
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch { return; }
    if (mine !== number) return;
    for (const id of ["effect", "graph"]) {
      const fresh = page.getElementById(id);
      if (fresh) document.getElementById(id).replaceWith(fresh);
    }
    const fresh = page.getElementById("text");
    if (!fresh) return;
    if (document.activeElement !== text() || text().value === sent) if (text().value !== fresh.value && document.activeElement !== text()) text().value = fresh.value;
    for (const id of ["before", "values"]) {
      const kept = document.getElementById(id);
      if (kept) kept.value = page.getElementById(id).value;
    }
    const at = document.activeElement && document.activeElement.name;
    const left = page.getElementById("form");
    const typed = document.activeElement && document.activeElement.closest("#form") && document.activeElement.matches("input, textarea");
    if (!typed) {
      const open = [...document.querySelectorAll("#form details")].map((one) => one.open);
      document.getElementById("form").replaceWith(left);
      left.querySelectorAll("details").forEach((one, n) => { one.open = open[n]; });
      if (at) { const again = form.elements[at]; if (again && again.focus) again.focus({ preventScroll: true }); }
    }
  };
  const soon = (pause) => { clearTimeout(timer); timer = setTimeout(show, pause); };
  form.addEventListener("input", (event) => { if (event.target.matches("#form *, #text, [name=path]")) soon(700); });
  form.addEventListener("change", (event) => { if (event.target.matches("#form *")) soon(50); });

  // A box of the graph becomes an input: by a click, by Enter, or by a line that is drawn from it.
  const add = (repo) => {
    const rows = [...form.querySelectorAll("select[name$='.repo']")];
    if (!rows.length || rows.some((one) => one.value === repo)) return;
    const row = rows[rows.length - 1];
    row.value = repo;
    if (row.value !== repo) return;
    const kind = form.elements["i.kind"];
    if (rows.filter((one) => one.value).length > 1 && !kind.value) kind.value = "cross";
    soon(50);
  };
  const repo = (link) => new URL(link.getAttribute("href"), location.href).searchParams.get("repo");
  let line = null;
  let from = null;
  form.addEventListener("click", (event) => {
    const link = event.target.closest("#graph a");
    if (!link) return;
    event.preventDefault();
    if (!link.dataset.drawn) add(repo(link));
    delete link.dataset.drawn;
  });
  form.addEventListener("dragstart", (event) => { if (event.target.closest && event.target.closest("#graph")) event.preventDefault(); });
  form.addEventListener("pointerdown", (event) => {
    from = event.target.closest("#graph a");
    if (!from) return;
    const svg = from.ownerSVGElement;
    const point = (e) => new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const start = point(event);
    const move = (e) => {
      const end = point(e);
      if (!line && Math.hypot(end.x - start.x, end.y - start.y) < 8) return;
      if (!line) {
        line = document.createElementNS("http://www.w3.org/2000/svg", "line");
        line.setAttribute("class", "drawn");
        svg.append(line);
      }
      for (const [name, value] of [["x1", start.x], ["y1", start.y], ["x2", end.x], ["y2", end.y]]) line.setAttribute(name, value);
    };
    const up = (e) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      if (!line) return;
      line.remove();
      line = null;
      const there = document.elementFromPoint(e.clientX, e.clientY);
      const box = there && there.closest("#graph a");
      from.dataset.drawn = "1";
      if (box && repo(box) === document.getElementById("graph").dataset.target) add(repo(from));
      const drawn = from;
      setTimeout(() => { delete drawn.dataset.drawn; }, 0);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  });
})();
