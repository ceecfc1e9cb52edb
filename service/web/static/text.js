// Passages of texts: pointing at one side marks the other.

export function setUp(viewer) {
  viewer.addEventListener("pointerover", (event) => {
    const at = event.target.closest("[data-passage]")?.dataset.passage;
    for (const one of viewer.querySelectorAll("[data-passage]")) one.classList.toggle("here", one.dataset.passage === at);
  });
}
