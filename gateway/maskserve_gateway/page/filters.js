/** Which classes are shown, and which names: for photos with many instances. */

import { byId } from "./elements.js";

/** @typedef {import("./instances.js").Instance} Instance */

const MANY = 12; // instances; from there on the list is grouped, and can be searched

const search = /** @type {HTMLInputElement} */ (byId("search"));

export class Filters {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {Set<string>} */
    this.hidden = new Set();
    search.addEventListener("input", changed);
    byId("every-class").addEventListener("click", () => this.#showAll());
  }

  /**
   * @param {Instance[]} instances of a new answer
   * @returns {boolean} whether they are so many that the list is better grouped
   */
  setInstances(instances) {
    /** @type {Map<string, number>} */
    const counts = new Map();
    instances.forEach(({ label }) => counts.set(label, (counts.get(label) ?? 0) + 1));
    this.hidden.clear();
    search.value = "";
    const several = counts.size > 1;
    const many = instances.length > MANY;
    byId("filters").hidden = !several && !many;
    byId("search-row").hidden = !many;
    byId("classes").hidden = !several;
    const sorted = [...counts].sort(([, one], [, other]) => other - one);
    this.chips = new Map(sorted.map(([label, count]) => [label, this.#makeChip(label, count)]));
    byId("classes").replaceChildren(...this.chips.values(), byId("every-class"));
    this.#show();
    return several && many;
  }

  /** @param {Instance} instance */
  passes({ label }) {
    return !this.hidden.has(label) && label.toLowerCase().includes(search.value.trim().toLowerCase());
  }

  /**
   * @param {string} label
   * @param {number} count
   */
  #makeChip(label, count) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = `${label} ${count}`;
    chip.addEventListener("click", () => this.#toggle(label));
    return chip;
  }

  /** The first press shows a class alone, which is what somebody wants among many; further ones add and take away. */
  #toggle(label) {
    const labels = [...this.chips.keys()];
    if (!this.hidden.size) this.hidden = new Set(labels.filter((other) => other !== label));
    else if (this.hidden.has(label)) this.hidden.delete(label);
    else this.hidden.add(label);
    if (this.hidden.size === labels.length) this.hidden.clear();
    this.#show();
    this.changed();
  }

  #showAll() {
    this.hidden.clear();
    this.#show();
    this.changed();
  }

  #show() {
    this.chips.forEach((chip, label) => chip.setAttribute("aria-pressed", String(!this.hidden.has(label))));
    byId("every-class").hidden = !this.hidden.size;
  }
}
