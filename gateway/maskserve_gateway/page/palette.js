/** Colours of instances: bright enough for dark photos, and dark text is readable on every one of them. */

const COLOURS = [
  "#ff6b6b",
  "#4cc9f0",
  "#ffd166",
  "#5ee08a",
  "#c08bff",
  "#ff9f43",
  "#ff7ac6",
  "#2ee6c8",
  "#b8e04a",
  "#8ea6ff",
  "#ffb4a2",
  "#e6e05a",
];

/** The colour of text on any of them. */
export const INK = "#12141a";

/**
 * @param {number} number of the instance, from 0
 * @returns {string}
 */
export function colourOf(number) {
  return COLOURS[number % COLOURS.length];
}
