/** The photos of this visit: each with what came of it, as small pictures to choose from where there are several. */

import { byId } from "./elements.js";

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
   * @param {import("./intake.js").Given[]} given
   * @returns {Entry[]}
   */
  add(given) {
    const added = given.map((one) => this.#makeEntry(one));
    this.entries.push(...added);
    byId("gallery").replaceChildren(...this.entries.map(({ button }) => button));
    byId("gallery").hidden = this.entries.length < 2;
    return added;
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

  /**
   * @param {import("./intake.js").Given} given
   * @returns {Entry}
   */
  #makeEntry({ file, name }) {
    const button = document.createElement("button");
    button.type = "button";
    const image = document.createElement("img");
    image.alt = "";
    image.width = image.height = 56;
    image.src = URL.createObjectURL(file);
    button.append(image);
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

/** @param {Entry} entry */
function spoken({ name, state, answer }) {
  const count = answer?.result.instances.length;
  const what = { waiting: "waiting", working: "being segmented", done: `${count} found`, failed: "failed" }[state];
  return `${name ?? "pasted photo"}, ${what}`;
}
