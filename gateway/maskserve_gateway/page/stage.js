/** The canvas on the page: fits the photo into its place, draws when asked to, and tells what is under the pointer. */

import { instanceAt } from "./instances.js";
import { labelsOf } from "./labels.js";
import { LOOK } from "./look.js";
import { paint } from "./paint.js";
import { makeCanvas, makeSprite } from "./sprites.js";
import { Zoom } from "./zoom.js";

const APPEARING_MS = 260;
const LARGEST_ENLARGEMENT = 2;
const SMALL = 480; // pixels of the screen: below, text is smaller
const SMALLER = 0.82;
const SPRITE_PIXELS = 4e6; // of a sprite of the whole photo, however much it is enlarged

/**
 * @typedef {object} Content
 * @property {import("./instances.js").Instance[]} shown
 * @property {import("./instances.js").Instance | null} hovered
 * @property {import("./instances.js").Instance | null} isolated
 * @property {{masks: boolean, boxes: boolean, labels: boolean}} layers
 */

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
    /** @type {Content} */
    this.content = { shown: [], hovered: null, isolated: null, layers: { masks: true, boxes: false, labels: true } };
    this.sprites = new Map();
    /** @type {import("./labels.js").Label[] | null} */
    this.labels = null;
    this.appearedAt = -Infinity;
    this.frame = 0;
    this.zoom = new Zoom(canvas, () => this.#zoomed());
    this.told = told;
    new ResizeObserver(() => this.#fit()).observe(canvas.parentElement);
    addEventListener("resize", () => this.#fit()); // a place that could become higher does not do so by itself
    this.#listen(told);
  }

  /** @param {import("./photo.js").Photo} photo */
  setPhoto(photo) {
    this.photo = photo;
    this.forget();
    this.content = { ...this.content, shown: [], hovered: null, isolated: null };
    this.#fit(true);
  }

  /** Lets the masks of a new answer appear; at once for people who want no motion. */
  appear() {
    this.forget();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.appearedAt = still ? -Infinity : performance.now();
  }

  /** Has masks and labels made anew: they are others, or have other colours. */
  forget() {
    this.sprites.clear();
    this.labels = null;
  }

  /** @param {Partial<Content>} content what changed */
  show(content) {
    if (content.shown && content.shown !== this.content.shown) this.labels = null;
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
    const unit = density * (target.width < SMALL ? SMALLER : 1);
    if (!anew && this.canvas.width === pixels && this.unit === unit) return;
    this.canvas.style.width = `${target.width}px`;
    this.canvas.width = pixels;
    this.canvas.height = Math.max(1, Math.round((pixels * height) / width));
    this.scale = pixels / width;
    this.unit = unit;
    this.forget();
    this.backdrop = this.#shrunkPhoto();
    this.zoom.reset();
    this.#draw();
  }

  /** The photo at the size of the canvas: drawing a large one anew in every frame would be slow. */
  #shrunkPhoto() {
    const [canvas, context] = makeCanvas(this.canvas.width, this.canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.photo.bitmap, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  #zoomed() {
    this.labels = null;
    this.#redraw();
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
    const { photo, unit } = this;
    const { times, corner } = this.zoom;
    const scale = this.scale * times;
    const backdrop = times > 1 ? photo.bitmap : this.backdrop;
    this.labels ??= labelsOf(this.content.shown, photo, { scale, unit });
    const spriteOf = this.#spriteOf.bind(this);
    const { labels } = this;
    paint(this.context, { ...this.content, backdrop, photo, labels, scale, corner, unit, strength, spriteOf });
    if (strength < 1) this.#redraw();
  }

  /** @param {import("./instances.js").Instance} instance */
  #spriteOf(instance) {
    const { width, height } = this.photo;
    const step = 2 ** Math.ceil(Math.log2(this.zoom.times) - 1e-9); // not a new one for every turn of the wheel
    const most = Math.max(this.scale, Math.sqrt(SPRITE_PIXELS / (width * height)));
    const scale = Math.min(this.scale * step, most);
    const known = this.sprites.get(instance);
    if (known?.step === step) return known.sprite;
    const line = (LOOK.outline * this.unit * scale) / (this.scale * step);
    const sprite = makeSprite(instance, scale, line);
    this.sprites.set(instance, { step, sprite });
    return sprite;
  }

  /** @param {PointerEvent | MouseEvent} event */
  #under(event) {
    const place = this.canvas.getBoundingClientRect();
    if (!this.photo || !place.width) return null;
    const { times, corner } = this.zoom;
    const density = this.canvas.width / place.width;
    const x = Math.floor(((event.clientX - place.left) * density - corner.x) / (this.scale * times));
    const y = Math.floor(((event.clientY - place.top) * density - corner.y) / (this.scale * times));
    return instanceAt(this.content.shown, x, y);
  }

  /** @param {{hover: (instance: any) => void, choose: (instance: any) => void}} told */
  #listen(told) {
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch" || event.buttons) return;
      const instance = this.#under(event);
      this.canvas.classList.toggle("on-instance", instance !== null);
      told.hover(instance);
    });
    this.canvas.addEventListener("pointerleave", () => told.hover(null));
    this.canvas.addEventListener("click", (event) => !this.zoom.dragged && told.choose(this.#under(event)));
  }
}
