/** Masks as small images: a filled shape and its outline, at the size at which they are drawn. */

/**
 * @typedef {object} Sprite
 * @property {number} scale its own pixels for each of the photo
 * @property {number} x where its left edge goes, in its own pixels
 * @property {number} y
 * @property {HTMLCanvasElement} body the mask, filled with the instance's colour
 * @property {HTMLCanvasElement} rim a line around it
 * @property {HTMLCanvasElement} halo a wider, white line around it
 */

const DIRECTIONS = 16;

/**
 * @param {import("./instances.js").Instance} instance
 * @param {number} scale pixels of the sprite for each of the photo
 * @param {number} line width of the outline in pixels of the sprite
 * @returns {Sprite}
 */
export function makeSprite(instance, scale, line) {
  const coverage = instance.mask.coverage(Math.min(scale, 1));
  const enlarged = Math.max(scale, 1);
  const margin = Math.ceil(2 * line) + 1;
  const x = Math.floor(coverage.x * enlarged) - margin;
  const y = Math.floor(coverage.y * enlarged) - margin;
  const width = Math.ceil(coverage.width * enlarged) + 2 * margin + 1;
  const height = Math.ceil(coverage.height * enlarged) + 2 * margin + 1;
  const [body, context] = makeCanvas(width, height);
  context.imageSmoothingQuality = "high";
  const flat = paintedCoverage(coverage, instance.colour);
  const corner = [coverage.x * enlarged - x, coverage.y * enlarged - y];
  context.drawImage(flat, corner[0], corner[1], flat.width * enlarged, flat.height * enlarged);
  const rim = outline(body, line, instance.colour);
  /** @type {HTMLCanvasElement | null} */
  let halo = null;
  return {
    scale,
    x,
    y,
    body,
    rim,
    get halo() {
      halo ??= outline(body, 2 * line, "#ffffff");
      return halo;
    },
  };
}

/**
 * @param {number} width
 * @param {number} height
 * @returns {[HTMLCanvasElement, CanvasRenderingContext2D]}
 */
export function makeCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  return [canvas, canvas.getContext("2d")];
}

/**
 * @param {import("./mask.js").Coverage} coverage
 * @param {string} colour as #rrggbb
 * @returns {HTMLCanvasElement}
 */
function paintedCoverage(coverage, colour) {
  const [canvas, context] = makeCanvas(coverage.width, coverage.height);
  const pixels = context.createImageData(canvas.width, canvas.height);
  const code = parseInt(colour.slice(1), 16);
  const [red, green, blue] = [code >> 16, (code >> 8) & 255, code & 255];
  for (let at = 0, to = 0; at < coverage.alpha.length; at++, to += 4) {
    pixels.data[to] = red;
    pixels.data[to + 1] = green;
    pixels.data[to + 2] = blue;
    pixels.data[to + 3] = coverage.alpha[at];
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/**
 * What the shape covers when it is moved about by `width`, without the shape.
 * @param {HTMLCanvasElement} body
 * @param {number} width
 * @param {string} colour
 * @returns {HTMLCanvasElement}
 */
function outline(body, width, colour) {
  const [canvas, context] = makeCanvas(body.width, body.height);
  for (let step = 0; step < DIRECTIONS; step++) {
    const angle = (2 * Math.PI * step) / DIRECTIONS;
    context.drawImage(body, width * Math.cos(angle), width * Math.sin(angle));
  }
  context.globalCompositeOperation = "destination-out";
  context.drawImage(body, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = colour;
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}
