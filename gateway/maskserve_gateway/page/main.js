/** The page's own logic: its photos, the instances of the one that is seen, and what of them is shown. */

import * as code from "./code_panel.js";
import { offerCamera } from "./camera.js";
import { canCopy, copyImage, download } from "./downloads.js";
import { byId } from "./elements.js";
import { Filters } from "./filters.js";
import { Gallery } from "./gallery.js";
import { readInstances, recolour } from "./instances.js";
import { listen } from "./intake.js";
import { InstanceList } from "./list.js";
import { ModelPicker } from "./models.js";
import * as panel from "./panel.js";
import { readPhoto } from "./photo.js";
import { Progress } from "./progress.js";
import { getInfo, lowestScore, makeRequest, segment } from "./service.js";
import { Stage } from "./stage.js";
import { instances as counted, keyNeeded, problem, refusal, time, tooLarge } from "./words.js";

/** @typedef {import("./gallery.js").Entry} Entry */

const told = { hover: setHovered, choose: toggleIsolated };
const stage = new Stage(/** @type {HTMLCanvasElement} */ (byId("canvas")), told);
const list = new InstanceList(byId("list"), told);
const filters = new Filters(filter);
const gallery = new Gallery(see);
const picker = new ModelPicker(changeModel);

/** @type {import("./service.js").Info | null} */
let info = null;
/** @type {import("./photo.js").Photo | null} */
let photo = null;
/** @type {import("./instances.js").Instance[]} */
let instances = [];
let threshold = 0.5;
let isOwnThreshold = false; // chosen on the slider: it stays from photo to photo
let arrivals = 0;
let job = new AbortController();
/** @type {Entry | null} the one that is being segmented */
let running = null;

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

/** What the chosen model is like; null where the service has not said. */
function model() {
  return picker.chosen ? { ...picker.chosen, model: picker.chosen.name } : info;
}

/** Asks for the service's limits and models; a page that cannot have them says so and works without. */
async function introduce() {
  try {
    [info] = await Promise.all([getInfo(), picker.load()]);
    byId("problem").hidden = true;
    panel.showModel(model());
    panel.showVersion(info);
    if (info.apiKeyRequired) complain(keyNeeded());
  } catch (error) {
    complain(problem(error));
  }
}

/**
 * New photos. The first that can be read is shown at once, the others wait for their turn; those that came last win,
 * whatever is under way. One that cannot be read disturbs nothing.
 * @param {import("./intake.js").Given[]} given
 */
async function take(given) {
  const arrival = ++arrivals;
  let shown = false;
  const refused = [];
  for (const { file, name } of given) {
    let next;
    try {
      next = await readPhoto(file, name);
    } catch (error) {
      refused.push(error);
      if (!shown && arrival === arrivals) complain(refusal(refused, given.length));
      continue;
    }
    if (!shown && arrival !== arrivals) return next.bitmap.close();
    const entry = gallery.add(file, name, next.bitmap);
    if (shown) {
      next.bitmap.close();
      if (!gallery.isStuck) goOn();
    } else see(entry, next);
    shown = true;
  }
  if (shown && refused.length) complain(refusal(refused, given.length));
}

/**
 * Show a photo, with what was found in it or after that was asked.
 * @param {Entry} entry
 * @param {import("./photo.js").Photo} [read] the same, where it was read already
 */
async function see(entry, read) {
  const arrival = ++arrivals;
  let next = read;
  try {
    next ??= await readPhoto(entry.file, entry.name);
  } catch (error) {
    if (arrival === arrivals) complain(problem(error));
    return;
  }
  if (arrival !== arrivals) return next.bitmap.close();
  photo?.bitmap.close();
  photo = next;
  gallery.choose(entry);
  prepare();
  if (entry.answer) finish(entry.answer);
  else await run(entry);
}

/**
 * Has a photo segmented, then those that wait.
 * @param {Entry} entry
 */
async function run(entry) {
  stop();
  running = entry;
  job = new AbortController();
  const { signal } = job;
  const isSeen = () => entry === gallery.current;
  gallery.update(entry, { state: "working", problem: null });
  if (isSeen()) prepare();
  try {
    await introduced; // the limits, and the model's own threshold
    const image = isSeen() ? photo : await readPhoto(entry.file, entry.name);
    const body = await makeRequest(entry.file, lowestScore(model()));
    const excess = tooLarge(image, body, info);
    if (image !== photo) image.bitmap.close();
    if (signal.aborted) return;
    if (excess) return fail(entry, excess);
    const answer = await send(body, signal, isSeen());
    gallery.update(entry, { state: "done", answer });
    running = null;
    if (isSeen()) finish(answer);
    goOn();
  } catch (error) {
    if (!signal.aborted) fail(entry, problem(error));
  }
}

/** Lets go of what is under way; it waits for its turn again. */
function stop() {
  job.abort();
  if (running?.state === "working") gallery.update(running, { state: "waiting" });
  running = null;
}

/** Takes the next photo that waits. */
function goOn() {
  const next = gallery.next();
  if (next && !running) run(next);
}

/**
 * @param {Blob} body
 * @param {AbortSignal} signal
 * @param {boolean} seen whether somebody looks at it
 */
