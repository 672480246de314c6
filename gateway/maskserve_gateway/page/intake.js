/** How a photo comes in: chosen, dropped anywhere, pasted, or one of the examples. */

/**
 * @param {{input: HTMLInputElement, veil: HTMLElement, examples: NodeListOf<HTMLElement>}} elements
 * @param {(file: File | Blob, name: string | null) => void} take
 * @param {(error: unknown) => void} fail
 */
export function listen({ input, veil, examples }, take, fail) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) take(file, file.name);
    input.value = ""; // so that the same file can be chosen again
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (!file) return;
    event.preventDefault();
    take(file, file.name === "image.png" ? null : file.name); // browsers call every pasted picture that
  });
  examples.forEach((example) =>
    example.addEventListener("click", () => takeExample(example.dataset.photo, take, fail)),
  );
  listenToDrops(veil, take);
}

/**
 * @param {string} address
 * @param {(file: Blob, name: string) => void} take
 * @param {(error: unknown) => void} fail
 */
async function takeExample(address, take, fail) {
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`the example answers ${response.status}`);
    take(await response.blob(), address.split("/").pop());
  } catch (error) {
    fail(error);
  }
}

/**
 * The whole page takes a dropped file. The veil says so while one is held above it.
 * @param {HTMLElement} veil
 * @param {(file: File, name: string) => void} take
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
    const [file] = event.dataTransfer.files;
    if (file) take(file, file.name);
  });
}
