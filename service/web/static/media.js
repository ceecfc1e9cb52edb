// Two players, films or sounds, that stay in step through what corresponds.

const SVG = "http://www.w3.org/2000/svg";
const FRAME = 0.25; // seconds: previews hold few frames
const APART = 0.2; // seconds at which the work's player is put right
const HEARD = 10; // hundredths of a semitone that are worth telling
const QUIET = 24; // of 127: waveforms that stay below are drawn larger
const SLOWEST = 0.07, FASTEST = 15; // what browsers play

export function setUp(viewer) {
  const { segments } = JSON.parse(viewer.dataset.geometry);
  const sides = Object.fromEntries([...viewer.querySelectorAll(".pane")].map((pane) => [pane.dataset.side, readSide(pane)]));
  const { work, found } = sides;
  const get = (name) => viewer.querySelector(`[data-${name}]`);
  const told = get("told");
  const state = { segment: segments.length ? 0 : -1, near: viewer.matches(".viewer-media:not(:has(video))") && segments.length > 0, graph: null };

  const ratio = (one) => (one.work[1] - one.work[0]) / Math.max(0.001, one.found[1] - one.found[0]);
  const toWork = (one, at) => (one.speed < 0 ? one.work[1] - (at - one.found[0]) * ratio(one) : one.work[0] + (at - one.found[0]) * ratio(one));
  const toFound = (one, at) => (one.speed < 0 ? one.found[0] + (one.work[1] - at) / ratio(one) : one.found[0] + (at - one.work[0]) / ratio(one));
  const holding = (side, at) => {
    const inside = (one) => at >= one[side][0] - 0.05 && at <= one[side][1] + 0.05;
    if (state.segment >= 0 && inside(segments[state.segment])) return state.segment;
    return segments.findIndex(inside);
  };
  const main = () => found.player || work.player;
  const playing = () => main() && !main().paused;

  for (const side of Object.values(sides)) {
    drawTimeline(side, segments);
    if (side.waveform) {
      fetch(side.waveform, { priority: "low" }).then((answer) => (answer.ok ? answer.arrayBuffer() : null)).then((bytes) => {
        if (!bytes) return;
        side.samples = new Int8Array(bytes);
        side.loudest = side.samples.reduce((most, one) => Math.max(most, Math.abs(one)), QUIET);
        drawWaveform(side);
      });
    }
    side.player?.addEventListener("loadedmetadata", () => {
      if (!side.seconds) side.seconds = side.player.duration;
      drawTimeline(side, segments);
    });
  }

  function setRates() {
    const rate = Number(get("rate").value);
    const one = segments[state.segment];
    for (const [side, factor] of [[found, 1], [work, one && get("tempo").checked ? ratio(one) : 1]]) {
      if (!side.player) continue;
      side.player.preservesPitch = get("pitch").checked || (side === work && get("tune").checked);
      side.player.playbackRate = Math.min(FASTEST, Math.max(SLOWEST, rate * factor));
    }
    const higher = get("tune").checked && one ? 2 ** (one.pitch / 1200) : 1;
    if (state.graph?.shift) state.graph.shift.parameters.get("ratio").value = higher;
  }

  // What is heard goes through a graph once somebody wants more than the players can do by themselves.
  async function wire() {
    state.graph ||= wired(sides);
    if (get("tune").checked && !state.graph.shift && state.graph.work) await shifted(state.graph);
  }

  function setSound() {
    const which = get("sound").value;
    const heard = { found: which === "found" || which === "both", work: which === "work" || which === "both" };
    for (const [name, side] of Object.entries(sides)) if (side.player) side.player.muted = !heard[name];
    if (which === "both") wire();
    for (const [name, pan] of [["work", -1], ["found", 1]]) if (state.graph?.[name]) state.graph[name].panner.pan.value = which === "both" ? pan : 0;
  }

  // Put the work where what was found is.
  function follow(force = false) {
    if (!found.player || !work.player || !segments.length) return;
    const at = found.player.currentTime;
    const index = holding("found", at);
    const one = segments[index];
    if (index !== state.segment && index >= 0) enter(index);
    if (!one) {
      if (!work.player.paused) work.player.pause();
      tell(playing() || force ? told.dataset.outside : "");
      return;
    }
    const aim = toWork(one, at);
    if (one.speed < 0) {
      if (!work.player.paused) work.player.pause();
      if (Math.abs(work.player.currentTime - aim) > FRAME || force) seek(work, aim);
      tell(told.dataset.backwards);
      return;
    }
    const apart = work.player.currentTime - aim;
    if (force || (get("tempo").checked && Math.abs(apart) > APART)) seek(work, aim);
    if (playing() && work.player.paused && !work.player.seeking) work.player.play().catch(() => {});
    const times = 1 / (ratio(one) || 1);
    tell(Math.abs(times - 1) >= 0.01 ? told.dataset.speed.replace("{x}", (1 / times).toFixed(2)) : "");
  }

  function tell(text) { if (told.textContent !== text) told.textContent = text; }

  function seek(side, at) {
    if (!side.player || !Number.isFinite(at)) return;
    side.player.currentTime = Math.max(0, Math.min(at, (side.seconds || side.player.duration || at) - 0.01));
  }

  function goTo(at) {
    if (found.player) { seek(found, at); follow(true); } else seek(work, at);
    paint();
  }

  function goToSegment(index) {
    if (!segments[index]) return;
    enter(index);
    if (found.player) goTo(segments[index].found[0]);
    else { seek(work, segments[index].work[0]); paint(); }
  }

  function enter(index) {
    state.segment = index;
    setRates();
    if (state.near) showWindow(); else showSegment();
  }

  function play() {
    if (!main()) return;
    if (playing()) { for (const side of Object.values(sides)) side.player?.pause(); } else {
      setSound();
      setRates();
      follow(true);
      main().play().then(tick).catch(() => {});
    }
    paint();
  }

  function tick() {
    follow();
    paint();
    if (playing()) requestAnimationFrame(tick);
  }

  function paint() {
    const button = get("play");
    button.textContent = playing() ? button.dataset.pauseLabel : button.dataset.playLabel;
    for (const side of Object.values(sides)) {
      if (!side.player) continue;
      const [from, to] = side.window;
      const at = side.player.currentTime;
      const part = to > from ? (at - from) / (to - from) : 0;
      side.head.style.left = `${100 * Math.min(1, Math.max(0, part))}%`;
      side.clock.textContent = clock(at);
      side.line.setAttribute("aria-valuenow", at.toFixed(1));
      side.line.setAttribute("aria-valuetext", clock(at));
    }
  }

  function showSegment() {
    viewer.querySelectorAll("[data-goto]").forEach((button, index) => {
      if (index === state.segment) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    for (const side of Object.values(sides)) {
      side.line.querySelectorAll(".segment").forEach((mark, index) => mark.classList.toggle("now", index === state.segment));
    }
    const region = segments[state.segment]?.region;
    const outlines = viewer.querySelector('[data-side="found"] .outlines');
    if (outlines) {
      outlines.replaceChildren();
      if (region) outlines.append(polygon(region));
      fitOutlines(outlines, found.player);
    }
  }

  for (const [name, side] of Object.entries(sides)) {
    side.player?.addEventListener("play", tick);
    for (const event of ["pause", "seeked", "ended", "timeupdate"]) side.player?.addEventListener(event, () => { if (name === "found" || !found.player) follow(); paint(); });
    const fromPointer = (event) => {
      const box = side.line.getBoundingClientRect();
      const [from, to] = side.window;
      point(name, from + ((event.clientX - box.left) / box.width) * (to - from));
    };
    for (const area of [side.line, ...side.pane.querySelectorAll(".lane")]) {
      area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); fromPointer(event); });
      area.addEventListener("pointermove", (event) => { if (event.buttons) fromPointer(event); });
    }
    side.line.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -60, PageUp: 60 }[event.key];
      const at = side.player?.currentTime || 0;
      if (step) point(name, at + (event.shiftKey ? step / 5 : step));
      else if (event.key === "Home") point(name, 0);
      else if (event.key === "End") point(name, side.seconds);
      else return;
      event.preventDefault();
    });
  }

  function point(name, at) {
    if (name === "found") { goTo(at); return; }
    const index = holding("work", at);
    if (index >= 0 && found.player) { enter(index); goTo(toFound(segments[index], at)); } else { seek(work, at); paint(); }
  }

  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) { if (event.target.matches("video")) play(); return; }
    if ("play" in button.dataset) play();
    if (button.dataset.step) {
      if (playing()) play();
      goTo((main()?.currentTime || 0) + Number(button.dataset.step) * FRAME);
    }
    if (button.dataset.segment) goToSegment(Math.min(segments.length - 1, Math.max(0, state.segment + Number(button.dataset.segment))));
    if (button.dataset.goto) goToSegment(Number(button.dataset.goto));
    if ("near" in button.dataset) {
      state.near = !state.near;
      button.setAttribute("aria-pressed", String(state.near));
      showWindow();
    }
  });
  for (const name of ["rate", "pitch", "tempo"]) get(name).addEventListener("change", () => { setRates(); follow(true); });
  get("sound").addEventListener("change", setSound);
  get("tune").closest("label").hidden = !segments.some((one) => Math.abs(one.pitch) >= HEARD);
  get("tune").addEventListener("change", () => wire().then(setRates));
  get("near").setAttribute("aria-pressed", String(state.near));

  // Whole items, or both sides cut to the present segment, so that the same things lie below each other.
  function showWindow() {
    const one = segments[state.segment];
    for (const [name, side] of Object.entries(sides)) {
      side.window = [0, side.seconds];
      if (state.near && one) {
        const [from, to] = one[name];
        const margin = 0.1 * (to - from);
        side.window = [from - margin, to + margin];
      }
      drawTimeline(side, segments);
      drawWaveform(side);
    }
    showSegment();
    paint();
  }

  viewer.querySelectorAll("[data-goto]").forEach((button, index) => { button.textContent = describe(segments[index]); });
  new ResizeObserver(() => {
    for (const side of Object.values(sides)) drawWaveform(side);
    const outlines = viewer.querySelector('[data-side="found"] .outlines');
    if (outlines) fitOutlines(outlines, found.player);
  }).observe(viewer);
  setRates();
  showWindow();
  const first = segments[0];
  if (first) {
    // Show where it begins: only these parts of the files are fetched.
    for (const side of Object.values(sides)) {
      const begin = () => { if (side.player.currentTime === 0) seek(side, side === found ? first.found[0] : toWork(first, first.found[0])); paint(); };
      if (side.player?.readyState >= 1) begin();
      else side.player?.addEventListener("loadedmetadata", begin, { once: true });
    }
  }
}

