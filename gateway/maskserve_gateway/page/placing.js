/**
 * Where labels go: on their own object where it is large enough, else beside it, and never on another label.
 *
 * The same as `client/maskserve/drawing/placing.py`, in whole numbers on the same grid: a test compares the places.
 */

import { LOOK } from "./look.js";

const WHOLE = 1 << 16; // an object, in the parts that it is counted in

/** @typedef {{score: number, box: number[], mask: import("./mask.js").Mask}} Labelled */
/** @typedef {[number, number]} Size width and height in pixels of the photo */
/** @typedef {{index: number, choice: number, x: number, y: number, towards: [number, number] | null}} Plate */
/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Extent in cells */

/**
 * @param {Labelled[]} instances
 * @param {{width: number, height: number}} photo
 * @param {Size[][]} sizes for each instance those of its texts, the best text first
 * @returns {Plate[]} the surest instance first; one for which there is no place is left out
 */
export function placeLabels(instances, photo, sizes) {
  const grid = new Grid(instances, photo);
  const order = instances.map((_, index) => index).sort((one, other) => instances[other].score - instances[one].score);
  return order.map((index) => grid.place(index, sizes[index])).filter((plate) => plate !== null);
}

/** The photo in cells: whose each is, and which have a label. */
class Grid {
  /**
   * @param {Labelled[]} instances
   * @param {{width: number, height: number}} photo
   */
  constructor(instances, { width, height }) {
    this.width = width;
    this.height = height;
    this.cell = Math.max(Math.ceil(Math.max(width, height) / LOOK.gridCells), 1);
    this.columns = Math.ceil(width / this.cell);
    this.rows = Math.ceil(height / this.cell);
    this.owner = new Int32Array(this.columns * this.rows).fill(-1);
    this.taken = new Uint8Array(this.columns * this.rows);
    this.boxes = instances.map(({ box }) => this.#cellsOf(box));
    const order = instances.map((_, index) => index);
    order.sort((one, other) => instances[other].mask.area - instances[one].mask.area); // small ones are on top
    order.filter((index) => instances[index].mask.area).forEach((index) => this.#paint(index, instances[index].mask));
    this.covered = 0; // cells under labels
    this.seen = new Int32Array(instances.length);
    this.owner.forEach((owner) => owner >= 0 && this.seen[owner]++);
    this.hidden = new Int32Array(instances.length); // cells of each object under labels
  }

  /**
   * @param {number[]} box
   * @returns {Extent} the cells that a box touches, at least one
   */
  #cellsOf(box) {
    const whole = box.map(Math.trunc);
    const x0 = Math.min(Math.max(Math.floor(whole[0] / this.cell), 0), this.columns - 1);
    const y0 = Math.min(Math.max(Math.floor(whole[1] / this.cell), 0), this.rows - 1);
    const x1 = Math.min(Math.max(Math.ceil(whole[2] / this.cell), x0 + 1), this.columns);
    const y1 = Math.min(Math.max(Math.ceil(whole[3] / this.cell), y0 + 1), this.rows);
    return { x0, y0, x1, y1 };
  }

  /**
   * @param {number} index
   * @param {import("./mask.js").Mask} mask
   */
  #paint(index, mask) {
    const { x, y, width, height } = mask.window;
    const last = { column: (x + width) / this.cell, row: (y + height) / this.cell };
    for (let row = Math.max(Math.floor(y / this.cell) - 1, 0); row < Math.min(last.row + 1, this.rows); row++) {
      const middle = this.#middle(row, this.height);
      for (let column = Math.max(Math.floor(x / this.cell) - 1, 0); column < Math.min(last.column + 1, this.columns); column++)
        if (mask.contains(this.#middle(column, this.width), middle)) this.owner[row * this.columns + column] = index;
    }
  }

  /**
   * @param {number} at number of a cell
   * @param {number} side of the photo
   */
  #middle(at, side) {
    return Math.min(at * this.cell + Math.floor(this.cell / 2), side - 1);
  }

  /**
   * Find a place for one label, and take it.
   * @param {number} index
   * @param {Size[]} sizes
   * @returns {Plate | null}
   */
  place(index, sizes) {
    const object = { ...this.#objectOf(index), shares: this.#shares(index) };
    for (const reach of [0, LOOK.ringPlates]) {
      if (reach && 100 * this.covered > LOOK.crowdedPercent * this.taken.length) break;
      for (const [choice, size] of sizes.entries()) {
        const search = new Search(this, object, size, reach);
        const found = search.best();
        if (!found) continue;
        const [x, y] = found;
        this.#take(x, y, search.wide, search.high);
        const towards = reach ? object.middle : null;
        return {
          index,
          choice,
          x: x * this.cell,
          y: y * this.cell,
          towards: towards && [towards[0] * this.cell, towards[1] * this.cell],
        };
      }
    }
    return null;
  }

  /**
   * Give cells to a label.
   * @param {number} x
   * @param {number} y
   * @param {number} wide
   * @param {number} high
   */
  #take(x, y, wide, high) {
    this.covered += wide * high;
    for (let row = y; row < y + high; row++)
      for (let at = row * this.columns + x; at < row * this.columns + x + wide; at++) {
        this.taken[at] = 1;
        if (this.owner[at] >= 0) this.hidden[this.owner[at]]++;
      }
  }

  /**
   * @param {number} position
   * @returns {number[]} for each object what part a cell is of all that the label of `position` may hide of it
   */
  #shares(position) {
    return Array.from(this.seen, (cells, index) => {
      if (index === position) return 0;
      const left = LOOK.hiddenPercent * cells - 100 * this.hidden[index];
      return left > 0 ? Math.min(Math.floor((LOOK.hiddenPercent * WHOLE) / left), WHOLE) : WHOLE;
    });
  }

