/** One instance's mask: foreground stretches inside a window of the photo, never painted as a whole. */

import { formatCounts, parseCounts, placedRuns, stretches } from "./rle.js";

/** @typedef {{x: number, y: number, width: number, height: number, alpha: Uint8ClampedArray}} Coverage row-major, 0 to 255 */

export class Mask {
  /**
   * @param {string} counts compressed COCO run lengths of the window
   * @param {{x: number, y: number, width: number, height: number}} window in pixels of the photo
   */
  constructor(counts, window) {
    this.counts = counts;
    this.window = window;
    this.foreground = stretches(parseCounts(counts), window.width, window.height);
    this.area = this.foreground.starts.reduce((sum, start, at) => sum + this.foreground.ends[at] - start, 0);
  }

  /**
   * Whether the pixel of the photo at column `x` and row `y` is foreground.
   * @param {number} x
   * @param {number} y
   * @returns {boolean}
   */
  contains(x, y) {
    const column = x - this.window.x;
    const row = y - this.window.y;
    if (column < 0 || row < 0 || column >= this.window.width || row >= this.window.height) return false;
    const pixel = column * this.window.height + row;
    const { starts, ends } = this.foreground;
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] <= pixel) low = middle + 1;
      else high = middle;
    }
    return low < starts.length && starts[low] <= pixel;
  }

  /**
   * The smallest window that holds the foreground, in pixels of the photo; all 0 where there is none.
   * @returns {{x: number, y: number, width: number, height: number}}
   */
  bounds() {
    const { starts, ends } = this.foreground;
    const { x, y, height } = this.window;
    if (!starts.length) return { x: 0, y: 0, width: 0, height: 0 };
    let [top, bottom] = [height, 0];
    for (let at = 0; at < starts.length; at++) {
      const first = starts[at] % height; // a stretch ends where its column does
      top = Math.min(top, first);
      bottom = Math.max(bottom, first + ends[at] - starts[at]);
    }
    const left = Math.floor(starts[0] / height);
    const right = Math.floor((ends[ends.length - 1] - 1) / height);
    return { x: x + left, y: y + top, width: right - left + 1, height: bottom - top };
  }

  /**
   * COCO's compressed run lengths of the whole photo.
   * @param {{width: number, height: number}} photo
   * @returns {{size: [number, number], counts: string}}
   */
  toCoco(photo) {
    return { size: [photo.height, photo.width], counts: formatCounts(placedRuns(this.foreground, this.window, photo)) };
  }

  /**
   * How much of each pixel the mask covers when the photo is drawn `scale` times as large, `scale` at most 1.
   *
   * Every stretch adds its exact area: at its two ends to a column of differences, which are then summed up. So the
   * work grows with the number of stretches and of small pixels, not with the size of the photo.
   * @param {number} scale
   * @returns {Coverage} with the place of its corner in pixels of the drawing
   */
  coverage(scale) {
    const { x, y, width, height } = this.window;
    const left = Math.floor(x * scale);
    const top = Math.floor(y * scale);
    const columns = Math.ceil((x + width) * scale) - left + 1;
    const rows = Math.ceil((y + height) * scale) - top + 1;
    const differences = new Float32Array(columns * (rows + 2));
    const { starts, ends } = this.foreground;
    for (let at = 0; at < starts.length; at++) {
      const column = Math.floor(starts[at] / height);
      const from = (y + starts[at] - column * height) * scale - top;
      const to = (y + ends[at] - column * height) * scale - top;
      const west = (x + column) * scale - left;
      const inner = Math.floor(west);
      const beyond = Math.max(0, west + scale - inner - 1);
      addStretch(differences, inner * (rows + 2), from, to, scale - beyond);
      if (beyond) addStretch(differences, (inner + 1) * (rows + 2), from, to, beyond);
    }
    return { x: left, y: top, width: columns, height: rows, alpha: summedUp(differences, columns, rows) };
  }
}

/**
 * @param {Float32Array} differences
 * @param {number} offset where the column begins
 * @param {number} from
 * @param {number} to
 * @param {number} weight
 */
function addStretch(differences, offset, from, to, weight) {
  const first = Math.floor(from);
  const last = Math.floor(to);
  differences[offset + first] += weight * (1 - (from - first));
  differences[offset + first + 1] += weight * (from - first);
  differences[offset + last] -= weight * (1 - (to - last));
  differences[offset + last + 1] -= weight * (to - last);
}

/**
 * @param {Float32Array} differences
 * @param {number} columns
 * @param {number} rows
 * @returns {Uint8ClampedArray}
 */
function summedUp(differences, columns, rows) {
  const alpha = new Uint8ClampedArray(columns * rows);
  for (let column = 0; column < columns; column++) {
    let sum = 0;
    for (let row = 0; row < rows; row++) {
      sum += differences[column * (rows + 2) + row];
      alpha[row * columns + column] = sum * 255;
    }
  }
  return alpha;
}
