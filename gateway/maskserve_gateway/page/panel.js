/** What stands beside the image: how many there are, the score slider with its ticks, sizes and times. */

import { byId } from "./elements.js";
import { instances as counted, size, time } from "./words.js";

/** @typedef {import("./stage.js").Content} Content */

const slider = /** @type {HTMLInputElement} */ (byId("threshold"));

/**
 * Which model it is, and what it knows.
 * @param {{model: string, labels: string[]}} info
 */
export function showModel({ model, labels }) {
  byId("model-name").textContent = model;
  document.title = `${model} · maskserve`;
  byId("knows").textContent = knowledge(labels);
  byId("knows").hidden = labels.length === 0;
  fitExamples(labels);
}

/** @param {import("./service.js").Info} info */
export function showVersion({ version }) {
  byId("version").textContent = version ?? "";
}

/**
 * Examples in which the model can find nothing would be no examples of it.
 * @param {string[]} labels of the model
 */
function fitExamples(labels) {
  const known = new Set(labels.map((label) => label.toLowerCase()));
  const examples = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-photo]"))];
  examples.forEach((example) => {
    const names = example.dataset.labels.split(",");
    example.hidden = labels.length > 0 && !names.some((name) => known.has(name));
  });
  byId("examples").hidden = examples.every((example) => example.hidden);
}

/** @param {string[]} labels */
function knowledge(labels) {
  if (labels.length === 1) return `This model finds one class: ${labels[0]}`;
  const named = labels.slice(0, 6).join(", ");
  return `This model finds ${labels.length} classes: ${named}${labels.length > 6 ? ", …" : ""}`;
}

/**
 * A tick on the slider for each instance's score.
 * @param {import("./instances.js").Instance[]} instances
 * @param {number} lowest score that was asked for
 */
export function showScores(instances, lowest) {
  slider.min = String(lowest);
  const ticks = instances.map((instance) => {
    const tick = document.createElement("i");
    tick.style.setProperty("--at", String((instance.score - lowest) / (1 - lowest)));
    tick.style.setProperty("--colour", instance.colour);
    return tick;
  });
  byId("ticks").replaceChildren(...ticks);
}

/** @param {number} threshold */
export function showThreshold(threshold) {
  slider.value = String(threshold);
  byId("threshold-value").textContent = threshold.toFixed(2);
}

/**
 * The number of instances, and what to do where none is left.
 * @param {Content} content
 * @param {import("./instances.js").Instance[]} all
 * @param {number} threshold
 */
export function showCount({ shown, isolated }, all, threshold) {
  byId("count").textContent = heading(shown, isolated, all);
  byId("everything").hidden = isolated === null;
  byId("none").hidden = shown.length > 0;
  byId("lower").hidden = all.length === 0 || all[0].score > threshold;
  byId("none-text").textContent = all.length
    ? none(all, threshold)
    : "The model found none of its classes in this photo.";
  enable(true);
  document.querySelectorAll(".downloads [value=cutout]").forEach((button) => {
    /** @type {HTMLButtonElement} */ (button).disabled = !shown.length;
  });
}

/**
 * @param {import("./instances.js").Instance[]} all
 * @param {number} threshold
 */
function none(all, threshold) {
  if (all[0].score > threshold) return "The filter leaves none.";
  return `None scores above ${threshold.toFixed(2)}. The surest has ${all[0].score.toFixed(2)}.`;
}

/**
 * @param {import("./instances.js").Instance[]} shown
 * @param {import("./instances.js").Instance | null} isolated
 * @param {import("./instances.js").Instance[]} all
 */
function heading(shown, isolated, all) {
  if (isolated) return `1 of ${shown.length} isolated`;
  return shown.length < all.length ? `${shown.length} of ${counted(all.length)}` : counted(all.length);
}

/** Before there is an answer. */
export function showNothing() {
  byId("count").textContent = "Instances";
  byId("everything").hidden = true;
  byId("none").hidden = true;
  byId("ticks").replaceChildren();
  byId("threshold-value").textContent = "";
  enable(false);
}

/** @param {boolean} on whether there is something to filter and to download */
function enable(on) {
  slider.disabled = !on;
  document.querySelectorAll(".downloads button, .zooming button").forEach((button) => {
    /** @type {HTMLButtonElement} */ (button).disabled = !on;
  });
}

/**
 * Sizes, and times where there is an answer.
 * @param {import("./photo.js").Photo} photo
 * @param {import("./service.js").Answer | null} answer
 */
export function showFacts(photo, answer) {
  const facts = [["Photo", `${photo.width} × ${photo.height} px, ${size(photo.file.size)}`]];
  if (answer) facts.push(["Sent", size(answer.sentBytes)], ["Round trip", time(answer.milliseconds)]);
  byId("facts").replaceChildren(...facts.map(([name, value]) => makeFact(name, value)));
}

/**
 * @param {string} name
 * @param {string} value
 */
function makeFact(name, value) {
  const item = document.createElement("li");
  const strong = document.createElement("b");
  strong.textContent = value;
  item.append(`${name} `, strong);
  return item;
}

/**
 * What the image shows, for people who do not see it.
 * @param {Content} content
 */
export function describe({ shown, isolated }) {
  const named = (isolated ? [isolated] : shown).map(({ label, score }) => `${label} ${score.toFixed(2)}`);
  const what = isolated ? "one instance isolated" : `${counted(shown.length)} outlined`;
  byId("canvas").setAttribute("aria-label", `The photo, ${what}${named.length ? `: ${named.join(", ")}` : ""}`);
}
