/** A photo with its instances, drawn on any canvas: the one on the page, and the one that is downloaded. */

import { INK } from "./palette.js";
import { makeCanvas } from "./sprites.js";

/**
 * @typedef {object} Scene
 * @property {CanvasImageSource} backdrop the photo, at the size of the drawing
 * @property {import("./instances.js").Instance[]} shown
 * @property {import("./instances.js").Instance | null} hovered
 * @property {import("./instances.js").Instance | null} isolated
 * @property {{masks: boolean, boxes: boolean, labels: boolean}} layers
 * @property {number} scale pixels of the drawing for each of the photo
 * @property {number} unit pixels of the drawing for each of a screen: of lines and of text
 * @property {number} strength 0 to 1, of masks that are just appearing
 * @property {(instance: import("./instances.js").Instance) => import("./sprites.js").Sprite} spriteOf
 */

const FONT = '-apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell, sans-serif';
const FADED = { body: 0.14, rim: 0.5 };
const PLAIN = { body: 0.38, rim: 1 };
const LIT = { body: 0.5, rim: 1 };

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 */
export function paint(context, scene) {
  const { width, height } = context.canvas;
  context.globalAlpha = 1;
  context.drawImage(scene.backdrop, 0, 0, width, height);
  const lit = scene.isolated ?? scene.hovered;
  if (scene.isolated) paintIsolated(context, scene, scene.isolated);
  else if (scene.layers.masks || lit) paintMasks(context, scene, lit);
  context.globalAlpha = scene.strength;
  const framed = scene.isolated ? [scene.isolated] : scene.shown;
  if (scene.layers.boxes) framed.forEach((instance) => paintBox(context, scene, instance));
  paintLabels(context, scene, lit);
  context.globalAlpha = 1;
}

/**
 * Large ones first, so that small ones stay on top of them, and the lit one last.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance | null} lit
 */
function paintMasks(context, scene, lit) {
  const others = scene.shown.filter((instance) => instance !== lit && scene.layers.masks);
  others.sort((first, second) => second.mask.area - first.mask.area);
  others.forEach((instance) => paintMask(context, scene, instance, lit ? FADED : PLAIN));
  if (!lit) return;
  const sprite = scene.spriteOf(lit);
  context.globalAlpha = scene.strength;
  context.drawImage(sprite.halo, sprite.x, sprite.y);
  paintMask(context, scene, lit, LIT);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance} instance
 * @param {{body: number, rim: number}} alphas
 */
function paintMask(context, scene, instance, alphas) {
  const sprite = scene.spriteOf(instance);
  context.globalAlpha = alphas.body * scene.strength;
  context.drawImage(sprite.body, sprite.x, sprite.y);
  context.globalAlpha = alphas.rim * scene.strength;
  context.drawImage(sprite.rim, sprite.x, sprite.y);
}

/**
 * Everything in the dark but one instance, which is as the photo has it.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance} instance
 */
function paintIsolated(context, scene, instance) {
  const sprite = scene.spriteOf(instance);
  const [cut, cutting] = makeCanvas(sprite.body.width, sprite.body.height);
  cutting.drawImage(sprite.body, 0, 0);
  cutting.globalCompositeOperation = "source-in";
  cutting.drawImage(scene.backdrop, -sprite.x, -sprite.y, context.canvas.width, context.canvas.height);
  context.fillStyle = "rgb(11 12 16 / 78%)";
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  context.drawImage(cut, sprite.x, sprite.y);
  context.drawImage(sprite.rim, sprite.x, sprite.y);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance} instance
 */
function paintBox(context, scene, instance) {
  const [x0, y0, x1, y1] = instance.box.map((value) => value * scene.scale);
  context.lineWidth = 1.5 * scene.unit;
  context.strokeStyle = instance.colour;
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
}

/**
 * A name on each instance. Where two would cover each other, the surer one is written.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance | null} lit
 */
function paintLabels(context, scene, lit) {
  const others = scene.layers.labels && !scene.isolated ? scene.shown.filter((instance) => instance !== lit) : [];
  const taken = [];
  context.font = `600 ${12.5 * scene.unit}px ${FONT}`;
  context.textBaseline = "middle";
  for (const instance of lit ? [lit, ...others] : others) {
    const plate = placeLabel(context, scene, instance, taken);
    if (!plate) continue;
    taken.push(plate);
    context.globalAlpha = scene.strength * (lit && instance !== lit ? 0.45 : 1);
    context.fillStyle = instance.colour;
    context.beginPath();
    context.roundRect(plate.x, plate.y, plate.width, plate.height, 4 * scene.unit);
    context.fill();
    context.fillStyle = INK;
    context.fillText(plate.text, plate.x + 6 * scene.unit, plate.y + plate.height / 2 + 0.5 * scene.unit);
  }
}

/**
 * Above the box, or inside its top where there is no room; null where both are taken.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance} instance
 * @param {{x: number, y: number, width: number, height: number}[]} taken
 */
function placeLabel(context, scene, instance, taken) {
  const text = `${instance.label} ${instance.score.toFixed(2)}`;
  const width = context.measureText(text).width + 12 * scene.unit;
  const height = 21 * scene.unit;
  const gap = 3 * scene.unit;
  const [left, top] = instance.box.map((value) => value * scene.scale);
  const x = Math.max(gap, Math.min(left, context.canvas.width - width - gap));
  const lowest = context.canvas.height - height - gap;
  const heights = [top - height - gap, top + gap].filter((y) => y >= gap);
  const places = (heights.length ? heights : [gap]).map((y) => ({ text, x, y: Math.min(y, lowest), width, height }));
  return places.find((place) => !taken.some((other) => overlap(place, other)));
}

/**
 * @param {{x: number, y: number, width: number, height: number}} first
 * @param {{x: number, y: number, width: number, height: number}} second
 */
function overlap(first, second) {
  const beside = first.x + first.width <= second.x || second.x + second.width <= first.x;
  const apart = first.y + first.height <= second.y || second.y + second.height <= first.y;
  return !beside && !apart;
}
