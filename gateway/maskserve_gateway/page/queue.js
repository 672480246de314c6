/** The photos are segmented one after another: the one that is asked for first, then those that wait. */

import { byId } from "./elements.js";
import { readPhoto } from "./photo.js";
import { Progress } from "./progress.js";
import { lowestScore, makeRequest, segment } from "./service.js";
import { problem, tooLarge } from "./words.js";

/** @typedef {import("./gallery.js").Entry} Entry */

/**
 * The page as it is at the moment.
 * @typedef {object} Now
 * @property {Promise<void>} introduced when the limits and the model are known, or cannot be
 * @property {import("./service.js").Info | null} info
 * @property {{threshold: number | null} | null} model
 * @property {string} address of the service for the chosen model
 * @property {import("./photo.js").Photo | null} photo the one that is seen
 */

/**
 * Who shows the photo that is seen, and is told what becomes of it.
 * @typedef {object} Told
 * @property {() => Now} now
 * @property {() => void} prepare
 * @property {(answer: import("./service.js").Answer) => void} finish
 * @property {(found: import("./words.js").Problem) => void} fail
 */

export class Queue {
  /**
   * @param {import("./gallery.js").Gallery} gallery
   * @param {Told} told
   */
  constructor(gallery, told) {
    this.gallery = gallery;
    this.told = told;
    this.job = new AbortController();
    /** @type {Entry | null} the one that is being segmented */
    this.running = null;
  }

  /**
   * Has a photo segmented, then those that wait.
   * @param {Entry} entry
   */
  async run(entry) {
    const { gallery, told } = this;
    this.stop();
    this.running = entry;
    this.job = new AbortController();
    const { signal } = this.job;
    const isSeen = () => entry === gallery.current;
    gallery.update(entry, { state: "working", problem: null });
    if (isSeen()) told.prepare();
    try {
      await told.now().introduced; // the limits, and the model's own threshold
      const image = isSeen() ? told.now().photo : await readPhoto(entry.file, entry.name);
      const body = await makeRequest(entry.file, lowestScore(told.now().model));
      const excess = tooLarge(image, body, told.now().info);
      if (image !== told.now().photo) image.bitmap.close();
      if (signal.aborted) return;
      if (excess) return this.fail(entry, excess);
      const answer = await send(told.now().address, body, signal, isSeen());
      gallery.update(entry, { state: "done", answer });
      this.running = null;
      if (isSeen()) told.finish(answer);
      this.goOn();
    } catch (error) {
      if (!signal.aborted) this.fail(entry, problem(error));
    }
  }

  /** Lets go of what is under way; it waits for its turn again. */
  stop() {
    this.job.abort();
    if (this.running?.state === "working") this.gallery.update(this.running, { state: "waiting" });
    this.running = null;
  }

  /** Takes the next photo that waits. */
  goOn() {
    const next = this.gallery.next();
    if (next && !this.running) this.run(next);
  }

  /**
   * @param {Entry} entry
   * @param {import("./words.js").Problem} found
   */
  fail(entry, found) {
    this.running = null;
    this.gallery.update(entry, { state: "failed", problem: found });
    if (entry === this.gallery.current) this.told.fail(found);
    if (!found.again && !found.key) this.goOn(); // else it would be the same with all
  }
}

/**
 * @param {string} address
 * @param {Blob} body
 * @param {AbortSignal} signal
 * @param {boolean} seen whether somebody looks at it
 */
async function send(address, body, signal, seen) {
  const key = /** @type {HTMLInputElement} */ (byId("key")).value.trim();
  if (!seen) return segment(address, body, key, signal, () => {});
  const progress = new Progress(body.size);
  signal.addEventListener("abort", () => progress.end());
  try {
    return await segment(address, body, key, signal, (share) => progress.sent(share));
  } finally {
    if (!signal.aborted) progress.end();
  }
}