function readSide(pane) {
  const lanes = pane.querySelector("[data-lanes]");
  const head = document.createElement("span");
  head.className = "playhead";
  lanes.append(head);
  const seconds = Number(lanes.dataset.seconds || 0);
  return {
    pane,
    head,
    seconds,
    window: [0, seconds],
    player: pane.querySelector("[data-player]"),
    waveform: lanes.dataset.waveform,
    samples: null,
    canvas: lanes.querySelector("canvas"),
    image: lanes.querySelector(".spectrogram img"),
    line: lanes.querySelector(".timeline"),
    clock: lanes.querySelector(".clock"),
    name: pane.dataset.side,
  };
}

function drawTimeline(side, segments) {
  const drawing = side.line.querySelector("svg");
  const [from, to] = side.window[1] > side.window[0] ? side.window : [0, side.seconds || 1];
  const length = Math.max(0.001, to - from);
  drawing.setAttribute("viewBox", `0 0 1000 10`);
  side.line.setAttribute("aria-valuemax", side.seconds.toFixed(1));
  drawing.replaceChildren(box("rail", 0, 4.4, 1000, 1.2));
  for (const one of segments) {
    const [start, end] = one[side.name];
    const x = (1000 * (start - from)) / length;
    drawing.append(box(`segment${one.speed < 0 ? " backwards" : ""}`, x, 2, Math.max(3, (1000 * (end - start)) / length), 6));
  }
  if (side.image) {
    const share = side.seconds ? length / side.seconds : 1;
    side.image.style.maxWidth = "none";
    side.image.style.width = `${100 / share}%`;
    side.image.style.transform = `translateX(${side.seconds ? (-100 * from) / side.seconds : 0}%)`;
  }
}

