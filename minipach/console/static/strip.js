/* The heat strip on a canvas: a cell for each datum, which leads to it. Without this script the page has an SVG. */
"use strict";
(() => {
  const base = document.documentElement.dataset.base;
  const draw = async () => {
    const box = document.getElementById("strip");
    if (!box || box.dataset.drawn) return;
    box.dataset.drawn = "1";
    const answer = await fetch(base + "/strip?" + box.dataset.query);
    if (!answer.ok) return;
    const [of, letters] = (await answer.text()).split("\n");
    const states = JSON.parse(box.dataset.states);
    const count = letters.length;
    if (!count) return;
    const cell = count > 20000 ? 4 : count > 2000 ? 7 : 12;
    const wide = Math.max(1, Math.floor(Math.max(box.clientWidth - 20, cell) / cell));
    const high = Math.ceil(count / wide);
    const canvas = document.createElement("canvas");
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = wide * cell * ratio;
    canvas.height = high * cell * ratio;
    canvas.style.width = wide * cell + "px";
    canvas.style.height = high * cell + "px";
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", box.dataset.label + ". Arrow keys choose a datum, Enter opens it.");
    const colours = {};
    const paint = canvas.getContext("2d");
    paint.scale(ratio, ratio);
    for (const [letter, state] of Object.entries(states)) {
      const sample = document.createElement("span");
      sample.className = "c-" + state.replaceAll(" ", "-");
      box.append(sample);
      colours[letter] = getComputedStyle(sample).fill;
      sample.remove();
    }
    const one = (n, chosen) => {
      const letter = letters[n];
      const low = letter.toLowerCase();
      paint.clearRect(n % wide * cell, Math.floor(n / wide) * cell, cell, cell);
      paint.globalAlpha = letter === low ? 1 : 0.15;
      paint.fillStyle = colours[low];
      paint.fillRect(n % wide * cell, Math.floor(n / wide) * cell, cell - 1, cell - 1);
      paint.globalAlpha = 1;
      if (chosen) {
        paint.strokeStyle = colours.text;
        paint.lineWidth = 2;
        paint.strokeRect(n % wide * cell + 1, Math.floor(n / wide) * cell + 1, cell - 3, cell - 3);
      }
    };
    colours.text = getComputedStyle(box).color;
    for (let n = 0; n < count; n++) one(n, false);
    const note = document.createElement("p");
    note.className = "note";
    note.setAttribute("role", "status");
    note.textContent = "Each cell is a datum and leads to it.";
    let at = -1;
    const choose = (n) => {
      if (n < 0 || n >= count || n === at) return;
      if (at >= 0) one(at, false);
      at = n;
      one(at, true);
      note.textContent = "datum " + (n + 1) + " of " + count + ": " + states[letters[n].toLowerCase()];
    };
    const open = (n) => { if (n >= 0 && n < count) location.href = base + "/at?pipeline=" + encodeURIComponent(box.dataset.pipeline) + "&of=" + of + "&row=" + n; };
    const place = (event) => {
      const [x, y] = [Math.floor(event.offsetX / cell), Math.floor(event.offsetY / cell)];
      return x < wide ? y * wide + x : -1;
    };
    canvas.addEventListener("mousemove", (event) => choose(place(event)));
    canvas.addEventListener("click", (event) => open(place(event)));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
      if (step) { event.preventDefault(); choose(at < 0 ? 0 : at + step); }
      if (event.key === "Home") { event.preventDefault(); choose(0); }
      if (event.key === "End") { event.preventDefault(); choose(count - 1); }
      if (event.key === "Enter") open(at);
    });
    box.querySelectorAll("svg, .note").forEach((old) => old.remove());
    box.append(canvas, note);
    box.dataset.cells = count;
  };
  draw();
  // The part of the page is replaced when the project changes.
  new MutationObserver(draw).observe(document.getElementById("main"), { childList: true, subtree: true });
})();
