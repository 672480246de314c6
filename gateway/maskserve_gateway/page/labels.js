/** Labels: a class name and a score on a plate of the instance's colour. */

import { LOOK } from "./look.js";
import { INK } from "./palette.js";
import { placeLabels } from "./placing.js";
import { makeCanvas } from "./sprites.js";

/** @typedef {{scale: number, corner: {x: number, y: number}, unit: number}} View */

/**
 * A label with its place, in pixels of the photo; its size is in pixels of the drawing.
 * @typedef {object} Label
 * @property {import("./instances.js").Instance} instance
 * @property {string} text
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 * @property {[number, number] | null} towards
 */

const FONT = '-apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell, sans-serif';
const [, measuring] = typeof document === "undefined" ? [null, null] : makeCanvas(1, 1);

/** @param {number} unit */
function font(unit) {
  return `600 ${LOOK.text * unit}px ${FONT}`;
}

/**
 * @param {import("./instances.js").Instance} instance
 * @returns {string[]} with the score, and without it for places where there is little room
 */
function textsOf(instance) {
  return [`${instance.label} ${instance.score.toFixed(2)}`, instance.label];
}

/**
 * @param {string} text
 * @param {number} unit
 */
function sizeOf(text, unit) {
  measuring.font = font(unit);
  const width = measuring.measureText(text).width + 2 * LOOK.platePadding * unit;
  return { text, width, height: LOOK.plateHeight * unit };
}

/**
 * @param {import("./instances.js").Instance[]} instances
 * @param {{width: number, height: number}} photo
 * @param {{scale: number, unit: number}} view
 * @returns {Label[]}
 */
export function labelsOf(instances, photo, { scale, unit }) {
  const texts = instances.map((instance) => textsOf(instance).map((text) => sizeOf(text, unit)));
  /** @type {import("./placing.js").Size[][]} */
  const sizes = texts.map((choices) =>
    choices.map(({ width, height }) => [Math.ceil(width / scale), Math.ceil(height / scale)]),
  );
  return placeLabels(instances, photo, sizes).map(({ index, choice, x, y, towards }) => ({
    instance: instances[index],
    ...texts[index][choice],
    x,
    y,
    towards,
  }));
}

/**
 * The label of an instance that has none, but is pointed at: above its box, whatever is there.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {import("./instances.js").Instance} instance
 * @returns {Label}
 */
export function fallbackLabel(context, { scale, corner, unit }, instance) {
  const size = sizeOf(textsOf(instance)[0], unit);
  const [left, top] = instance.box;
  const most = { x: (context.canvas.width - size.width - corner.x) / scale, y: (context.canvas.height - corner.y) / scale };
  const x = Math.max(-corner.x / scale, Math.min(left, most.x));
  const y = Math.max(-corner.y / scale, Math.min(top, most.y) - size.height / scale);
  return { instance, ...size, x, y, towards: null };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Label} label
 */
export function paintLeader(context, { scale, corner, unit }, { instance, x, y, width, height, towards }) {
  if (!towards) return;
  context.lineWidth = LOOK.leader * unit;
  context.strokeStyle = instance.colour;
  context.beginPath();
  context.moveTo(corner.x + x * scale + width / 2, corner.y + y * scale + height / 2);
  context.lineTo(corner.x + towards[0] * scale, corner.y + towards[1] * scale);
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Label} label
 */
export function paintLabel(context, { scale, corner, unit }, { instance, text, x, y, width, height }) {
  const [left, top] = [corner.x + x * scale, corner.y + y * scale];
  context.fillStyle = instance.colour;
  context.beginPath();
  context.roundRect(left, top, width, height, LOOK.plateRadius * unit);
  context.fill();
  context.font = font(unit);
  context.textBaseline = "middle";
  context.fillStyle = INK;
  context.fillText(text, left + LOOK.platePadding * unit, top + height / 2 + 0.5 * unit);
}
