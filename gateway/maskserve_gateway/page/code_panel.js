/** The place on the page where the request stands as code. */

import { LANGUAGES } from "./code.js";
import { byId } from "./elements.js";

const choices = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("[name=language]"));

/** @type {import("./code.js").Request | null} */
let current = null;

/** @param {import("./code.js").Request} request */
export function show(request) {
  current = request;
  const chosen = [...choices].find((choice) => choice.checked)?.value ?? "curl";
  byId("snippet").textContent = LANGUAGES[chosen](request);
}

choices.forEach((choice) => choice.addEventListener("change", () => current && show(current)));
byId("copy-code").hidden = !navigator.clipboard;
byId("copy-code").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("snippet").textContent);
  byId("copy-code").textContent = "Copied";
  setTimeout(() => (byId("copy-code").textContent = "Copy"), 2000);
});