async function send(body, signal, seen) {
  const key = /** @type {HTMLInputElement} */ (byId("key")).value.trim();
  if (!seen) return segment(picker.address, body, key, signal, () => {});
  const progress = new Progress(body.size);
  signal.addEventListener("abort", () => progress.end());
  try {
    return await segment(picker.address, body, key, signal, (share) => progress.sent(share));
  } finally {
    if (!signal.aborted) progress.end();
  }
}

function prepare() {
  instances = [];
  byId("problem").hidden = true;
  enter("working");
  stage.setPhoto(photo);
  filters.setInstances([]);
  list.setInstances([], false);
  panel.showNothing();
  panel.showFacts(photo, null);
  announce("Segmenting the photo");
}

/** @param {import("./service.js").Answer} answer */
function finish(answer) {
  instances = readInstances(answer.result);
  recolour(instances, isByClass());
  if (!isOwnThreshold) threshold = model()?.threshold ?? 0.5;
  list.setInstances(instances, filters.setInstances(instances));
  panel.showScores(instances, lowestScore(model()));
  panel.showFacts(photo, answer);
  enter("done");
  stage.appear();
  filter();
  announce(`${counted(stage.content.shown.length)} found in ${time(answer.milliseconds)}`);
}

/**
 * @param {Entry} entry
 * @param {import("./words.js").Problem} found
 */
function fail(entry, found) {
  running = null;
  gallery.update(entry, { state: "failed", problem: found });
  if (entry === gallery.current) {
    enter("failed");
    complain(found);
    announce("");
  }
  if (!found.again && !found.key) goOn(); // else it would be the same with all
}

function cancel() {
  const entry = gallery.current;
  stop();
  fail(entry, { title: "Cancelled", text: "Nothing was segmented.", again: true, key: false });
  byId("again").focus(); // the button that had the focus is gone
}

/** Applies the slider and the filters: the service is not asked again. Its rule is the same, higher than the threshold. */
function filter() {
  const shown = instances.filter((instance) => instance.score > threshold && filters.passes(instance));
  const { isolated } = stage.content;
  panel.showThreshold(threshold);
  refresh({ shown, hovered: null, isolated: shown.includes(isolated) ? isolated : null });
  showCode();
}

/** @param {Partial<import("./stage.js").Content>} content what changed */
function refresh(content) {
  stage.show(content);
  list.show(stage.content);
  panel.showCount(stage.content, instances, threshold);
  panel.describe(stage.content);
}

function showCode() {
  const url = new URL(picker.address, document.baseURI).href;
  code.show({ url, file: photo?.name ?? "photo.png", threshold, key: info?.apiKeyRequired ?? false });
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
  document.querySelectorAll(".zooming button").forEach((button) => {
    const { value } = /** @type {HTMLButtonElement} */ (button);
    button.addEventListener("click", () => stage.zoom.key(value));
  });
  byId("zooming").addEventListener("keydown", (event) => stage.zoom.key(event.key) && event.preventDefault());
  document.querySelectorAll(".downloads .save").forEach((button) => button.addEventListener("click", save));
  byId("copying").hidden = !canCopy;
  document.querySelectorAll(".downloads .copy").forEach((button) => button.addEventListener("click", copy));
}

/** @param {number} value */
function setThreshold(value) {
  threshold = value;
  isOwnThreshold = true;
  filter();
}

function tryAgain() {
  byId("problem").hidden = true;
  if (info === null) introduced = introduce();
  if (gallery.current) run(gallery.current);
}

async function changeModel() {
  panel.showModel(model());
  isOwnThreshold = false;
  stop();
  gallery.forget();
  if (gallery.current) await run(gallery.current);
}

function isByClass() {
  return /** @type {HTMLInputElement} */ (byId("by-class")).checked;
}

function setLayers() {
  const boxes = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll(".layers input"));
  const layers = Object.fromEntries([...boxes].map((box) => [box.value, box.checked]));
  recolour(instances, isByClass());
  list.recolour();
  stage.forget();
  stage.show({ layers: /** @type {any} */ (layers) });
}

function view() {
  return { photo, content: stage.content, labels: model()?.labels ?? [] };
}

/** @param {Event} event */
async function save(event) {
  const kind = /** @type {HTMLButtonElement} */ (event.currentTarget).value;
  try {
    await download(kind, view());
  } catch (error) {
    complain(problem(error));
  }
}

/** @param {Event} event */
async function copy(event) {
  const kind = /** @type {HTMLButtonElement} */ (event.currentTarget).value;
  try {
    await copyImage(kind, view());
    announce("Copied");
    byId("copied").hidden = false;
    setTimeout(() => (byId("copied").hidden = true), 2000);
  } catch (error) {
    complain(problem(error));
  }
}

const fileInput = /** @type {HTMLInputElement} */ (byId("file"));
const failed = (/** @type {unknown} */ error) => complain(problem(error));
listen({ input: fileInput, veil: byId("veil"), examples: document.querySelectorAll("[data-photo]") }, take, failed);
offerCamera((file, name) => take([{ file, name }]), failed);
listenToControls();
let introduced = introduce();
