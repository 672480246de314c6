/** The page's own logic: one photo, its instances, and what of them is shown. */

import { download } from "./downloads.js";
import { byId } from "./elements.js";
import { readInstances } from "./instances.js";
import { listen } from "./intake.js";
import { InstanceList } from "./list.js";
import * as panel from "./panel.js";
import { readPhoto } from "./photo.js";
import { Progress } from "./progress.js";
import { getInfo, lowestScore, makeRequest, segment } from "./service.js";
import { Stage } from "./stage.js";
import { instances as counted, keyNeeded, problem, time, tooLarge } from "./words.js";

const told = { hover: setHovered, choose: toggleIsolated };
const stage = new Stage(/** @type {HTMLCanvasElement} */ (byId("canvas")), told);
const list = new InstanceList(byId("list"), told);

/** @type {import("./service.js").Info | null} */
let info = null;
/** @type {import("./photo.js").Photo | null} */
let photo = null;
/** @type {import("./instances.js").Instance[]} */
let instances = [];
let threshold = 0.5;
let arrivals = 0;
let job = new AbortController();

/** @param {string} words for people who do not see the page */
function announce(words) {
  byId("status").textContent = words;
}

/** @param {string} phase "empty", "working", "done" or "failed" */
function enter(phase) {
  document.body.dataset.phase = phase;
  byId("workbench").hidden = photo === null;
}

/**
 * @param {import("./words.js").Problem} found
 */
function complain(found) {
  byId("problem-title").textContent = found.title;
  byId("problem-text").textContent = found.text;
  byId("again").hidden = !found.again || found.key || (info !== null && photo === null);
  byId("key-form").hidden = !found.key;
  byId("problem").hidden = false;
  if (found.key) byId("key").focus();
}

/** Asks for the service's limits; a page that cannot have them says so and works without. */
async function introduce() {
  try {
    info = await getInfo();
    byId("problem").hidden = true;
    panel.showModel(info);
    if (info.apiKeyRequired) complain(keyNeeded());
  } catch (error) {
    complain(problem(error));
  }
}

/**
 * A new photo. The one that came last wins, whatever is under way; one that cannot be read disturbs nothing.
 * @param {File | Blob} file
 * @param {string | null} name
 */
async function take(file, name) {
  const arrival = ++arrivals;
  try {
    const next = await readPhoto(file, name);
    if (arrival !== arrivals) return next.bitmap.close();
    photo?.bitmap.close();
    photo = next;
  } catch (error) {
    if (arrival === arrivals) complain(problem(error));
    return;
  }
  await work();
}

/** Has the photo segmented. */
async function work() {
  job.abort();
  job = new AbortController();
  const { signal } = job;
  prepare();
  try {
    await introduced; // the limits, and the model's own threshold
    const body = await makeRequest(photo.file, lowestScore(info));
    const refusal = tooLarge(photo, body, info);
    if (signal.aborted) return;
    if (refusal) fail(refusal);
    else finish(await sendWithProgress(body, signal));
  } catch (error) {
    if (!signal.aborted) fail(problem(error));
  }
}

/**
 * @param {Blob} body
 * @param {AbortSignal} signal
 */
async function sendWithProgress(body, signal) {
  const progress = new Progress(body.size);
  signal.addEventListener("abort", () => progress.end());
  try {
    const key = /** @type {HTMLInputElement} */ (byId("key")).value.trim();
    return await segment(body, key, signal, (share) => progress.sent(share));
  } finally {
    if (!signal.aborted) progress.end();
  }
}

function prepare() {
  instances = [];
  byId("problem").hidden = true;
  enter("working");
  stage.setPhoto(photo);
  list.setInstances([]);
  panel.showNothing();
  panel.showFacts(photo, null);
  announce("Segmenting the photo");
}

/** @param {import("./service.js").Answer} answer */
function finish(answer) {
  instances = readInstances(answer.result);
  threshold = info?.threshold ?? 0.5;
  list.setInstances(instances);
  panel.showScores(instances, lowestScore(info));
  panel.showFacts(photo, answer);
  enter("done");
  stage.appear();
  filter();
  announce(`${counted(stage.content.shown.length)} found in ${time(answer.milliseconds)}`);
}

/** @param {import("./words.js").Problem} found */
function fail(found) {
  enter("failed");
  complain(found);
  announce("");
}

function cancel() {
  job.abort();
  fail({ title: "Cancelled", text: "Nothing was segmented.", again: true, key: false });
  byId("again").focus(); // the button that had the focus is gone
}

/** Applies the slider: the service is not asked again. The service's rule is the same, higher than the threshold. */
function filter() {
  const shown = instances.filter((instance) => instance.score > threshold);
  const { isolated } = stage.content;
  panel.showThreshold(threshold);
  refresh({ shown, hovered: null, isolated: shown.includes(isolated) ? isolated : null });
}

/** @param {Partial<import("./stage.js").Stage["content"]>} content what changed */
function refresh(content) {
  stage.show(content);
  list.show(stage.content);
  panel.showCount(stage.content, instances, threshold);
  panel.describe(stage.content);
}

/** @param {import("./instances.js").Instance | null} instance */
function setHovered(instance) {
  if (instance === stage.content.hovered) return;
  stage.show({ hovered: instance });
  list.show(stage.content);
}

/** @param {import("./instances.js").Instance | null} instance */
function toggleIsolated(instance) {
  if (document.body.dataset.phase !== "done") return;
  const isolated = instance === stage.content.isolated ? null : instance;
  if (isolated === stage.content.isolated) return;
  refresh({ isolated });
  announce(isolated ? `${isolated.label} isolated` : "All instances are shown");
}

function listenToControls() {
  const slider = /** @type {HTMLInputElement} */ (byId("threshold"));
  slider.addEventListener("input", () => setThreshold(Number(slider.value)));
  slider.addEventListener("change", () => announce(`${counted(stage.content.shown.length)} shown`));
  byId("lower").addEventListener("click", () => setThreshold(Math.max(Number(slider.min), instances[0].score - 0.02)));
  byId("everything").addEventListener("click", () => toggleIsolated(null));
  addEventListener("keydown", (event) => event.key === "Escape" && toggleIsolated(null));
  byId("cancel").addEventListener("click", cancel);
  byId("again").addEventListener("click", tryAgain);
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    tryAgain();
  });
  document.querySelectorAll(".layers input").forEach((box) => box.addEventListener("change", setLayers));
  document.querySelectorAll(".downloads button").forEach((button) => button.addEventListener("click", save));
}

/** @param {number} value */
function setThreshold(value) {
  threshold = value;
  filter();
}

function tryAgain() {
  byId("problem").hidden = true;
  if (info === null) introduced = introduce();
  if (photo) work();
}

function setLayers() {
  const boxes = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll(".layers input"));
  const layers = Object.fromEntries([...boxes].map((box) => [box.value, box.checked]));
  stage.show({ layers: /** @type {any} */ (layers) });
}

/** @param {Event} event */
async function save(event) {
  const kind = /** @type {HTMLButtonElement} */ (event.currentTarget).value;
  try {
    await download(kind, { photo, content: stage.content, labels: info?.labels ?? [] });
  } catch (error) {
    complain(problem(error));
  }
}

const fileInput = /** @type {HTMLInputElement} */ (byId("file"));
listen({ input: fileInput, veil: byId("veil"), examples: document.querySelectorAll("[data-photo]") }, take, (error) =>
  complain(problem(error)),
);
listenToControls();
let introduced = introduce();