function drawWaveform(side) {
  if (!side.samples || !side.canvas) return;
  const { canvas, samples } = side;
  const ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (!width) return;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(canvas).color;
  const pairs = samples.length / 2;
  const perSecond = side.seconds ? pairs / side.seconds : 20;
  const [from, to] = side.window;
  for (let x = 0; x < width; x += 1) {
    const begin = Math.floor((from + ((to - from) * x) / width) * perSecond);
    if (begin < 0) continue;
    const end = Math.min(pairs, Math.max(begin + 1, Math.ceil((from + ((to - from) * (x + 1)) / width) * perSecond)));
    let low = 127, high = -127;
    for (let i = begin; i < end; i += 1) {
      low = Math.min(low, samples[2 * i]);
      high = Math.max(high, samples[2 * i + 1]);
    }
    if (high < low) continue;
    const { loudest } = side;
    const top = ((loudest - high) / (2 * loudest)) * height;
    context.fillRect(x, top, 1, Math.max(1, ((high - low) / (2 * loudest)) * height));
  }
}

function box(name, x, y, width, height) {
  const made = document.createElementNS(SVG, "rect");
  for (const [attribute, value] of Object.entries({ class: name, x, y, width, height })) made.setAttribute(attribute, value);
  return made;
}

function polygon([left, top, right, bottom]) {
  const made = document.createElementNS(SVG, "polygon");
  made.setAttribute("points", `${left},${top} ${right},${top} ${right},${bottom} ${left},${bottom}`);
  return made;
}

