/** A request under way: how much has been sent, then how long the answer takes. */

import { byId } from "./elements.js";
import { size } from "./words.js";

export class Progress {
  /** @param {number} bytes that will be sent */
  constructor(bytes) {
    this.bytes = bytes;
    this.share = 0;
    this.begun = performance.now();
    byId("progress").hidden = false;
    this.#draw();
    this.timer = setInterval(() => this.#draw(), 100);
  }

  /** @param {number} share of the bytes, 0 to 1 */
  sent(share) {
    this.share = share;
    this.#draw();
  }

  end() {
    clearInterval(this.timer);
    byId("progress").hidden = true;
  }

  #draw() {
    const waiting = this.share >= 1;
    const seconds = ((performance.now() - this.begun) / 1000).toFixed(1);
    byId("bar").classList.toggle("waiting", waiting);
    byId("bar").style.setProperty("--share", String(this.share));
    byId("progress-text").textContent = waiting
      ? `Segmenting, ${seconds} s`
      : `Sending ${Math.round(100 * this.share)} % of ${size(this.bytes)}`;
  }
}
