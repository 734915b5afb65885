/* The chart of a large job on a canvas: all tries, of which the visible rows are drawn. Without it the page has an SVG. */
"use strict";
(() => {
  const base = document.documentElement.dataset.base;
  const ROW = 20, TOP = 64, NEAR = 6, PAUSE = 5000; // pixels; the least milliseconds between two requests
  const PHASES = [["queued", "queued", "staged"], ["staging", "staged", "start"], ["publishing", "end", "kept"]];
  const make = (kind, more) => Object.assign(document.createElement(kind), more);
  const own = make("div", { className: "gantt" });
  const lanes = make("div", { className: "lanes" });
  const canvas = make("canvas", { tabIndex: 0 });
  const below = make("div");
  const tip = make("div", { className: "tip", hidden: true });
  const note = make("p", { className: "note" });
  const buttons = make("p");
  const paint = canvas.getContext("2d");
  canvas.setAttribute("role", "img");
  note.setAttribute("role", "status");
  tip.setAttribute("aria-hidden", "true");
  lanes.append(canvas, below, tip);
  own.append(buttons, lanes, note);
  let data = null, key = "", asked = 0, due = 0, first = [], critical = new Set(), colours = {};
  let from = 0, to = 1, at = -1, hasFocus = false, drag = null, wide = 0, left = 0, high = 0, scrolledTo = 0, frame = 0;

  const seconds = (n) => {
    if (n < 59950) return (n / 1000).toFixed(1) + " s";
    const whole = Math.round(n / 1000), minutes = Math.floor(whole / 60), two = (part) => String(part).padStart(2, "0");
    return minutes < 60 ? minutes + " min " + two(whole % 60) + " s" : Math.floor(minutes / 60) + " h " + two(minutes % 60) + " min";
  };
  const x = (moment) => left + (wide - left - 10) * (moment - from) / (to - from);
  const moment = (px) => from + (px - left) * (to - from) / (wide - left - 10);
  const kindOf = (n) => { const kind = data.kinds[data.kind[n]]; return ["ok", "failed", "lost", "recovered"].includes(kind) ? kind : "failed"; };
  const spans = (n) => PHASES.map(([name, a, b]) => [name, data[a][n], data[b][n]]).filter(([, a, b]) => a !== null && b !== null && b > a);
  const label = (n) => {
    const spent = spans(n).map(([name, a, b]) => name + " " + seconds(b - a));
    return data.datums[data.datum[n]] + ": " + data.kinds[data.kind[n]] + ", try " + data.number[n] + ", " + seconds(data.end[n] - data.start[n]) + (spent.length ? "; " + spent.join(", ") : "") + (critical.has(n) ? "; on the critical path" : "");
  };
  // Names are bytes of any kind: those that are no UTF-8 are single surrogates.
  const quoted = (name) => Array.from(name, (one) => /^[\udc80-\udcff]$/.test(one) ? "%" + (one.charCodeAt(0) - 0xdc00).toString(16) : encodeURIComponent(one)).join("");
  const open = (n) => { if (n >= 0 && data.link) location.href = data.link + "&name=" + quoted(data.datums[data.datum[n]]) + "&try=" + data.number[n]; };

  const readColours = () => {
    const sample = make("span");
    own.append(sample);
    for (const name of ["ok", "failed", "lost", "recovered", "queued", "staging", "publishing", "grid", "busy", "critical"]) {
      sample.className = name;
      const style = getComputedStyle(sample);
      colours[name] = { fill: style.fill, stroke: style.stroke, alpha: style.opacity };
    }
    sample.remove();
    colours.text = getComputedStyle(own).color;
  };
  const fill = (name, x0, y, w, h) => { paint.globalAlpha = colours[name].alpha; paint.fillStyle = colours[name].fill; paint.fillRect(x0, y, w, h); paint.globalAlpha = 1; };
  const short = (text, most) => {
    if (paint.measureText(text).width <= most) return text;
    let n = Math.min(text.length, 60);
    while (n > 1 && paint.measureText(text.slice(0, n) + "…").width > most) n--;
    return text.slice(0, n) + "…";
  };

  const render = () => {
    wide = Math.max(lanes.clientWidth, 200);
    left = Math.min(210, wide / 3);
    const all = TOP + data.rows.length * ROW + 10;
    high = Math.min(all, 512);
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
      canvas.style.width = wide + "px";
      canvas.style.height = high + "px";
      below.style.height = all - high + "px";
    }
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, wide, high);
    paint.font = "11px " + getComputedStyle(own).fontFamily;
    const scrolled = lanes.scrollTop;
    const one = Math.max(0, Math.floor(scrolled / ROW));
    const last = Math.min(data.rows.length, one + Math.ceil((high - TOP) / ROW) + 1);
    paint.strokeStyle = colours.grid.stroke;
    paint.fillStyle = colours.text;
    for (let part = 0; part < 6; part++) {
      const px = left + (wide - left - 10) * part / 5;
      paint.beginPath(); paint.moveTo(px, TOP - 6); paint.lineTo(px, high - 8); paint.stroke();
      paint.textAlign = part === 5 ? "right" : "center";
      if (wide > 500 || part === 5 || part === 2) paint.fillText(seconds(moment(px)), px, TOP - 10);
    }
    paint.textAlign = "left";
    paint.fillText(short("at most " + data.most_at_once + " at once", left - 8), 4, 30);
    paint.save();
    paint.beginPath(); paint.rect(left - 1, 0, wide - left + 1, TOP); paint.clip();
    paint.strokeStyle = colours.busy.stroke;
    paint.beginPath();
    data.curve[0].forEach((moment, n) => paint.lineTo(x(moment), 44 - 34 * data.curve[1][n] / data.most_at_once));
    paint.stroke();
    paint.restore();
    paint.save();
    paint.beginPath(); paint.rect(0, TOP - 6, wide, high); paint.clip();
    paint.fillStyle = colours.text;
    for (let row = one; row < last; row++) paint.fillText(short(data.rows[row], left - 12), 4, TOP + row * ROW - scrolled + 14);
    paint.beginPath(); paint.rect(left - 1, TOP - 6, wide - left + 1, high); paint.clip();
    if (data.published > data.last) fill("publishing", x(data.last), TOP - 6, Math.max(1, x(data.published) - x(data.last)), high);
    // Of bars at one pixel one is drawn, a failed one first: a frame costs what the screen has, not what the job has.
    const scale = (wide - left - 10) / (to - from), layers = new Map();
    // What touches the one before it in its row is one rectangle with it: 100,000 tries of a few workers are few of them.
    const put = (name, x0, y, w, h) => {
      if (!layers.has(name)) layers.set(name, []);
      const all = layers.get(name), k = all.length - 4;
      if (k >= 0 && name !== "critical" && all[k + 1] === y && x0 >= all[k] && x0 <= all[k] + all[k + 2] + 0.25) all[k + 2] = Math.max(all[k + 2], x0 + w - all[k]);
      else all.push(x0, y, w, h);
    };
    for (let row = one; row < last; row++) {
      const y = TOP + row * ROW - scrolled;
      let pixel = -1e9, failed = false, outlined = -1e9;
      for (let n = first[row]; n < first[row + 1]; n++) {
        const x0 = left + (data.start[n] - from) * scale, here = Math.floor(x0), worse = data.failed[n] && !failed;
        const outline = data.outline[n] && here !== outlined;
        if (here === pixel && !worse && !outline && n !== at) continue;
        failed = here === pixel ? failed || data.failed[n] : data.failed[n];
        pixel = here;
        for (const [name, a, b] of spans(n)) if (x(b) > left && x(a) < wide) put(name, x(a), y + 6, Math.max(1, x(b) - x(a)), ROW - 13);
        const w = Math.max(2, (data.end[n] - data.start[n]) * scale);
        if (x0 > wide || x0 + w < left) continue;
        put(kindOf(n), x0, y + 2, w, ROW - 5);
        if (outline) { outlined = here; put("critical", x0, y + 2, w, ROW - 5); }
      }
    }
    for (const name of ["queued", "staging", "publishing", "ok", "lost", "recovered", "failed", "critical"]) {
      const all = layers.get(name) || [], isLine = name === "critical";
      paint.globalAlpha = colours[name].alpha;
      paint.fillStyle = colours[name].fill;
      paint.strokeStyle = colours[name].stroke;
      paint.lineWidth = 2;
      for (let n = 0; n < all.length; n += 4) if (isLine) paint.strokeRect(all[n], all[n + 1], all[n + 2], all[n + 3]); else paint.fillRect(all[n], all[n + 1], all[n + 2], all[n + 3]);
    }
    paint.globalAlpha = 1;
    if (at >= 0) {
      const x0 = x(data.start[at]);
      paint.strokeStyle = colours.text;
      paint.lineWidth = 3;
      paint.strokeRect(x0 - 3, TOP + data.row[at] * ROW - scrolled, Math.max(2, x(data.end[at]) - x0) + 6, ROW - 1);
    }
    paint.restore();
    paint.lineWidth = 1;
  };
  // Put the tooltip at the chosen bar, inside of what is seen.
  const point = () => {
    if (tip.hidden || at < 0) return;
    const y = TOP + data.row[at] * ROW;
    tip.style.left = Math.max(0, Math.min(x(data.start[at]), wide - tip.offsetWidth - 4)) + "px";
    tip.style.top = (y + ROW + tip.offsetHeight < lanes.scrollTop + high ? y + ROW + 2 : Math.max(0, y - tip.offsetHeight - 4)) + "px";
  };
  // Draw once for each frame of the screen, however many keys and moves there are.
  const draw = () => {
    own.dataset.view = Math.round(from) + "-" + Math.round(to);
    frame = frame || requestAnimationFrame(() => { frame = 0; if (data && own.isConnected) { render(); point(); } });
  };

  const look = (a, b) => {
    const span = Math.min(Math.max(b - a, 1), data.span);
    from = Math.min(Math.max(a, 0), data.span - span);
    to = from + span;
    draw();
  };
  const zoom = (by, about) => look(about - (about - from) / by, about + (to - about) / by);
  const middle = () => at >= 0 && data.end[at] >= from && data.start[at] <= to ? Math.max(from, Math.min(to, data.start[at])) : (from + to) / 2;

  const choose = (n) => {
    at = n;
    tip.hidden = n < 0;
    note.textContent = n < 0 ? help() : "try " + (n + 1) + " of " + data.bars + ": " + label(n);
    own.dataset.at = n;
    if (n >= 0) tip.textContent = label(n);
  };
  const show = (n) => { // choose by keyboard: what is chosen comes into view
    choose(n);
    const y = data.row[n] * ROW, room = high - TOP - ROW;
    if (y < lanes.scrollTop) lanes.scrollTop = y;
    if (y > lanes.scrollTop + room) lanes.scrollTop = y - room;
    const span = to - from;
    if (data.start[n] < from || Math.min(data.end[n], data.start[n] + span) > to) look(data.start[n] - span / 4, data.start[n] + span * 3 / 4);
    else draw();
  };
  const nearest = (row, moment) => {
    let found = first[row];
    for (let n = found; n < first[row + 1]; n++) if (Math.abs(data.start[n] - moment) < Math.abs(data.start[found] - moment)) found = n;
    return found;
  };
  const help = () => "Each bar is a try and leads to its log. Drag, or Shift and arrow keys, move in time; + and -, or Ctrl and the wheel, zoom; 0 shows all.";
  const under = (event) => {
    const row = Math.floor((event.offsetY - TOP + lanes.scrollTop) / ROW);
    if (event.offsetY < TOP || event.offsetX < left || row < 0 || row >= data.rows.length) return -1;
    let found = -1, best = Infinity;
    for (let n = first[row]; n < first[row + 1]; n++) {
      const x0 = x(data.start[n]), x1 = Math.max(x(data.end[n]), x0 + NEAR);
      const off = Math.max(x0 - event.offsetX, event.offsetX - x1, 0);
      if (off <= NEAR / 2 && off + Math.abs((x0 + x1) / 2 - event.offsetX) / 1e6 < best) { found = n; best = off + Math.abs((x0 + x1) / 2 - event.offsetX) / 1e6; }
    }
    return found;
  };

  canvas.addEventListener("pointerdown", (event) => { if (event.button === 0) drag = { x: event.clientX, y: event.clientY, from, top: lanes.scrollTop, moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (!data) return;
    if (drag && event.buttons) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      if (!drag.moved) canvas.setPointerCapture(event.pointerId);
      drag.moved = true;
      tip.hidden = true;
      if (event.pointerType === "mouse") lanes.scrollTop = drag.top - dy;
      const start = drag.from - dx * (to - from) / (wide - left - 10);
      look(start, start + to - from);
      return;
    }
    const n = under(event);
    if (n !== at && n >= 0) { choose(n); draw(); }
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (event) => { const moved = drag && drag.moved; drag = null; if (!moved) open(under(event)); });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY < 0 ? 1.25 : 0.8, moment(event.offsetX)); }
    else if (event.deltaX || event.shiftKey) {
      event.preventDefault();
      const by = (event.deltaX || event.deltaY) * (to - from) / (wide - left - 10);
      look(from + by, to + by);
    } else return; // rows are scrolled by the browser
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!data || event.ctrlKey || event.altKey || event.metaKey) return;
    const rows = data.rows.length, row = at < 0 ? 0 : data.row[at], page = Math.max(1, Math.floor((high - TOP) / ROW) - 1);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const lane = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page }[event.key];
    const go = (by) => { const next = Math.min(Math.max(row + by, 0), rows - 1); if (next !== row) show(nearest(next, data.start[at])); };
    if (event.shiftKey && step) look(from + step * (to - from) / 10, to + step * (to - from) / 10);
    else if (event.shiftKey && lane) lanes.scrollTop += lane * ROW;
    else if (step) show(at < 0 ? 0 : Math.min(Math.max(at + step, 0), data.bars - 1));
    else if (lane) { if (at < 0) show(0); else go(lane); }
    else if (event.key === "Home") show(0);
    else if (event.key === "End") show(data.bars - 1);
    else if (event.key === "+" || event.key === "=") zoom(1.5, middle());
    else if (event.key === "-") zoom(1 / 1.5, middle());
    else if (event.key === "0") look(0, data.span);
    else if (event.key === "Enter") open(at);
    else if (event.key === "Escape") tip.hidden = true;
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("focus", () => { hasFocus = true; });
  // The focus is lost, too, when an update takes the canvas out of the page: then it comes back.
  canvas.addEventListener("blur", () => setTimeout(() => { if (canvas.isConnected && document.activeElement !== canvas) hasFocus = false; }));
  lanes.addEventListener("scroll", () => { if (data && own.isConnected) { scrolledTo = lanes.scrollTop; draw(); } });
  for (const [text, act] of [["+", () => zoom(1.5, middle())], ["−", () => zoom(1 / 1.5, middle())], ["all", () => look(0, data.span)]]) {
    const button = make("button", { type: "button", textContent: text });
    button.setAttribute("aria-label", { "+": "Zoom in", "−": "Zoom out" }[text] || "Show all of the time");
    button.addEventListener("click", act);
    buttons.append(button, " ");
  }
  new ResizeObserver(() => { if (data && own.isConnected) { readColours(); draw(); } }).observe(lanes);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (data) { readColours(); draw(); } });

  // Put the chart in the place of the SVG. What was looked at, and the focus, stay when the page is updated.
  const place = (box) => {
    box.replaceChildren(own);
    readColours();
    render();
    draw();
    box.removeAttribute("tabindex"); // the canvas has the focus
    lanes.scrollTop = scrolledTo; // it was lost with the old place
    if (hasFocus && document.activeElement === document.body) canvas.focus({ preventScroll: true });
    box.dataset.bars = data.bars;
  };
  const take = (found) => {
    const all = !data || from === 0 && to === data.span;
    const chosen = data && at >= 0 ? nameOf(at) : "";
    data = found;
    data.rows = data.rows || data.datums; // rows that are datums are sent once
    data.row = data.row || data.datum;
    data.last = 0;
    for (let n = 0; n < data.bars; n++) data.last = Math.max(data.last, data.end[n], data.kept[n] || 0);
    data.span = Math.max(data.span, 1);
    critical = new Set(data.critical);
    data.outline = Uint8Array.from(data.row, (_, n) => critical.has(n));
    data.failed = Uint8Array.from(data.row, (_, n) => kindOf(n) === "failed");
    first = new Array(data.rows.length + 1).fill(data.bars);
    for (let n = data.bars - 1; n >= 0; n--) first[data.row[n]] = n;
    if (all) { from = 0; to = data.span; }
    at = -1;
    if (chosen) for (let n = 0; n < data.bars; n++) if (nameOf(n) === chosen) { at = n; break; }
    canvas.setAttribute("aria-label", "Tries over time: " + data.bars + " tries of " + data.datums.length + " datums, at most " + data.most_at_once + " at once. Arrow keys choose a try, Enter opens its log. The table below has the datums.");
    choose(at);
  };
  const nameOf = (n) => data.start[n] + data.begin * 1000 + ":" + data.number[n] + ":" + data.datums[data.datum[n]];
  const update = async () => {
    const box = document.getElementById("chart");
    if (!box || !box.dataset.query || box.dataset.seen) return;
    box.dataset.seen = "1";
    const now = box.dataset.query + " " + box.dataset.ended;
    if (data) place(box);
    if (now === key && box.dataset.ended) return; // there is nothing new
    clearTimeout(due);
    const wait = asked + PAUSE - Date.now();
    if (data && wait > 0) { due = setTimeout(() => { const there = document.getElementById("chart"); if (there) { delete there.dataset.seen; update(); } }, wait); return; }
    asked = Date.now();
    try {
      const answer = await fetch(base + "/bars?" + box.dataset.query);
      if (!answer.ok) return;
      const found = await answer.json();
      if (!found.bars) return;
      key = now;
      take(found);
      const there = document.getElementById("chart");
      if (there && there.dataset.query) place(there);
    } catch { /* The SVG, or what was drawn, stays. console.js says that the server does not answer. */ }
  };
  update();
  new MutationObserver(update).observe(document.getElementById("main"), { childList: true, subtree: true });
})();
