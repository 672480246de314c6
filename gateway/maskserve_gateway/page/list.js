/** The list of instances: a listbox in which hovering and the arrow keys highlight, and a click or Enter isolates. */

/** @typedef {import("./instances.js").Instance} Instance */

export class InstanceList {
  /**
   * @param {HTMLElement} element the listbox
   * @param {{hover: (instance: Instance | null) => void, choose: (instance: Instance | null) => void}} told
   */
  constructor(element, told) {
    this.element = element;
    /** @type {Map<Instance, HTMLElement>} */
    this.items = new Map();
    element.addEventListener(
      "pointerover",
      (event) => event.pointerType !== "touch" && told.hover(this.#instanceOf(event)),
    );
    element.addEventListener("pointerleave", () => told.hover(null));
    element.addEventListener("focusin", (event) => told.hover(this.#instanceOf(event)));
    element.addEventListener("focusout", () => told.hover(null));
    element.addEventListener("click", (event) => told.choose(this.#instanceOf(event)));
    element.addEventListener("keydown", (event) => this.#key(event, told));
  }

  /** @param {Instance[]} instances */
  setInstances(instances) {
    this.items = new Map(instances.map((instance) => [instance, makeItem(instance)]));
    this.element.replaceChildren(...this.items.values());
  }

  /** @param {import("./stage.js").Stage["content"]} content */
  show({ shown, hovered, isolated }) {
    const visible = new Set(shown);
    for (const [instance, item] of this.items) {
      item.hidden = !visible.has(instance);
      item.classList.toggle("hovered", instance === hovered);
      item.setAttribute("aria-selected", String(instance === isolated));
      item.tabIndex = -1;
    }
    this.element.classList.toggle("isolating", isolated !== null);
    const stop = this.items.get(isolated ?? shown[0]);
    if (stop) stop.tabIndex = 0;
    const lit = this.items.get(hovered ?? isolated);
    if (lit && !this.element.matches(":hover")) scrollWithin(this.element, lit);
  }

  /** @param {Event} event */
  #instanceOf(event) {
    const item = /** @type {HTMLElement} */ (event.target).closest("[role=option]");
    return [...this.items].find(([, other]) => other === item)?.[0] ?? null;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {{choose: (instance: Instance | null) => void}} told
   */
  #key(event, told) {
    const visible = [...this.items.values()].filter((item) => !item.hidden);
    const at = visible.indexOf(/** @type {HTMLElement} */ (event.target));
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: visible.length - 1 };
    if (event.key in moves) visible[Math.max(0, Math.min(moves[event.key], visible.length - 1))]?.focus();
    else if (event.key === "Enter" || event.key === " ") told.choose(this.#instanceOf(event));
    else return;
    event.preventDefault();
  }
}

/**
 * @param {Instance} instance
 * @returns {HTMLElement}
 */
function makeItem(instance) {
  const item = document.createElement("li");
  item.setAttribute("role", "option");
  item.tabIndex = -1;
  const [x0, y0, x1, y1] = instance.box.map(Math.round);
  const extent = makeSpan("extent", `${x1 - x0} × ${y1 - y0}`);
  extent.title = "width and height in pixels of the photo";
  item.append(makeSpan("swatch", ""), makeSpan("name", instance.label), extent);
  item.append(makeSpan("score", instance.score.toFixed(2)));
  item.style.setProperty("--colour", instance.colour);
  return item;
}

/**
 * @param {string} name
 * @param {string} text
 */
function makeSpan(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

/**
 * Brings an item into sight without moving the page.
 * @param {HTMLElement} box
 * @param {HTMLElement} item
 */
function scrollWithin(box, item) {
  const top = item.offsetTop - box.offsetTop;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + item.offsetHeight > box.scrollTop + box.clientHeight) {
    box.scrollTop = top + item.offsetHeight - box.clientHeight;
  }
}
