/** A photo with its instances, drawn on any canvas: the one on the page, and the one that is downloaded. */

import { fallbackLabel, paintLabel, paintLeader } from "./labels.js";
import { LOOK } from "./look.js";
import { makeCanvas } from "./sprites.js";

/**
 * @typedef {object} Scene
 * @property {CanvasImageSource} backdrop the photo
 * @property {{width: number, height: number}} photo its size
 * @property {import("./instances.js").Instance[]} shown
 * @property {import("./instances.js").Instance | null} hovered
 * @property {import("./instances.js").Instance | null} isolated
 * @property {{masks: boolean, boxes: boolean, labels: boolean}} layers
 * @property {import("./labels.js").Label[]} labels of those that are shown, where there is a place for one
 * @property {number} scale pixels of the drawing for each of the photo
 * @property {{x: number, y: number}} corner of the photo, in pixels of the drawing
 * @property {number} unit pixels of the drawing for each of a screen: of lines and of text
 * @property {number} strength 0 to 1, of masks that are just appearing
 * @property {(instance: import("./instances.js").Instance) => import("./sprites.js").Sprite} spriteOf
 */

const FADED = { body: 0.14, rim: 0.5 };
const PLAIN = { body: LOOK.opacity, rim: 1 };
const LIT = { body: 0.5, rim: 1 };

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 */
export function paint(context, scene) {
  const { photo, scale, corner } = scene;
  context.globalAlpha = 1;
  context.drawImage(scene.backdrop, corner.x, corner.y, photo.width * scale, photo.height * scale);
  const lit = scene.isolated ?? scene.hovered;
  if (scene.isolated) paintIsolated(context, scene, scene.isolated);
  else if (scene.layers.masks || lit) paintMasks(context, scene, lit);
  context.globalAlpha = scene.strength;
  const framed = scene.isolated ? [scene.isolated] : scene.shown;
  framed
    .filter(({ mask }) => scene.layers.boxes || (scene.layers.masks && !mask.area))
    .forEach((instance) => paintBox(context, scene, instance));
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
  put(context, scene, sprite, sprite.halo);
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
  put(context, scene, sprite, sprite.body);
  context.globalAlpha = alphas.rim * scene.strength;
  put(context, scene, sprite, sprite.rim);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./sprites.js").Sprite} sprite
 * @param {HTMLCanvasElement} image one of the sprite's
 */
function put(context, { scale, corner }, sprite, image) {
  const times = scale / sprite.scale;
  const [width, height] = [image.width * times, image.height * times];
  context.drawImage(image, corner.x + sprite.x * times, corner.y + sprite.y * times, width, height);
}

/**
 * Everything in the dark but one instance, which is as the photo has it.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance} instance
 */
function paintIsolated(context, scene, instance) {
  const sprite = scene.spriteOf(instance);
  const cut = cutOut(scene, sprite);
  context.fillStyle = "rgb(11 12 16 / 78%)";
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  put(context, scene, sprite, cut);
  put(context, scene, sprite, sprite.rim);
}

/**
 * @param {{backdrop: CanvasImageSource, photo: {width: number, height: number}}} scene
 * @param {import("./sprites.js").Sprite} sprite
 * @returns {HTMLCanvasElement} the photo where the sprite's mask is, nothing elsewhere
 */
export function cutOut({ backdrop, photo }, sprite) {
  const [cut, cutting] = makeCanvas(sprite.body.width, sprite.body.height);
  cutting.drawImage(sprite.body, 0, 0);
  cutting.globalCompositeOperation = "source-in";
  cutting.drawImage(backdrop, -sprite.x, -sprite.y, photo.width * sprite.scale, photo.height * sprite.scale);
  return cut;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance} instance
 */
function paintBox(context, { scale, corner, unit }, instance) {
  const [x0, y0, x1, y1] = instance.box.map((value) => value * scale);
  context.lineWidth = LOOK.box * unit;
  context.strokeStyle = instance.colour;
  context.strokeRect(corner.x + x0, corner.y + y0, x1 - x0, y1 - y0);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./instances.js").Instance | null} lit
 */
function paintLabels(context, scene, lit) {
  const written = scene.layers.labels && !scene.isolated ? scene.labels : [];
  const others = written.filter(({ instance }) => instance !== lit);
  context.globalAlpha = scene.strength * (lit ? 0.45 : 1);
  others.forEach((label) => paintLeader(context, scene, label));
  others.forEach((label) => paintLabel(context, scene, label));
  if (!lit) return;
  context.globalAlpha = scene.strength;
  const label = scene.labels.find(({ instance }) => instance === lit) ?? fallbackLabel(context, scene, lit);
  paintLeader(context, scene, label);
  paintLabel(context, scene, label);
}