  /**
   * The cells of an object: its box, where it has none, because it is without pixels, too thin, or under others.
   * @param {number} index
   */
  #objectOf(index) {
    const cells = new Uint8Array(this.owner.length);
    this.owner.forEach((owner, at) => (cells[at] = Number(owner === index)));
    let found = measured(cells, this.columns);
    if (!found.total) {
      const { x0, y0, x1, y1 } = this.boxes[index];
      for (let row = y0; row < y1; row++) cells.fill(1, row * this.columns + x0, row * this.columns + x1);
      found = measured(cells, this.columns);
    }
    return { cells, ...found };
  }
}

/**
 * @param {Uint8Array} cells
 * @param {number} columns
 * @returns {{box: Extent, total: number, middle: [number, number]}}
 */
function measured(cells, columns) {
  const box = { x0: Infinity, y0: Infinity, x1: 0, y1: 0 };
  let [total, across, down] = [0, 0, 0];
  cells.forEach((own, at) => {
    if (!own) return;
    const [x, y] = [at % columns, Math.floor(at / columns)];
    total++;
    across += x;
    down += y;
    box.x0 = Math.min(box.x0, x);
    box.y0 = Math.min(box.y0, y);
    box.x1 = Math.max(box.x1, x + 1);
    box.y1 = Math.max(box.y1, y + 1);
  });
  return { box, total, middle: [Math.floor(across / total), Math.floor(down / total)] };
}

/** All places for one text near its object: costs in whole numbers, and the first of the lowest wins. */
class Search {
  /**
   * @param {Grid} grid
   * @param {{cells: Uint8Array, box: Extent, total: number, middle: [number, number], shares: number[]}} object
   * @param {Size} size
   * @param {number} reach how many heights of the plate it may be away from the object; 0 where it must touch it
   */
  constructor(grid, object, size, reach) {
    this.grid = grid;
    this.object = object;
    this.reach = reach;
    this.wide = Math.ceil(size[0] / grid.cell);
    this.high = Math.ceil(size[1] / grid.cell);
    const far = reach * this.high + 1;
    const { box } = object;
    this.x0 = Math.max(box.x0 - this.wide - far, 0);
    this.y0 = Math.max(box.y0 - this.high - far, 0);
    this.x1 = Math.min(box.x1 + this.wide + far, Math.floor(grid.width / grid.cell));
    this.y1 = Math.min(box.y1 + this.high + far, Math.floor(grid.height / grid.cell));
  }

