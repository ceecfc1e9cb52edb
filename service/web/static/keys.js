// Keys: an element with data-key is clicked (or, to be typed into, focused) by that key. `?` shows them all.

const TYPED = "input:not([type=radio], [type=checkbox], [type=range]), textarea, select, [contenteditable]";
const PRESSED = "button, a, summary, [role=slider]";
let waitingFor = "";

export function setUpKeys() {
  const dialog = document.getElementById("help");
  document.querySelector("[data-help]")?.addEventListener("click", () => showHelp(dialog));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.matches?.(TYPED)) { event.target.blur(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || dialog?.open) return;
    if (event.target.matches?.(TYPED)) return;
    if (document.body.dataset.keys === "off") return;
    const key = event.key === " " ? "Space" : event.key;
    if ((key === "Enter" || key === "Space") && event.target.closest?.(PRESSED)) return;
    if (key === "Enter" && event.target.matches?.("input")) return;
    if (key === "Space" && event.target.matches?.("input")) return;
    if (event.repeat && !["+", "-", ",", "."].includes(key)) return;
    const combined = waitingFor ? `${waitingFor} ${key}` : key;
    waitingFor = "";
    if (rows(combined)) { event.preventDefault(); return; }
    const found = (event.shiftKey && find(`Shift+${combined}`)) || find(combined);
    if (found) {
      event.preventDefault();
      press(found);
    } else if (key === "g") {
      waitingFor = "g";
      setTimeout(() => { waitingFor = ""; }, 1500);
    }
  });
}

function find(key) {
  const wanted = key.length === 1 ? key.toLowerCase() : key;
  return [...document.querySelectorAll("[data-key]")].find(
    (one) => one.dataset.key === wanted && !one.disabled && !one.hidden && (one.matches("input") || one.offsetParent !== null || getComputedStyle(one).position === "fixed"),
  );
}

function press(element) {
  if (element.matches("select, textarea, input:not([type=radio], [type=checkbox])")) element.focus();
  else {
    if (element.matches("input")) element.focus();
    element.click();
  }
}

// The queue: j and k walk through its rows, Enter opens, a ticks.
function rows(key) {
  if (!["j", "k", "a"].includes(key)) return false;
  const all = [...document.querySelectorAll("[data-row]")];
  if (!all.length) return false;
  const at = all.indexOf(document.activeElement?.closest("[data-row]"));
  if (key === "a") {
    all[at]?.querySelector("[data-pick]")?.click();
    return at >= 0;
  }
  const next = all[Math.min(all.length - 1, Math.max(0, at + (key === "j" ? 1 : -1)))];
  next.querySelector(".title")?.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

function showHelp(dialog) {
  const list = dialog.querySelector(".keys");
  const told = new Map();
  for (const one of document.querySelectorAll("[data-key]")) {
    if (one.closest("[hidden]")) continue;
    const label = one.dataset.label || one.getAttribute("aria-label") || one.placeholder || one.textContent;
    const name = label.replace(/\s+/g, " ").trim().replace(/ (↵|Space|.)$/u, "");
    if (name && !told.has(one.dataset.key)) told.set(one.dataset.key, name);
  }
  for (const one of document.querySelectorAll("[data-also]")) {
    if (!told.has(one.dataset.also)) told.set(one.dataset.also, one.nextElementSibling?.textContent || "");
  }
  list.replaceChildren();
  for (const [key, name] of told) {
    const term = document.createElement("dt");
    for (const part of key.split(" ")) {
      const cap = document.createElement("kbd");
      cap.textContent = part.length === 1 ? part.toUpperCase() : part;
      term.append(cap, " ");
    }
    const meaning = document.createElement("dd");
    meaning.textContent = name;
    list.append(term, meaning);
  }
  dialog.showModal();
}
