/** What people read: sizes, times, and what went wrong. */

import { UnreadablePhoto } from "./photo.js";
import { ServiceError } from "./service.js";

/** @typedef {{title: string, text: string, again: boolean, key: boolean}} Problem `again`: trying again may help */

/**
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} KB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * @param {number} milliseconds
 * @returns {string}
 */
export function time(milliseconds) {
  return milliseconds < 9_950 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/**
 * @param {number} count
 * @returns {string}
 */
export function instances(count) {
  return count === 1 ? "1 instance" : `${count} instances`;
}

/**
 * Why a photo cannot be sent at all; null when it can.
 * @param {import("./photo.js").Photo} photo
 * @param {Blob} body
 * @param {import("./service.js").Info | null} info
 * @returns {Problem | null}
 */
export function tooLarge(photo, body, info) {
  const title = "This photo is too large";
  const remedy = "Nothing was sent. Save a smaller copy and try that.";
  if (info && photo.width * photo.height > info.maxPixels) {
    const limit = (info.maxPixels / 1e6).toLocaleString("en");
    const text = `It has ${photo.width} × ${photo.height} pixels; the server takes up to ${limit} million. ${remedy}`;
    return { title, text, again: false, key: false };
  }
  if (info && body.size > info.maxBodyBytes) {
    const text = `Sending it takes ${size(body.size)}; the server takes up to ${size(info.maxBodyBytes)}. ${remedy}`;
    return { title, text, again: false, key: false };
  }
  return null;
}

/**
 * @param {unknown} error
 * @returns {Problem}
 */
export function problem(error) {
  if (error instanceof UnreadablePhoto) return plain("This cannot be shown", error.message);
  if (!(error instanceof ServiceError))
    return { ...plain("Something went wrong on this page", String(error)), again: true };
  const said = sentence(error.message);
  switch (error.status) {
    case 0:
      return { ...plain("The server cannot be reached", "Is it running, and are you online?"), again: true };
    case 401:
    case 403:
      return keyNeeded(said);
    case 400:
    case 422:
      return plain("The server cannot read this photo", said);
    case 413:
      return plain("This photo is too large for the server", said);
    case 415:
      return plain("The server does not know this kind of image", said);
    case 429:
    case 503:
      return { ...plain("The server is busy or not ready", said || "Try again in a moment."), again: true };
    case 504:
      return { ...plain("The server took too long", said), again: true };
    default:
      return { ...plain(`The server failed (${error.status})`, said), again: true };
  }
}

/**
 * @param {string} [said] by the service, where it did not take a key
 * @returns {Problem}
 */
export function keyNeeded(said = "") {
  const refused = /not known/.test(said);
  const title = refused ? "The server does not know this API key" : "An API key is needed";
  return {
    title,
    text: "Whoever runs this server can give you one. It is kept until you close this page.",
    again: true,
    key: true,
  };
}

/**
 * @param {string} title
 * @param {string} text
 * @returns {Problem}
 */
function plain(title, text) {
  return { title, text, again: false, key: false };
}

/**
 * What is said of files that cannot be shown, of those that came together.
 * @param {unknown[]} errors one for each
 * @param {number} count of all that came
 * @returns {Problem}
 */
export function refusal(errors, count) {
  if (errors.length === 1) return problem(errors[0]);
  const first = problem(errors[0]).text;
  return plain(`${errors.length} of ${count} files cannot be shown`, `The first: ${first}`);
}

/** @param {string} text */
function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return begun && !/[.!?]$/.test(begun) ? `${begun}.` : begun;
}
