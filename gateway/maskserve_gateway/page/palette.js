/** Colours of instances. Dark text is readable on every one of them. */

import { LOOK } from "./look.js";

/** The colour of text on any of them. */
export const INK = LOOK.darkInk;

/**
 * @param {number} number of the instance, or of its class, from 0
 * @returns {string}
 */
export function colourOf(number) {
  const count = LOOK.palette.length;
  return LOOK.palette[((number % count) + count) % count];
}
