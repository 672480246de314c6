/** Files made on the page and saved by the browser. */

import { cocoDocument, paddlexDocument } from "./documents.js";
import { paint } from "./paint.js";
import { makeCanvas, makeSprite } from "./sprites.js";

const SCREEN_PIXELS = 1000; // of the longer side at which lines and text look as they do on the page

/** @typedef {{photo: import("./photo.js").Photo, labels: string[], content: import("./stage.js").Stage["content"]}} View */

/**
 * The three kinds of files, by the value of their buttons. Each holds what is shown: an isolated instance alone.
 * @type {Record<string, (view: View) => Promise<[Blob, string]>>}
 */
export const KINDS = {
  png: async (view) => [await pictureOf(view), ".masks.png"],
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
function pictureOf({ photo, content }) {
  const [canvas, context] = makeCanvas(photo.width, photo.height);
  const unit = Math.max(1, Math.max(photo.width, photo.height) / SCREEN_PIXELS);
  const spriteOf = (/** @type {import("./instances.js").Instance} */ instance) => makeSprite(instance, 1, 1.75 * unit);
  paint(context, { ...content, hovered: null, backdrop: photo.bitmap, scale: 1, unit, strength: 1, spriteOf });
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large to save"))),
      "image/png",
    );
  });
}
