/** Results as files: PaddleX's JSON as `save_to_json` of the Python client writes it, and a COCO data set of one photo. */

/** @typedef {import("./instances.js").Instance} Instance */
/** @typedef {{name: string | null, width: number, height: number}} ImageInfo */

/**
 * `input_path`, `boxes`, and `masks` as COCO run lengths of the crops with their place.
 * @param {ImageInfo} photo
 * @param {Instance[]} instances
 */
export function paddlexDocument(photo, instances) {
  return {
    input_path: photo.name,
    boxes: instances.map(({ classId, label, score, box: [x0, y0, x1, y1] }) => ({
      cls_id: classId,
      label,
      score,
      coordinate: [Math.max(x0, 0), Math.max(y0, 0), Math.min(x1, photo.width), Math.min(y1, photo.height)],
    })),
    masks: instances.map(({ mask: { counts, window } }) => ({
      size: [window.height, window.width],
      counts,
      origin: [window.x, window.y],
    })),
  };
}

/**
 * A data set that pycocotools reads: one image, its annotations with run lengths of the whole image, the categories.
 * @param {ImageInfo} photo
 * @param {Instance[]} instances
 * @param {string[]} labels of the model, by class; what was found adds its own where they are not known
 */
export function cocoDocument(photo, instances, labels) {
  const names = new Map(labels.entries());
  instances.forEach(({ classId, label }) => names.set(classId, label));
  return {
    images: [{ id: 1, file_name: photo.name ?? "", width: photo.width, height: photo.height }],
    categories: [...names].map(([id, name]) => ({ id, name })),
    annotations: instances.map((instance, at) => cocoAnnotation(photo, instance, at + 1)),
  };
}

/**
 * @param {ImageInfo} photo
 * @param {Instance} instance
 * @param {number} id
 */
function cocoAnnotation(photo, instance, id) {
  const [x0, y0, x1, y1] = instance.box;
  return {
    id,
    image_id: 1,
    category_id: instance.classId,
    segmentation: instance.mask.toCoco(photo),
    area: instance.mask.area,
    bbox: [x0, y0, x1 - x0, y1 - y0],
    iscrowd: 0,
    score: instance.score,
  };
}