// The film may leave bars in its screen: outlines belong to the film.
function fitOutlines(drawing, player) {
  if (!player?.videoWidth) { player?.addEventListener("loadedmetadata", () => player.videoWidth && fitOutlines(drawing, player), { once: true }); return; }
  const [w, h] = [player.clientWidth, player.clientHeight];
  const scale = Math.min(w / player.videoWidth, h / player.videoHeight);
  const [fw, fh] = [player.videoWidth * scale, player.videoHeight * scale];
  Object.assign(drawing.style, { left: `${(w - fw) / 2}px`, top: `${(h - fh) / 2}px`, width: `${fw}px`, height: `${fh}px`, right: "auto", bottom: "auto" });
}

function wired(sides) {
  const context = new AudioContext();
  const graph = { context };
  for (const [name, side] of Object.entries(sides)) {
    if (!side.player) continue;
    const [source, panner] = [context.createMediaElementSource(side.player), context.createStereoPanner()];
    source.connect(panner).connect(context.destination);
    graph[name] = { source, panner };
  }
  context.resume();
  return graph;
}

// The work as high or low as what was found.
async function shifted(graph) {
  graph.adding ||= graph.context.audioWorklet.addModule(new URL("./shift.js", import.meta.url));
  await graph.adding;
  if (graph.shift) return;
  const { source, panner } = graph.work;
  graph.shift = new AudioWorkletNode(graph.context, "shift", { outputChannelCount: [2] });
  source.disconnect();
  source.connect(graph.shift).connect(panner);
}

function describe(one) {
  const parts = [`${clock(one.found[0])}–${clock(one.found[1])} ⇄ ${clock(one.work[0])}–${clock(one.work[1])}`];
  if (one.speed < 0) parts.push("◂");
  if (Math.abs(Math.abs(one.speed) - 1) >= 0.01) parts.push(`×${Math.abs(one.speed).toFixed(2)}`);
  if (Math.abs(one.pitch) >= HEARD) parts.push(`${one.pitch > 0 ? "+" : "−"}${(Math.abs(one.pitch) / 100).toFixed(1)} st`);
  return parts.join(" ");
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${padded(minutes)}:${padded(rest)}` : `${minutes}:${padded(rest)}`;
}
