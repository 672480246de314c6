/** The instances of an answer, in the order of their scores. */

import { Mask } from "./mask.js";
import { colourOf } from "./palette.js";

/**
 * @typedef {object} Instance
 * @property {number} number its place in the list, from 0
 * @property {number} classId
 * @property {string} label
 * @property {number} score
 * @property {[number, number, number, number]} box x0, y0, x1, y1 in pixels of the photo
 * @property {string} colour
 * @property {Mask} mask
 */

/**
 * Nearest whole number, halves to the even one, as Python and numpy round: the crop of a mask begins there.
 * @param {number} value
 * @returns {number}
 */
export function roundHalfEven(value) {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/**
 * @param {any} result the `result` of the service's answer
 * @returns {Instance[]} the surest first
 */
export function readInstances(result) {
  return [...result.instances].sort((first, second) => second.score - first.score).map(readInstance);
}

/**
 * @param {any} found
 * @param {number} number
 * @returns {Instance}
 */
function readInstance(found, number) {
  const [height, width] = found.mask.size;
  const corner = { x: roundHalfEven(found.bbox[0]), y: roundHalfEven(found.bbox[1]) };
  return {
    number,
    classId: found.categoryId,
    label: found.categoryName ?? `class ${found.categoryId}`,
    score: found.score,
    box: found.bbox,
    colour: colourOf(number),
    mask: new Mask(found.mask.rleResult, { ...corner, width, height }),
  };
}

/**
 * @param {Instance[]} instances
 * @param {boolean} byClass whether those of a class share a colour
 */
export function recolour(instances, byClass) {
  instances.forEach((instance) => (instance.colour = colourOf(byClass ? instance.classId : instance.number)));
}

/**
 * The instance at a pixel of the photo; of several the smallest, which would be out of reach otherwise.
 * @param {Instance[]} instances
 * @param {number} x
 * @param {number} y
 * @returns {Instance | null}
 */
export function instanceAt(instances, x, y) {
  const hit = instances.filter((instance) => instance.mask.contains(x, y));
  return hit.reduce((best, next) => (best && best.mask.area <= next.mask.area ? best : next), null);
}
