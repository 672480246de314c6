/** The service's two questions: what it is, and what is in a photo. Addresses are relative: a proxy may add a prefix. */

import { toBase64 } from "./photo.js";

/**
 * @typedef {object} Info
 * @property {string} model
 * @property {string[]} labels
 * @property {number} maxBodyBytes
 * @property {number} maxPixels
 * @property {number | null} threshold
 * @property {boolean} apiKeyRequired
 * @property {string} [version] of maskserve
 */

/** @typedef {{name: string, default: boolean, labels: string[], threshold: number | null}} Model */

/** @typedef {{result: any, milliseconds: number, sentBytes: number}} Answer */

/** The service said no, or nothing: `status` is 0 where it cannot be reached. */
export class ServiceError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const LOWEST_SCORE = 0.05;

/**
 * Nothing below this score is asked for, so the slider ends here.
 * @param {{threshold: number | null} | null} info
 */
export function lowestScore(info) {
  return Math.max(0, Math.min(LOWEST_SCORE, info?.threshold ?? LOWEST_SCORE));
}

/** @returns {Promise<Info>} */
export function getInfo() {
  return get("info");
}

/** @returns {Promise<Model[]>} */
export async function getModels() {
  return (await get("models")).models;
}

/**
 * @param {string} address
 * @returns {Promise<any>}
 */
async function get(address) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new ServiceError(0, "");
  }
  const document = await response.json().catch(() => ({}));
  if (!response.ok) throw new ServiceError(response.status, document.errorMsg ?? "");
  return document;
}

/**
 * The request for a photo. Its size is known before it is sent.
 * @param {Blob} file
 * @param {number} threshold
 * @returns {Promise<Blob>}
 */
export async function makeRequest(file, threshold) {
  const rest = JSON.stringify({ threshold, visualize: false }).slice(1);
  return new Blob(['{"image":"', await toBase64(file), '",', rest], { type: "application/json" });
}

/**
 * Send a request. XMLHttpRequest, because fetch does not tell how much has been sent.
 * @param {string} address
 * @param {Blob} body
 * @param {string} key the API key, or ""
 * @param {AbortSignal} signal
 * @param {(share: number) => void} sent told from 0 to 1
 * @returns {Promise<Answer>}
 */
export function segment(address, body, key, signal, sent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const begun = performance.now();
    request.open("POST", address);
    request.setRequestHeader("Content-Type", "application/json");
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => sent(event.loaded / event.total);
    request.onload = () => {
      const document = parsed(request.responseText);
      if (request.status === 200 && document?.result) {
        resolve({ result: document.result, milliseconds: performance.now() - begun, sentBytes: body.size });
      } else {
        reject(new ServiceError(request.status, document?.errorMsg ?? ""));
      }
    };
    request.onerror = () => reject(new ServiceError(0, ""));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    if (signal.aborted) reject(signal.reason);
    else request.send(body);
  });
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
