/** The canvas on the page: fits the photo into its place, draws when asked to, and tells what is under the pointer. */

import { instanceAt } from "./instances.js";
import { paint } from "./paint.js";
import { makeCanvas, makeSprite } from "./sprites.js";

const APPEARING_MS = 260;
const LARGEST_ENLARGEMENT = 2;

export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{hover: (instance: any) => void, choose: (instance: any) => void}} told called with an instance or null
   */
  constructor(canvas, told) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    /** @type {import("./photo.js").Photo | null} */
    this.photo = null;
    /** @type {Omit<import("./paint.js").Scene, "backdrop" | "scale" | "unit" | "strength" | "spriteOf">} */
    this.content = { shown: [], hovered: null, isolated: null, layers: { masks: true, boxes: false, labels: true } };
    this.sprites = new Map();
    this.appearedAt = -Infinity;
    this.frame = 0;
    new ResizeObserver(() => this.#fit()).observe(canvas.parentElement);
    addEventListener("resize", () => this.#fit()); // a place that could become higher does not do so by itself
    this.#listen(told);
  }

  /** @param {import("./photo.js").Photo} photo */
  setPhoto(photo) {
    this.photo = photo;
    this.sprites.clear();
    this.content = { ...this.content, shown: [], hovered: null, isolated: null };
    this.#fit(true);
  }

  /** Lets the masks of a new answer appear; at once for people who want no motion. */
  appear() {
    this.sprites.clear();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.appearedAt = still ? -Infinity : performance.now();
  }

  /** @param {Partial<typeof this.content>} content what changed */
  show(content) {
    Object.assign(this.content, content);
    this.#redraw();
  }

  /** @param {boolean} [anew] even if the size is the same */
  #fit(anew = false) {
    if (!this.photo) return;
    const place = this.canvas.parentElement;
    const room = { width: place.clientWidth, height: parseFloat(getComputedStyle(place).maxHeight) || innerHeight };
    const { width, height } = this.photo;
    const density = Math.min(devicePixelRatio || 1, 2);
    const fitting = Math.min(room.width / width, room.height / height, LARGEST_ENLARGEMENT);
    const target = {
      width: Math.max(1, Math.round(width * fitting)),
      height: Math.max(1, Math.round(height * fitting)),
    };
    const pixels = Math.round(target.width * density);
    if (!anew && this.canvas.width === pixels && this.unit === density) return;
    this.canvas.style.width = `${target.width}px`;
    this.canvas.width = pixels;
    this.canvas.height = Math.max(1, Math.round((pixels * height) / width));
    this.scale = pixels / width;
    this.unit = density;
    this.sprites.clear();
    this.backdrop = this.#shrunkPhoto();
    this.#draw();
  }

  /** The photo at the size of the canvas: drawing a large one anew in every frame would be slow. */
  #shrunkPhoto() {
    const [canvas, context] = makeCanvas(this.canvas.width, this.canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.photo.bitmap, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  #redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    if (!this.photo) return;
    const strength = Math.min(1, (performance.now() - this.appearedAt) / APPEARING_MS);
    const { backdrop, scale, unit } = this;
    const spriteOf = this.#spriteOf.bind(this);
    paint(this.context, { ...this.content, backdrop, scale, unit, strength, spriteOf });
    if (strength < 1) this.#redraw();
  }

  /** @param {import("./instances.js").Instance} instance */
  #spriteOf(instance) {
    if (!this.sprites.has(instance)) this.sprites.set(instance, makeSprite(instance, this.scale, 1.75 * this.unit));
    return this.sprites.get(instance);
  }

  /** @param {PointerEvent | MouseEvent} event */
  #under(event) {
    const place = this.canvas.getBoundingClientRect();
    if (!this.photo || !place.width) return null;
    const x = Math.floor(((event.clientX - place.left) / place.width) * this.photo.width);
    const y = Math.floor(((event.clientY - place.top) / place.height) * this.photo.height);
    return instanceAt(this.content.shown, x, y);
  }

  /** @param {{hover: (instance: any) => void, choose: (instance: any) => void}} told */
  #listen(told) {
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const instance = this.#under(event);
      this.canvas.classList.toggle("on-instance", instance !== null);
      told.hover(instance);
    });
    this.canvas.addEventListener("pointerleave", () => told.hover(null));
    this.canvas.addEventListener("click", (event) => told.choose(this.#under(event)));
  }
}
