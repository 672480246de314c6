/** The page's own logic: its photos, the instances of the one that is seen, and what of them is shown. */

import { offerCamera } from "./camera.js";
import * as code from "./code_panel.js";
import { isByClass, layers, listenToControls } from "./controls.js";
import { byId } from "./elements.js";
import { Filters } from "./filters.js";
import { Gallery } from "./gallery.js";
import { readInstances, recolour } from "./instances.js";
import { listen } from "./intake.js";
import { InstanceList } from "./list.js";
import { ModelPicker } from "./models.js";
import * as panel from "./panel.js";
import { readPhoto } from "./photo.js";
import { Queue } from "./queue.js";
import { offerSaving } from "./saving.js";
import { getInfo, lowestScore } from "./service.js";
import { Stage } from "./stage.js";
import { instances as counted, keyNeeded, problem, refusal, time } from "./words.js";

/** @typedef {import("./gallery.js").Entry} Entry */

const told = { hover: setHovered, choose: toggleIsolated };
const stage = new Stage(/** @type {HTMLCanvasElement} */ (byId("canvas")), told);
const list = new InstanceList(byId("list"), told);
const filters = new Filters(filter);
const gallery = new Gallery(see);
const picker = new ModelPicker(changeModel);
const queue = new Queue(gallery, { now, prepare, finish, fail });

/** @type {import("./service.js").Info | null} */
let info = null;
/** @type {import("./photo.js").Photo | null} */
let photo = null;
/** @type {import("./instances.js").Instance[]} */
let instances = [];
let threshold = 0.5;
let isOwnThreshold = false; // chosen on the slider: it stays from photo to photo
let arrivals = 0;

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

/** @returns {import("./queue.js").Now} */
function now() {
  return { introduced, info, model: model(), address: picker.address, photo };
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
      if (!gallery.isStuck) queue.goOn();
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
  else await queue.run(entry);
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

/** @param {import("./words.js").Problem} found */
function fail(found) {
  enter("failed");
  complain(found);
  announce("");
}

function cancel() {
  const entry = gallery.current;
  queue.stop();
  queue.fail(entry, { title: "Cancelled", text: "Nothing was segmented.", again: true, key: false });
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

/** @param {number} value */
function setThreshold(value) {
  threshold = value;
  isOwnThreshold = true;
  filter();
}

function tryAgain() {
  byId("problem").hidden = true;
  if (info === null) introduced = introduce();
  if (gallery.current) queue.run(gallery.current);
}

async function changeModel() {
  panel.showModel(model());
  isOwnThreshold = false;
  queue.stop();
  gallery.forget();
  if (gallery.current) await queue.run(gallery.current);
}

function setLayers() {
  recolour(instances, isByClass());
  list.recolour();
  stage.forget();
  stage.show({ layers: layers() });
}

function view() {
  return { photo, content: stage.content, labels: model()?.labels ?? [] };
}

const fileInput = /** @type {HTMLInputElement} */ (byId("file"));
const failed = (/** @type {unknown} */ error) => complain(problem(error));
listen({ input: fileInput, veil: byId("veil"), examples: document.querySelectorAll("[data-photo]") }, take, failed);
offerCamera((file, name) => take([{ file, name }]), failed);
offerSaving(view, announce, failed);
listenToControls({
  slide: setThreshold,
  slid: () => announce(`${counted(stage.content.shown.length)} shown`),
  lower: (least) => setThreshold(Math.max(least, instances[0].score - 0.02)),
  showAll: () => toggleIsolated(null),
  cancel,
  tryAgain,
  setLayers,
  zoom: (key) => stage.zoom.key(key),
});
let introduced = introduce();
