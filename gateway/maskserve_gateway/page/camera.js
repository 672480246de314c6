/** A photo by the device's camera. */

import { byId } from "./elements.js";

const video = /** @type {HTMLVideoElement} */ (byId("camera-video"));
const dialog = /** @type {HTMLDialogElement} */ (byId("camera"));

/**
 * @param {(file: Blob, name: string | null) => void} take
 * @param {(error: unknown) => void} fail
 */
export function offerCamera(take, fail) {
  const button = byId("use-camera");
  if (!navigator.mediaDevices?.getUserMedia) return; // over plain http, from elsewhere than this machine
  button.hidden = false;
  button.addEventListener("click", () => open().catch((error) => fail(new Error(reason(error)))));
  byId("shoot").addEventListener("click", () => shoot(take));
  byId("no-photo").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", close);
}

async function open() {
  const wished = { video: { facingMode: "environment", width: { ideal: 1920 } }, audio: false };
  video.srcObject = await navigator.mediaDevices.getUserMedia(wished);
  dialog.showModal();
  await video.play();
}

/** @param {(file: Blob, name: string | null) => void} take */
function shoot(take) {
  if (!video.videoWidth) return; // there is no image yet
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => blob && take(blob, "camera.jpg"), "image/jpeg", 0.92);
  dialog.close();
}

function close() {
  const stream = /** @type {MediaStream | null} */ (video.srcObject);
  stream?.getTracks().forEach((track) => track.stop()); // its light goes out
  video.srcObject = null;
}

/** @param {any} error */
function reason(error) {
  if (error?.name === "NotAllowedError") return "The browser does not let this page use the camera.";
  if (error?.name === "NotFoundError") return "There is no camera here.";
  return `The camera cannot be used: ${error?.message ?? error}`;
}
