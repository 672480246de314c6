/** Which of the gateway's models is asked. */

import { byId } from "./elements.js";
import { getModels } from "./service.js";

/** @typedef {import("./service.js").Model} Model */

const picker = /** @type {HTMLSelectElement} */ (byId("models"));

export class ModelPicker {
  /** @param {() => void} changed */
  constructor(changed) {
    /** @type {Model[]} */
    this.models = [];
    picker.addEventListener("change", changed);
  }

  /** Shows a choice where there is one. */
  async load() {
    this.models = await getModels();
    const several = this.models.length > 1;
    picker.replaceChildren(...this.models.map(({ name }) => new Option(name, name)));
    const first = this.models.find((model) => model.default) ?? this.models[0];
    if (first) picker.value = first.name;
    byId("picker").hidden = !several;
    byId("model-name").hidden = several;
  }

  /** @returns {Model | null} null where the gateway does not list its models */
  get chosen() {
    return this.models.find(({ name }) => name === picker.value) ?? null;
  }

  /** Address of the service for the chosen model, as seen from the page. */
  get address() {
    const { chosen } = this;
    return chosen && !chosen.default ? `models/${encodeURIComponent(chosen.name)}/instance-segmentation` : "instance-segmentation";
  }
}
