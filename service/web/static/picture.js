// Two pictures: side by side with linked zoom and pan, or one warped onto the other.

import { IDENTITY, apply, corners, css, invert, multiply, scaling, slope } from "./geometry.js";

const MOST = 40;
const BLINK_MS = 700;
const SVG = "http://www.w3.org/2000/svg";

export function setUp(viewer) {
  const geometry = JSON.parse(viewer.dataset.geometry);
  const panes = Object.fromEntries([...viewer.querySelectorAll(".pane")].map((pane) => [pane.dataset.side, readPane(pane)]));
  const matrix = geometry.regions[0]?.matrix || IDENTITY;
  const back = invert(matrix) || IDENTITY;
  const onto = invert(matrix) ? matrix : IDENTITY;
  const view = { x: 0.5, y: 0.5, zoom: 1, mode: "side" };
  let timer = 0;

  outline(panes, geometry.regions);
  const warped = warp(panes);

  function draw() {
    const { work, found } = panes;
    if (!work.image && !found.image) return;
    const near = Math.min(1, Math.log2(Math.max(1, view.zoom)));
    if (work.image) place(work, [view.x, view.y], work.fit() * view.zoom);
    if (view.mode === "side" && found.image) {
      const [a, b, c, d] = slope(onto, [view.x, view.y]);
      const [ww, wh] = work.image ? work.size() : found.size();
      const [fw, fh] = found.size();
      // Pixels of what was found for each pixel of the work, where we look.
      const stretch = Math.sqrt(Math.abs(((a * fw) / ww) * ((d * fh) / wh) - ((b * fw) / wh) * ((c * fh) / ww))) || 1;
      const linked = ((work.image ? work.fit() : found.fit()) * view.zoom) / stretch;
      const [qx, qy] = apply(onto, [view.x, view.y]);
      const scale = (found.fit() * view.zoom) ** (1 - near) * linked ** near;
      place(found, [0.5 + (qx - 0.5) * near, 0.5 + (qy - 0.5) * near], scale);
    }
    if (warped && view.mode !== "side") {
      const [ww, wh] = work.size();
      const [fw, fh] = found.size();
      const onScreen = scaling(work.scale * ww, work.scale * wh, work.left, work.top);
      warped.style.transform = css(multiply(onScreen, multiply(back, scaling(1 / fw, 1 / fh))));
    }
  }

  function place(pane, [x, y], scale) {
    const [width, height] = pane.size();
    const [w, h] = pane.room();
    // At the edges, rather the picture's edge than emptiness.
    const clamp = (at, length, room) => (length * scale <= room ? 0.5 : Math.min(1 - room / (2 * length * scale), Math.max(room / (2 * length * scale), at)));
    const cx = clamp(x, width, w);
    const cy = clamp(y, height, h);
    Object.assign(pane, { scale, left: w / 2 - cx * width * scale, top: h / 2 - cy * height * scale });
    pane.stage.style.setProperty("--pixel", `${1 / scale}px`); // outlines are as thick at any zoom
    pane.stage.style.transform = `translate(${pane.left}px, ${pane.top}px) scale(${scale})`;
  }

  // Where a point of the screen lies, in fractions of the work.
  function under(pane, side, clientX, clientY) {
    const box = pane.port.getBoundingClientRect();
    const [width, height] = pane.size();
    const point = [(clientX - box.left - pane.left) / (pane.scale * width), (clientY - box.top - pane.top) / (pane.scale * height)];
    return side === "work" ? point : apply(back, point);
  }

  function zoomTo(zoom, point) {
    const next = Math.min(MOST, Math.max(1, zoom));
    if (point && next > 1) {
      const keep = view.zoom / next;
      view.x = point[0] + (view.x - point[0]) * keep;
      view.y = point[1] + (view.y - point[1]) * keep;
    }
    view.zoom = next;
    if (next === 1) view.x = view.y = 0.5;
    bound();
    draw();
  }

  function bound() {
    view.x = Math.min(1, Math.max(0, view.x));
    view.y = Math.min(1, Math.max(0, view.y));
  }

  function move(pane, side, dx, dy) {
    const [width, height] = pane.size();
    let fx = -dx / (pane.scale * width);
    let fy = -dy / (pane.scale * height);
    if (side === "found") {
      const [a, b, c, d] = slope(back, apply(onto, [view.x, view.y]));
      [fx, fy] = [a * fx + b * fy, c * fx + d * fy];
    }
    view.x += fx;
    view.y += fy;
    bound();
    draw();
  }

  function setMode(mode) {
    const again = view.mode === mode && mode === "blink";
    view.mode = mode;
    clearInterval(timer);
    viewer.classList.toggle("mode-one", mode !== "side");
    viewer.dataset.mode = mode;
    for (const button of viewer.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    viewer.querySelector(".opacity").hidden = mode !== "overlay";
    if (warped) {
      warped.hidden = mode === "side";
      warped.classList.toggle("difference", mode === "difference");
      warped.classList.toggle("away", again && !warped.classList.contains("away"));
      warped.style.opacity = mode === "overlay" ? viewer.querySelector("[data-opacity]").value / 100 : 1;
      if (mode === "blink" && !again && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
        timer = setInterval(() => warped.classList.toggle("away"), BLINK_MS);
      }
    }
    draw();
  }

  for (const [side, pane] of Object.entries(panes)) {
    if (pane.image) listen(pane, side);
  }

  function listen(pane, side) {
    const { port } = pane;
    const fingers = new Map();
    let spread = 0;
    port.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoomTo(view.zoom * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), under(pane, side, event.clientX, event.clientY));
    }, { passive: false });
    port.addEventListener("pointerdown", (event) => {
      port.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, event);
      spread = 0;
      port.classList.add("moving");
    });
    port.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      fingers.set(event.pointerId, event);
      if (fingers.size === 1) { move(pane, side, event.clientX - before.clientX, event.clientY - before.clientY); return; }
      const [one, two] = [...fingers.values()];
      const now = Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY);
      if (spread) zoomTo((view.zoom * now) / spread, under(pane, side, (one.clientX + two.clientX) / 2, (one.clientY + two.clientY) / 2));
      spread = now;
    });
    for (const end of ["pointerup", "pointercancel"]) {
      port.addEventListener(end, (event) => { fingers.delete(event.pointerId); spread = 0; if (!fingers.size) port.classList.remove("moving"); });
    }
    port.addEventListener("dblclick", (event) => zoomTo(view.zoom > 1.9 ? 1 : 3, under(pane, side, event.clientX, event.clientY)));
  }

  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.mode) setMode(button.dataset.mode);
    if (button.dataset.zoom) zoomTo({ in: view.zoom * 1.4, out: view.zoom / 1.4, fit: 1 }[button.dataset.zoom], [view.x, view.y]);
    if ("outlines" in button.dataset) {
      const off = viewer.classList.toggle("no-outlines");
      button.setAttribute("aria-pressed", String(!off));
    }
  });
  viewer.querySelector("[data-opacity]").addEventListener("input", (event) => { if (warped) warped.style.opacity = event.target.value / 100; });
  const focused = viewer.querySelector("[data-panes]");
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    const pane = panes.work.image ? panes.work : panes.found;
    // Where nothing has the focus, arrows scroll the page until there is something to move.
    const free = event.target === document.body && view.zoom > 1 && document.body.dataset.keys !== "off";
    if (!step || !(free || event.target === focused)) return;
    event.preventDefault();
    move(pane, panes.work.image ? "work" : "found", ...step);
  });
  new ResizeObserver(draw).observe(viewer);
  draw();
}

