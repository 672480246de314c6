/** A photo that somebody chose: its bytes, and its pixels as the browser shows them (turned as its EXIF data say). */

/**
 * @typedef {object} Photo
 * @property {File | Blob} file
 * @property {string | null} name null where it came without one, from the clipboard
 * @property {ImageBitmap} bitmap
 * @property {number} width
 * @property {number} height
 */

/** A file that cannot be shown. */
export class UnreadablePhoto extends Error {}

/**
 * @param {File | Blob} file
 * @param {string | null} name
 * @returns {Promise<Photo>}
 */
export async function readPhoto(file, name) {
  if (file.size === 0) throw new UnreadablePhoto(`${called(name)} is empty.`);
  try {
    const bitmap = await createImageBitmap(file);
    return { file, name, bitmap, width: bitmap.width, height: bitmap.height };
  } catch {
    throw new UnreadablePhoto(whyUnreadable(file, name));
  }
}

/** @param {string | null} name */
function called(name) {
  return name ? `“${name}”` : "What you pasted";
}

/**
 * @param {Blob} file
 * @param {string | null} name
 * @returns {string}
 */
function whyUnreadable(file, name) {
  const what = called(name);
  if (/^image\/(tiff|heic|heif)$/.test(file.type) || /\.(tiff?|hei[cf])$/i.test(name ?? "")) {
    return `${what} is an image that this browser cannot show. Save it as JPEG or PNG and try again.`;
  }
  if (file.type.startsWith("image/")) {
    return `${what} is damaged, too large for this browser, or not the image it says it is.`;
  }
  return `${what} is not an image. JPEG, PNG, WebP and BMP files work.`;
}

/**
 * The file in Base64.
 * @param {Blob} file
 * @returns {Promise<string>}
 */
export function toBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",", 2)[1] ?? "");
    reader.onerror = () => reject(new UnreadablePhoto("The file cannot be read any more. Choose it again."));
    reader.readAsDataURL(file);
  });
}
