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
    /** @type {{members: Instance[], element: HTMLElement}[]} */
    this.headings = [];
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

  /**
   * @param {Instance[]} instances
   * @param {boolean} grouped whether those of a class stand together below its name
   */
  setInstances(instances, grouped) {
    /** @type {Map<string, Instance[]>} */
    const groups = new Map();
    instances.forEach((instance) => {
      const name = grouped ? instance.label : "";
      groups.set(name, [...(groups.get(name) ?? []), instance]);
    });
    this.items = new Map([...groups.values()].flat().map((instance) => [instance, makeItem(instance)]));
    this.headings = [...groups].map(([name, members]) => ({ members, element: makeHeading(name) }));
    const rows = this.headings.flatMap(({ members, element }) => [
      ...(grouped ? [element] : []),
      ...members.map((instance) => this.items.get(instance)),
    ]);
    this.element.replaceChildren(...rows);
  }

  /** Shows the colours that the instances have now. */
  recolour() {
    this.items.forEach((item, instance) => item.style.setProperty("--colour", instance.colour));
  }

  /** @param {import("./stage.js").Content} content */
  show({ shown, hovered, isolated }) {
    const visible = new Set(shown);
    for (const [instance, item] of this.items) {
      item.hidden = !visible.has(instance);
      item.classList.toggle("hovered", instance === hovered);
      item.setAttribute("aria-selected", String(instance === isolated));
      item.tabIndex = -1;
    }
    for (const { members, element } of this.headings) {
      const count = members.filter((instance) => visible.has(instance)).length;
      element.hidden = !count;
      element.lastElementChild.textContent = String(count);
    }
    this.element.hidden = !shown.length; // a listbox without options is none
    this.element.classList.toggle("isolating", isolated !== null);
    const first = [...this.items].find(([instance]) => visible.has(instance))?.[0];
    const stop = this.items.get(isolated ?? first);
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
  const extent = makeSpan("extent", `${x1 - x0} × ${y1 - y0} px`);
  extent.title = "width and height";
  item.append(makeSpan("swatch", ""), makeSpan("name", instance.label), extent);
  item.append(makeSpan("score", instance.score.toFixed(2)));
  item.style.setProperty("--colour", instance.colour);
  return item;
}

/**
 * A line above the instances of a class. Each of them says its class, so that it is for the eye alone.
 * @param {string} name
 * @returns {HTMLElement}
 */
function makeHeading(name) {
  const item = document.createElement("li");
  item.className = "class";
  item.setAttribute("role", "presentation");
  item.setAttribute("aria-hidden", "true");
  item.append(makeSpan("class-name", name), makeSpan("class-count", ""));
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
