/** How a photo comes in: chosen, dropped anywhere, pasted, or one of the examples. */

/** @typedef {{file: File | Blob, name: string | null}} Given */

/**
 * @param {{input: HTMLInputElement, veil: HTMLElement, examples: NodeListOf<HTMLElement>}} elements
 * @param {(given: Given[]) => void} take
 * @param {(error: unknown) => void} fail
 */
export function listen({ input, veil, examples }, take, fail) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    if (files.length) take(files.map((file) => ({ file, name: file.name })));
    input.value = ""; // so that the same file can be chosen again
  });
  addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    // browsers call every pasted image that
    take(files.map((file) => ({ file, name: file.name === "image.png" ? null : file.name })));
  });
  examples.forEach((example) =>
    example.addEventListener("click", () => takeExample(example.dataset.photo, take, fail)),
  );
  listenToDrops(veil, take);
}

/**
 * @param {string} address
 * @param {(given: Given[]) => void} take
 * @param {(error: unknown) => void} fail
 */
async function takeExample(address, take, fail) {
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`the example answers ${response.status}`);
    take([{ file: await response.blob(), name: address.split("/").pop() }]);
  } catch (error) {
    fail(error);
  }
}

/**
 * The whole page takes dropped files. The veil says so while they are held above it.
 * @param {HTMLElement} veil
 * @param {(given: Given[]) => void} take
 */
function listenToDrops(veil, take) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const withFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (withFiles(event)) veil.hidden = ++depth === 0;
  });
  addEventListener("dragleave", (event) => {
    if (withFiles(event)) veil.hidden = --depth <= 0;
  });
  addEventListener("dragover", (event) => withFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    depth = 0;
    veil.hidden = true;
    if (!withFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.length) take(files.map((file) => ({ file, name: file.name })));
  });
}
