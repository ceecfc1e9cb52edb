// What all pages share: keys, drafts, choosing rows, messages. Everything also works without this file.

import { setUpKeys } from "./keys.js";

const body = document.body;
const viewers = { picture: "./picture.js", media: "./media.js", text: "./text.js" };

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-Copyhound-Form"] = body.dataset.form;
  // Only what differs from the defaults stands in addresses.
  for (const [name, value] of [...event.detail.formData.entries()]) {
    if (value === "" || (name === "state" && value === "open") || (name === "order" && value === "newest")) {
      event.detail.formData.delete(name);
    }
  }
});
document.addEventListener("htmx:responseError", (event) => {
  const text = event.detail.xhr.responseText;
  say(text.length < 300 && !text.startsWith("<") ? text : String(event.detail.xhr.status));
});
document.addEventListener("htmx:sendError", () => say("…"));

function say(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.textContent = ""; }, 6000);
}

// What was typed of a decision survives until it is made, for the same person in the same tab.
function keepDraft(form) {
  const name = `draft ${body.dataset.actor} ${form.dataset.draft}`;
  const fields = ["outcome", "reason", "note"];
  const typed = new FormData(form);
  let draft = null;
  try { draft = JSON.parse(sessionStorage.getItem(name)); } catch { /* none that can be read */ }
  if (draft && !fields.some((field) => typed.get(field))) {
    for (const input of form.querySelectorAll("[name=outcome]")) input.checked = input.value === draft.outcome;
    narrowReasons(form);
    form.elements.reason.value = draft.reason || "";
    form.elements.note.value = draft.note || "";
  }
  const save = () => {
    const now = new FormData(form);
    const values = Object.fromEntries(fields.map((field) => [field, now.get(field) || ""]));
    if (Object.values(values).some(Boolean)) sessionStorage.setItem(name, JSON.stringify(values));
    else sessionStorage.removeItem(name);
  };
  form.addEventListener("input", save);
  form.addEventListener("change", save);
  return name;
}

// A draft goes away once its decision is told on a page that we are led to.
function dropDraft() {
  const sent = sessionStorage.getItem("sent");
  sessionStorage.removeItem("sent");
  if (sent && document.querySelector(".said .tag")) sessionStorage.removeItem(sent);
}

function narrowReasons(form) {
  const outcome = form.querySelector("[name=outcome]:checked")?.value;
  const select = form.elements.reason;
  for (const group of select.querySelectorAll("optgroup")) {
    const off = group.dataset.outcome !== outcome;
    group.hidden = group.disabled = off;
  }
  const chosen = select.selectedOptions[0]?.closest("optgroup");
  if (chosen?.disabled) select.value = "";
  else if (chosen === undefined || chosen === null) select.value = "";
}

function setUpDecision() {
  const form = document.getElementById("decision");
  if (!form) return;
  const name = keepDraft(form);
  const typedReason = form.elements.reason.value;
  narrowReasons(form);
  if (typedReason) form.elements.reason.value = typedReason;
  form.addEventListener("change", (event) => { if (event.target.name === "outcome") narrowReasons(form); });
  form.elements.note.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(form.querySelector("[data-decide]"));
  });
  form.addEventListener("submit", () => sessionStorage.setItem("sent", name));
  document.querySelector("[data-problem]")?.focus();
}

// No form is sent twice by an impatient hand.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || "again" in form.dataset) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

function setUpRows() {
  const picks = () => [...document.querySelectorAll("[data-pick]")];
  const tell = () => {
    const bar = document.querySelector("[data-batch]");
    if (!bar) return;
    const chosen = picks().filter((one) => one.checked).length;
    bar.hidden = chosen === 0;
    const count = bar.querySelector("[data-count]");
    count.textContent = chosen === 1 ? count.dataset.one : count.dataset.many.replace("{n}", chosen);
    const all = document.querySelector("[data-pick-all]");
    all.checked = chosen > 0 && chosen === picks().length;
    all.indeterminate = chosen > 0 && !all.checked;
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) for (const one of picks()) one.checked = event.target.checked;
    if (event.target.matches("[data-pick], [data-pick-all]")) tell();
  });
  document.addEventListener("htmx:afterSwap", () => {
    const found = document.getElementById("found");
    const next = document.querySelector("[data-in]");
    if (found && next) next.value = found.dataset.encoded;
    tell();
  });
  tell();
}

// A case stays leased while somebody works on its page, not while it is merely open.
function setUpLease() {
  let active = Date.now();
  for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, () => { active = Date.now(); }, { passive: true });
  setInterval(() => {
    const lease = document.getElementById("lease");
    const working = !document.hidden && Date.now() - active < 10 * 60_000;
    if (lease?.dataset.mine === "yes" && working) lease.dispatchEvent(new Event("renew"));
  }, 4 * 60_000);
}

// A preview that is still being made: look again, unless somebody is typing.
function setUpPending() {
  if (!document.querySelector("[data-pending]")) return;
  setTimeout(() => {
    const typing = document.activeElement?.matches("input:not([type=radio]), textarea, select");
    if (typing || document.hidden) setUpPending();
    else location.reload();
  }, 4000);
}

function setUpReveal(viewer) {
  viewer.querySelector("[data-reveal]")?.addEventListener("click", () => {
    for (const one of document.querySelectorAll(".blurred")) one.classList.remove("blurred");
    viewer.querySelector("[tabindex], button")?.focus();
  });
}

// A picture that is missing leaves a quiet place, not a broken sign.
const SMALL = ".thumbs img, .strip img, .media-list img";
function missing(image) {
  const sign = document.createElement("span");
  sign.className = "sign";
  sign.textContent = "▤";
  sign.style.width = `${image.width || image.getAttribute("width")}px`;
  sign.style.height = `${image.height || image.getAttribute("height")}px`;
  image.replaceWith(sign);
}
document.addEventListener("error", (event) => { if (event.target.matches?.(SMALL)) missing(event.target); }, true);
for (const image of document.querySelectorAll(SMALL)) if (image.complete && image.currentSrc && !image.naturalWidth) missing(image);

dropDraft();
setUpDecision();
setUpRows();
setUpPending();
setUpLease();
setUpKeys();
for (const viewer of document.querySelectorAll("[data-viewer]")) {
  setUpReveal(viewer);
  const path = viewers[viewer.dataset.viewer];
  if (path) import(path).then((module) => { module.setUp(viewer); viewer.dataset.ready = "yes"; });
}
body.dataset.ready = "yes";