function readPane(pane) {
  const image = pane.querySelector(".stage img");
  const stage = pane.querySelector(".stage");
  const port = pane.querySelector(".port");
  const made = { port, stage, image, scale: 1, left: 0, top: 0 };
  if (image) {
    const width = Number(image.getAttribute("width"));
    const height = Number(image.getAttribute("height"));
    stage.style.width = `${width}px`;
    stage.style.height = `${height}px`;
    made.size = () => [width, height];
    made.room = () => [port.clientWidth, port.clientHeight];
    made.fit = () => Math.min(port.clientWidth / width, port.clientHeight / height);
  }
  return made;
}

function warp({ work, found }) {
  if (!work.image || !found.image) return null;
  const stage = document.createElement("div");
  stage.className = "stage warped";
  stage.hidden = true;
  const [width, height] = found.size();
  stage.style.width = `${width}px`;
  stage.style.height = `${height}px`;
  const image = found.image.cloneNode();
  image.alt = "";
  stage.append(image);
  work.port.append(stage);
  return stage;
}

function outline(panes, regions) {
  for (const region of regions) {
    const onWork = corners(region.work);
    const onFound = region.matrix ? onWork.map((point) => apply(region.matrix, point)) : corners(region.found);
    for (const [side, points] of [["work", onWork], ["found", onFound]]) {
      const drawing = panes[side]?.stage?.querySelector(".outlines");
      if (!drawing || points.flat().some((value) => !Number.isFinite(value) || Math.abs(value) > 50)) continue;
      const shape = document.createElementNS(SVG, "polygon");
      shape.setAttribute("points", points.map((point) => point.join(",")).join(" "));
      drawing.append(shape);
    }
  }
}
