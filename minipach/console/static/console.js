/* Live updates and small comforts. Pages work without it. Own code: no library is needed for so little. */
"use strict";
(() => {
  const base = document.documentElement.dataset.base;
  const sign = document.getElementById("live");
  const KEY = "minipach-seen:" + base;
  let seen = "";
  let due = false;
  let busy = false;

  const say = (text) => { if (sign && sign.textContent !== text) sign.textContent = text; };

  // Fetch the page again, and put the parts in place that differ. What has the focus keeps it.
  const refresh = async () => {
    if (busy) { due = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (!fresh || fresh.outerHTML === part.outerHTML || part.contains(document.activeElement) && document.activeElement.matches("input, select")) continue;
        const open = [...part.querySelectorAll("details")].map((one) => one.open);
        const focus = document.activeElement && part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        part.replaceWith(fresh);
        fresh.querySelectorAll("details").forEach((one, at) => { if (at < open.length) one.open = open[at]; });
        if (focus) for (const one of fresh.querySelectorAll("[href]")) if (one.getAttribute("href") === focus) { one.focus({ preventScroll: true }); break; }
      }
      say("live");
      again();
    } catch { say("the server does not answer"); }
    busy = false;
    if (due) { due = false; setTimeout(refresh, 500); }
  };

  // A page may show what was last known while the server reads what is new.
  const again = () => { if (document.querySelector("[data-older]")) setTimeout(refresh, 1000); };
  again();

  // Events have numbers. What was seen is kept, so that whoever listens next asks for what came after it.
  const rows = new Map();
  let away = false;
  const take = ({ kind, id, data }) => {
    // Each new tab asks for the state, and all tabs hear the answer: who has seen it has nothing to fetch.
    const known = kind === "state" && (!seen || id === seen);
    seen = id;
    if (kind === "state") rows.clear();
    for (const [name, row] of Object.entries(data.pipelines)) rows.set(name, row);
    for (const name of data.gone || []) rows.delete(name);
    document.documentElement.dataset.seen = id;
    document.documentElement.dataset.states = JSON.stringify(Object.fromEntries(rows));
    if (!known) refresh(); else say("live");
  };

  const listen = (tell) => new Promise((ended) => {
    const connect = () => {
      const source = new EventSource(base + "/events" + (seen ? "?after=" + encodeURIComponent(seen) : ""));
      for (const kind of ["state", "change"]) source.addEventListener(kind, (event) => tell({ kind, id: event.lastEventId, data: JSON.parse(event.data) }));
      source.onopen = () => tell({ kind: "open" });
      source.onerror = () => {
        tell({ kind: "away" });
        source.close();
        setTimeout(connect, 2000);
      };
      addEventListener("pagehide", () => { source.close(); ended(); }, { once: true });
    };
    connect();
  });

  const hear = (news) => {
    if (news.kind === "away") { away = true; say("the server does not answer; trying again"); }
    else if (news.kind === "open") { if (away) { away = false; refresh(); } }
    else if (news.kind === "ask") { if (rows.size) channel.postMessage({ kind: "state", id: seen, data: { pipelines: Object.fromEntries(rows) } }); }
    else take(news);
  };

  // Browsers allow six connections to a server: of many tabs one listens, and passes on what it hears.
  let channel = null;
  if (window.EventSource && base) {
    if (navigator.locks && window.BroadcastChannel) {
      channel = new BroadcastChannel(KEY);
      let leads = false;
      channel.onmessage = (event) => { if (event.data.kind !== "ask" || leads) hear(event.data); };
      channel.postMessage({ kind: "ask" });
      navigator.locks.request(KEY, () => { leads = true; return listen((news) => { hear(news); channel.postMessage(news); }); });
    } else listen(hear);
  }

  // A picture that is damaged says so. Errors of pictures do not bubble, so they are looked for at the end, too.
  const broken = (picture) => {
    if (!picture.isConnected || !picture.closest(".preview")) return;
    const note = document.createElement("p");
    note.className = "problem";
    note.textContent = picture.alt + " can't be shown: the picture is damaged, or of a kind that browsers do not know.";
    picture.replaceWith(note);
  };
  document.addEventListener("error", (event) => { if (event.target.matches && event.target.matches("img")) broken(event.target); }, true);
  for (const picture of document.querySelectorAll(".preview img")) if (picture.complete && !picture.naturalWidth) broken(picture);

  // The graph can be made larger and smaller.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    const picture = button && document.querySelector("#graph svg");
    if (!picture) return;
    const [, , width] = picture.getAttribute("viewBox").split(" ").map(Number);
    const now = Number(picture.getAttribute("width")) * Number(button.dataset.zoom);
    picture.setAttribute("width", Math.min(Math.max(now, width / 4), width * 6));
    picture.removeAttribute("height");
  });
})();