  /** @returns {[number, number] | null} column and row of the best place's corner */
  best() {
    const { grid, object, wide, high, reach } = this;
    if (this.x1 - this.x0 < wide || this.y1 - this.y0 < high) return null;
    const full = wide * high;
    const taken = this.#sums((at) => grid.taken[at]);
    const own = this.#sums((at) => object.cells[at]);
    const others = this.#sums((at) => Number(grid.owner[at] >= 0 && !object.cells[at]));
    const shares = this.#sums((at) => (grid.owner[at] >= 0 ? object.shares[grid.owner[at]] : 0));
    const most = Math.floor((LOOK.hiddenPercent * WHOLE) / 100);
    const isFree = (/** @type {number} */ x, /** @type {number} */ y) =>
      !taken(x, y, wide, high) && shares(x, y, wide, high) <= most;
    if (!reach && object.total >= 3 * full) {
      const inside = this.#lowest((x, y) => {
        if (!isFree(x, y) || 10 * own(x, y, wide, high) < 9 * full) return Infinity;
        const [right, down] = this.#way(x, y);
        return right * right + down * down;
      });
      if (inside) return inside;
    }
    return this.#lowest((x, y) => {
      if (!isFree(x, y) || (!reach && !own(x - 1, y - 1, wide + 2, high + 2))) return Infinity;
      const [right, down] = this.#way(x, y);
      const above = Math.abs(right) + 2 * Math.abs(2 * (y + high) - 2 * object.box.y0);
      const covered = 64 * (4 * others(x, y, wide, high) + 2 * own(x, y, wide, high));
      const way = reach ? Math.abs(right) + Math.abs(down) : above;
      return Math.floor(covered / full) * (wide + high) + 2 * way;
    });
  }

  /**
   * Twice the way from the middle of the object to the middle of the plate.
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  #way(x, y) {
    const [across, down] = this.object.middle;
    return [2 * x + this.wide - 2 * across, 2 * y + this.high - 2 * down];
  }

  /**
   * @param {(x: number, y: number) => number} cost
   * @returns {[number, number] | null}
   */
  #lowest(cost) {
    let least = Infinity;
    /** @type {[number, number] | null} */
    let best = null;
    for (let y = this.y0; y <= this.y1 - this.high; y++)
      for (let x = this.x0; x <= this.x1 - this.wide; x++) {
        const found = cost(x, y);
        if (found < least) [least, best] = [found, [x, y]];
      }
    return best;
  }

  /**
   * @param {(at: number) => number} cells
   * @returns {(x: number, y: number, wide: number, high: number) => number} how many are in a rectangle
   */
  #sums(cells) {
    const [wide, high] = [this.x1 - this.x0 + 1, this.y1 - this.y0 + 1];
    const sums = new Float64Array(wide * high);
    for (let row = 1; row < high; row++)
      for (let column = 1, line = 0; column < wide; column++) {
        line += cells((this.y0 + row - 1) * this.grid.columns + this.x0 + column - 1);
        sums[row * wide + column] = sums[(row - 1) * wide + column] + line;
      }
    const held = (/** @type {number} */ at, /** @type {number} */ most) => Math.min(Math.max(at, 0), most - 1);
    return (x, y, width, height) => {
      const [left, top] = [held(x - this.x0, wide), held(y - this.y0, high)];
      const [right, bottom] = [held(x - this.x0 + width, wide), held(y - this.y0 + height, high)];
      return sums[bottom * wide + right] - sums[top * wide + right] - sums[bottom * wide + left] + sums[top * wide + left];
    };
  }
}
