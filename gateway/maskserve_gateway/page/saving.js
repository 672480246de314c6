/** The buttons that save what is shown, or copy it. */

import { canCopy, copyImage, download } from "./downloads.js";
import { byId } from "./elements.js";

/**
 * @param {() => import("./downloads.js").View} view what is shown at the moment
 * @param {(words: string) => void} announce
 * @param {(error: unknown) => void} fail
 */
export function offerSaving(view, announce, fail) {
  onEach(".downloads .save", (kind) => download(kind, view()), fail);
  byId("copying").hidden = !canCopy;
  onEach(".downloads .copy", (kind) => copy(kind, view(), announce), fail);
}

/**
 * @param {string} selector of buttons, whose value says the kind
 * @param {(kind: string) => Promise<void>} act
 * @param {(error: unknown) => void} fail
 */
function onEach(selector, act, fail) {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll(selector));
  buttons.forEach((button) => button.addEventListener("click", () => act(button.value).catch(fail)));
}

/**
 * @param {string} kind
 * @param {import("./downloads.js").View} view
 * @param {(words: string) => void} announce
 */
async function copy(kind, view, announce) {
  await copyImage(kind, view);
  announce("Copied");
  byId("copied").hidden = false;
  setTimeout(() => (byId("copied").hidden = true), 2000);
}
