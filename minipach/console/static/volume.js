/* Volumes of NIfTI: the viewer is loaded when one is opened, and not before. */
"use strict";
(() => {
  const loaded = (address) => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = done;
    script.onerror = failed;
    document.head.append(script);
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-volume]");
    if (!button) return;
    const box = button.parentElement;
    const say = (text) => { box.querySelector("[role=status]").textContent = text; };
    button.disabled = true;
    say("loading the viewer");
    try {
      if (!window.niivue) await loaded(button.dataset.viewer);
      const canvas = document.createElement("canvas");
      canvas.width = 800;
      canvas.height = 400;
      canvas.className = "volume";
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "Slices of " + button.dataset.name);
      const frame = document.createElement("div"); // the viewer makes what is around its canvas black
      frame.append(canvas);
      box.append(frame);
      const viewer = new niivue.Niivue({ isResizeCanvas: false, show3Dcrosshair: true });
      await viewer.attachToCanvas(canvas);
      await viewer.loadVolumes([{ url: button.dataset.volume, name: button.dataset.name }]);
      box.dataset.shown = viewer.volumes.length;
      button.remove();
      say("Drag or use the arrow keys to move through the slices.");
    } catch (error) {
      button.disabled = false;
      say("The volume can't be shown: " + (error && error.message || error));
    }
  });
})();
