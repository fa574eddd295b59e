"use strict";

// Adds a button that copies to each element that asks for one. Without scripts, people select the text themselves.
if (navigator.clipboard) {
  for (const source of document.querySelectorAll("[data-copy]")) {
    const label = source.dataset.copy;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy-button";
    button.textContent = label;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Press Ctrl+C";
      }
      setTimeout(() => { button.textContent = label; }, 3000);
    });
    source.after(button);
  }
}
