/** Files made on the page and saved by the browser, or put on the clipboard. */

import { cocoDocument, paddlexDocument } from "./documents.js";
import { labelsOf } from "./labels.js";
import { LOOK } from "./look.js";
import { cutOut, paint } from "./paint.js";
import { makeCanvas, makeSprite } from "./sprites.js";

/** @typedef {{photo: import("./photo.js").Photo, labels: string[], content: import("./stage.js").Content}} View */

/**
 * The kinds of files, by the value of their buttons. Each holds what is shown: an isolated instance alone.
 * @type {Record<string, (view: View) => Promise<[Blob, string]>>}
 */
export const KINDS = {
  png: async (view) => [await imageOf(view), ".masks.png"],
  cutout: async (view) => [await cutOutOf(view), ".cutout.png"],
  paddlex: async ({ photo, content }) => [jsonFile(paddlexDocument(photo, shownOf(content))), ".json"],
  coco: async ({ photo, content, labels }) => [jsonFile(cocoDocument(photo, shownOf(content), labels)), ".coco.json"],
};

/**
 * @param {string} kind one of `KINDS`
 * @param {View} view
 */
export async function download(kind, view) {
  const [blob, ending] = await KINDS[kind](view);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = (view.photo.name ?? "photo").replace(/\.[^.]+$/, "") + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Whether this browser lets the page put images on the clipboard: over https, and from localhost. */
export const canCopy = Boolean(globalThis.navigator?.clipboard?.write && globalThis.ClipboardItem);

/**
 * @param {string} kind "png" or "cutout"
 * @param {View} view
 */
export async function copyImage(kind, view) {
  const made = KINDS[kind](view).then(([blob]) => blob); // a promise: Safari wants the item while the click lasts
  await navigator.clipboard.write([new ClipboardItem({ "image/png": made })]);
}

/** @param {View["content"]} content */
function shownOf(content) {
  return content.isolated ? [content.isolated] : content.shown;
}

/** @param {unknown} document */
function jsonFile(document) {
  return new Blob([JSON.stringify(document, null, 2)], { type: "application/json" });
}

/**
 * What the page shows, at the photo's own size. Sprites are not kept: large photos have large ones.
 * @param {View} view
 * @returns {Promise<Blob>}
 */
function imageOf({ photo, content }) {
  const [canvas, context] = makeCanvas(photo.width, photo.height);
  const unit = unitOf(photo);
  const spriteOf = (/** @type {import("./instances.js").Instance} */ instance) =>
    makeSprite(instance, 1, Math.max(LOOK.outline * unit, 1));
  const labels = labelsOf(shownOf(content), photo, { scale: 1, unit });
  const view = { photo, backdrop: photo.bitmap, labels, scale: 1, corner: { x: 0, y: 0 }, unit, strength: 1, spriteOf };
  paint(context, { ...content, hovered: null, ...view });
  return pngOf(canvas);
}

/**
 * Pixels of a photo for one unit of the look.
 * @param {{width: number, height: number}} photo
 */
function unitOf({ width, height }) {
  const side = Math.max(width, height);
  return Math.max(side / LOOK.unitSide, Math.max(Math.min(side / LOOK.smallSide, 1), LOOK.smallestUnit));
}

/**
 * The pixels of what is shown, on a transparent ground, in the smallest window that holds them.
 * @param {View} view
 * @returns {Promise<Blob>}
 */
function cutOutOf({ photo, content }) {
  const sprites = shownOf(content)
    .filter(({ mask }) => mask.area)
    .map((instance) => makeSprite(instance, 1, 0));
  if (!sprites.length) return Promise.reject(new Error("nothing is shown that could be cut out"));
  const [whole, context] = makeCanvas(photo.width, photo.height);
  const scene = { photo, backdrop: photo.bitmap };
  sprites.forEach((sprite) => context.drawImage(cutOut(scene, sprite), sprite.x, sprite.y));
  const boxes = shownOf(content).filter(({ mask }) => mask.area).map(({ mask }) => mask.bounds());
  const left = Math.min(...boxes.map(({ x }) => x));
  const top = Math.min(...boxes.map(({ y }) => y));
  const right = Math.max(...boxes.map(({ x, width }) => x + width));
  const bottom = Math.max(...boxes.map(({ y, height }) => y + height));
  const [canvas, cropping] = makeCanvas(right - left, bottom - top);
  cropping.drawImage(whole, -left, -top);
  return pngOf(canvas);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<Blob>}
 */
function pngOf(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("the image is too large to save"))),
      "image/png",
    );
  });
}
