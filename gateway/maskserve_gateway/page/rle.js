/**
 * COCO's compressed run lengths, and what can be done with runs without painting them.
 *
 * A mask is read column by column; its runs are the lengths of the alternating stretches of background and foreground,
 * background first. The compressed form writes each run, from the fourth on as the difference to the run two before,
 * in groups of five bits from the low end (`rleToString` in cocoapi's maskApi.c).
 */

/** @typedef {{starts: Int32Array, ends: Int32Array}} Stretches foreground, in column-major pixel numbers, ends exclusive */

/**
 * The run lengths that compressed counts stand for.
 * @param {string} text
 * @returns {number[]}
 */
export function parseCounts(text) {
  const runs = [];
  for (let at = 0; at < text.length;) {
    let value = 0;
    let shift = 0;
    let group;
    do {
      if (at >= text.length) throw new RangeError("run lengths that end in the middle of a number");
      group = text.charCodeAt(at++) - 48;
      if (group < 0 || group > 63) throw new RangeError("not compressed run lengths");
      value += (group & 31) * 2 ** shift;
      shift += 5;
    } while (group & 32);
    if (group & 16) value -= 2 ** shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    if (value < 0) throw new RangeError("a negative run length");
    runs.push(value);
  }
  return runs;
}

/**
 * The compressed counts of run lengths: the inverse of `parseCounts`.
 * @param {ArrayLike<number>} runs
 * @returns {string}
 */
export function formatCounts(runs) {
  const codes = [];
  for (let at = 0; at < runs.length; at++) {
    let rest = at > 2 ? runs[at] - runs[at - 2] : runs[at];
    let more = true;
    while (more) {
      const group = rest & 31;
      rest >>= 5;
      more = rest !== (group & 16 ? -1 : 0);
      codes.push(String.fromCharCode((more ? group | 32 : group) + 48));
    }
  }
  return codes.join("");
}

/**
 * The foreground of runs, cut where columns end: every stretch lies within one column.
 * @param {number[]} runs
 * @param {number} width
 * @param {number} height
 * @returns {Stretches}
 */
export function stretches(runs, width, height) {
  const total = runs.reduce((sum, run) => sum + run, 0);
  if (total !== width * height && runs.length) throw new RangeError(`runs of ${total} pixels for ${height} x ${width}`);
  /** @type {number[]} */
  const starts = [];
  /** @type {number[]} */
  const ends = [];
  let edge = 0;
  runs.forEach((run, at) => {
    const stop = edge + run;
    while (at & 1 && edge < stop) {
      const end = Math.min(stop, (Math.floor(edge / height) + 1) * height);
      starts.push(edge);
      ends.push(end);
      edge = end;
    }
    edge = stop;
  });
  return { starts: Int32Array.from(starts), ends: Int32Array.from(ends) };
}

/**
 * The runs on a whole canvas of a foreground known inside a window of it.
 * @param {Stretches} foreground of the window
 * @param {{x: number, y: number, height: number}} window
 * @param {{width: number, height: number}} canvas
 * @returns {number[]}
 */
export function placedRuns(foreground, window, canvas) {
  /** @type {number[]} */
  const runs = [];
  let edge = 0;
  foreground.starts.forEach((start, at) => {
    const column = Math.floor(start / window.height);
    const from = (window.x + column) * canvas.height + window.y + (start - column * window.height);
    const length = foreground.ends[at] - start;
    if (from === edge && runs.length) {
      runs[runs.length - 1] += length;
    } else {
      runs.push(from - edge, length);
    }
    edge = from + length;
  });
  const rest = canvas.width * canvas.height - edge;
  return rest || !runs.length ? [...runs, rest] : runs;
}
