/** The page's controls: what is moved, pressed and ticked is told to those who act on it. */

import { byId } from "./elements.js";

/**
 * Who acts on the controls.
 * @typedef {object} Told
 * @property {(value: number) => void} slide the score slider is moved
 * @property {() => void} slid it has been let go
 * @property {(least: number) => void} lower the slider is wanted where the surest is shown; the least that it has
 * @property {() => void} showAll no instance is isolated any more
 * @property {() => void} cancel
 * @property {() => void} tryAgain
 * @property {() => void} setLayers
 * @property {(key: string) => boolean} zoom a key, or a button that stands for one; gives whether it means something
 */

/** @param {Told} told */
export function listenToControls(told) {
  const slider = /** @type {HTMLInputElement} */ (byId("threshold"));
  slider.addEventListener("input", () => told.slide(Number(slider.value)));
  slider.addEventListener("change", told.slid);
  byId("lower").addEventListener("click", () => told.lower(Number(slider.min)));
  byId("everything").addEventListener("click", told.showAll);
  addEventListener("keydown", (event) => event.key === "Escape" && told.showAll());
  byId("cancel").addEventListener("click", told.cancel);
  byId("again").addEventListener("click", told.tryAgain);
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    told.tryAgain();
  });
  boxes().forEach((box) => box.addEventListener("change", told.setLayers));
  document.querySelectorAll(".zooming button").forEach((button) => {
    const { value } = /** @type {HTMLButtonElement} */ (button);
    button.addEventListener("click", () => told.zoom(value));
  });
  byId("zooming").addEventListener("keydown", (event) => told.zoom(event.key) && event.preventDefault());
}

/** Whether instances are coloured by their class, instead of each by itself. */
export function isByClass() {
  return /** @type {HTMLInputElement} */ (byId("by-class")).checked;
}

/** @returns {import("./stage.js").Content["layers"]} what is ticked */
export function layers() {
  return /** @type {any} */ (Object.fromEntries([...boxes()].map((box) => [box.value, box.checked])));
}

function boxes() {
  return /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll(".layers input"));
}
