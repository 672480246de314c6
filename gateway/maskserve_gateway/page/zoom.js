/** What part of the photo is seen: how much it is enlarged, and where its corner is. Wheel, pinch, drag and keys. */

const MOST = 16;
const STEP = 1.5;
const PAN_STEP = 60;
const STILL = 5; // pixels that a press may move and be a click all the same

export class Zoom {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} changed
   */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.times = 1;
    this.corner = { x: 0, y: 0 };
    /** @type {Map<number, {x: number, y: number}>} */
    this.pressed = new Map();
    this.travelled = 0;
    this.#listen();
  }

  /** Whether the press that is just ending moved the photo, and was no click. */
  get dragged() {
    return this.travelled > STILL;
  }

  reset() {
    this.times = 1;
    this.#settle({ x: 0, y: 0 });
  }

  /**
   * @param {number} factor
   * @param {{x: number, y: number}} [around] in pixels of the canvas; its middle where it is left out
   */
  by(factor, around = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    const before = this.times;
    this.times = Math.max(1, Math.min(MOST, before * factor));
    const ratio = this.times / before;
    this.#settle({
      x: around.x - (around.x - this.corner.x) * ratio,
      y: around.y - (around.y - this.corner.y) * ratio,
    });
  }

  /** @param {string} key @returns {boolean} whether it is one of those that zoom or pan */
  key(key) {
    /** @type {Record<string, () => void>} */
    const zooming = { "+": () => this.by(STEP), "=": () => this.by(STEP), "-": () => this.by(1 / STEP), 0: () => this.reset() };
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (key in zooming) zooming[key]();
    else if (key in moves && this.times > 1) this.#pan(moves[key][0] * PAN_STEP, moves[key][1] * PAN_STEP);
    else return false;
    return true;
  }

  /**
   * @param {number} right in pixels of the screen
   * @param {number} down
   */
  #pan(right, down) {
    const density = this.#density();
    this.#settle({ x: this.corner.x + right * density, y: this.corner.y + down * density });
  }

  /** @param {{x: number, y: number}} corner moved until the photo fills the canvas */
  #settle({ x, y }) {
    const { width, height } = this.canvas;
    this.corner = {
      x: Math.min(0, Math.max(x, width - width * this.times)),
      y: Math.min(0, Math.max(y, height - height * this.times)),
    };
    this.canvas.classList.toggle("zoomed", this.times > 1);
    this.changed();
  }

  #density() {
    return this.canvas.width / (this.canvas.getBoundingClientRect().width || 1);
  }

  /** @param {{clientX: number, clientY: number}} event */
  #place(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const density = this.#density();
    return { x: (event.clientX - left) * density, y: (event.clientY - top) * density };
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey && this.times === 1) return; // the page is scrolled
        event.preventDefault();
        this.by(Math.exp(-event.deltaY / 300), this.#place(event));
      },
      { passive: false },
    );
    canvas.addEventListener("dblclick", (event) => this.by(this.times > 1 ? 1 / MOST : 2 * STEP, this.#place(event)));
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.pressed.size) this.travelled = 0;
      this.pressed.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    ["pointerup", "pointercancel", "pointerleave"].forEach((kind) =>
      canvas.addEventListener(kind, (event) => this.pressed.delete(/** @type {PointerEvent} */ (event).pointerId)),
    );
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.pressed.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const others = [...this.pressed].filter(([id]) => id !== event.pointerId);
    this.pressed.set(event.pointerId, now);
    this.travelled += Math.hypot(now.x - before.x, now.y - before.y);
    if (others.length) {
      const [, other] = others[0];
      const apart = (/** @type {{x: number, y: number}} */ at) => Math.hypot(at.x - other.x, at.y - other.y) || 1;
      const middle = { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 };
      this.by(apart(now) / apart(before), this.#place(middle));
    } else if (this.times > 1 && this.dragged) {
      if (!this.canvas.hasPointerCapture(event.pointerId)) this.canvas.setPointerCapture(event.pointerId);
      this.#pan(now.x - before.x, now.y - before.y);
    }
  }
}
