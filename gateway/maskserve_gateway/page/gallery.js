/** The photos of this visit: each with what came of it, as small images to choose from where there are several. */

import { byId } from "./elements.js";
import { makeCanvas } from "./sprites.js";

const THUMBNAIL = 112; // pixels: 56 on dense screens

/**
 * @typedef {object} Entry
 * @property {File | Blob} file
 * @property {string | null} name
 * @property {"waiting" | "working" | "done" | "failed"} state
 * @property {import("./service.js").Answer | null} answer
 * @property {import("./words.js").Problem | null} problem
 * @property {string} address of the model that the answer is from
 * @property {HTMLButtonElement} button
 */

export class Gallery {
  /** @param {(entry: Entry) => void} chosen */
  constructor(chosen) {
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Entry | null} */
    this.current = null;
    this.told = chosen;
    byId("gallery").addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * @param {File | Blob} file
   * @param {string | null} name
   * @param {ImageBitmap} bitmap of it; not kept
   * @returns {Entry}
   */
  add(file, name, bitmap) {
    const entry = this.#makeEntry(file, name, bitmap);
    this.entries.push(entry);
    byId("gallery").append(entry.button);
    byId("gallery").hidden = this.entries.length < 2;
    return entry;
  }

  /** @param {Entry} entry */
  choose(entry) {
    this.current = entry;
    this.entries.forEach(({ button }) => button.setAttribute("aria-pressed", String(button === entry.button)));
    entry.button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /**
   * @param {Entry} entry
   * @param {Partial<Entry>} change
   */
  update(entry, change) {
    Object.assign(entry, change);
    entry.button.dataset.state = entry.state;
    entry.button.setAttribute("aria-label", spoken(entry));
  }

  /** Has all photos asked again: the model is another one. */
  forget() {
    this.entries.forEach((entry) => this.update(entry, { state: "waiting", answer: null, problem: null }));
  }

  /** @returns {Entry | undefined} the next one that nobody has asked about */
  next() {
    return this.entries.find(({ state }) => state === "waiting");
  }

  /** Whether one failed in a way in which the others would, too: somebody has to try again. */
  get isStuck() {
    return this.entries.some(({ state, problem }) => state === "failed" && (problem.again || problem.key));
  }

  /**
   * @param {File | Blob} file
   * @param {string | null} name
   * @param {ImageBitmap} bitmap
   * @returns {Entry}
   */
  #makeEntry(file, name, bitmap) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(thumbnail(bitmap));
    /** @type {Entry} */
    const entry = { file, name, state: "waiting", answer: null, problem: null, address: "", button };
    button.addEventListener("click", () => this.told(entry));
    this.update(entry, {});
    return entry;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const at = this.entries.findIndex(({ button }) => button === event.target);
    /** @type {Record<string, number>} */
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1 };
    if (at < 0 || !(event.key in moves)) return;
    event.preventDefault();
    this.entries[moves[event.key]]?.button.focus();
  }
}

/**
 * A small square of the photo's middle: a hundred whole photos would take gigabytes.
 * @param {ImageBitmap} bitmap
 */
function thumbnail(bitmap) {
  const [canvas, context] = makeCanvas(THUMBNAIL, THUMBNAIL);
  const side = Math.min(bitmap.width, bitmap.height);
  const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, left, top, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
  return canvas;
}

/** @param {Entry} entry */
function spoken({ name, state, answer }) {
  const count = answer?.result.instances.length;
  const what = { waiting: "waiting", working: "being segmented", done: `${count} found`, failed: "failed" }[state];
  return `${name ?? "pasted photo"}, ${what}`;
}
