"""Score an inference folder on held-out photos: `python -m maskserve_demo.evaluate --model DIR ...`.

Runs the exported program in Paddle Inference on photos as PaddleX would prepare them, and hands its boxes and
full-resolution masks to pycocotools.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from paddle import inference
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.progress import track

from . import layout
from .batches import normalise
from .photos import PERSON, Photo, held_out, read_coco128, read_pennfudan


class Predictor:
    """An inference folder in Paddle Inference, one photo at a time."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        config = inference.Config(str(folder / "inference.json"), str(folder / "inference.pdiparams"))
        config.disable_gpu()
        config.disable_glog_info()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(threads)
        self._predictor = inference.create_predictor(config)

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows [N, 6] and masks [N, H, W] of an RGB photo [H, W, 3]."""
        height, width = image.shape[:2]
        size = layout.SIZE
        feeds = {
            "im_shape": np.array([[size, size]], np.float32),
            "image": normalise(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC))[None],
            "scale_factor": np.array([[size / height, size / width]], np.float32),
        }
        for name, value in feeds.items():
            self._predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(value))
        self._predictor.run()
        rows, _, masks = (
            self._predictor.get_output_handle(name).copy_to_cpu() for name in self._predictor.get_output_names()
        )
        return rows, masks


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    code: dict[str, Any] = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return code


def ground_truth(photos: list[Photo]) -> COCO:
    """Return the photos' people as a COCO data set."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, photo in enumerate(photos, 1):
        height, width = photo.ids.shape
        images.append({"id": number, "height": height, "width": width})
        for person in photo.people:
            code = _encoded(photo.ids == person)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": PERSON,
                    "segmentation": code,
                    "area": float(rle.area(code)),
                    "bbox": rle.toBbox(code).tolist(),
                    "iscrowd": 0,
                }
            )
    coco = COCO()
    coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": PERSON, "name": "person"}]}
    coco.createIndex()
    return coco


def detections(predictor: Predictor, photos: list[Photo]) -> list[dict[str, Any]]:
    """Return all rows of all photos in COCO's result format."""
    results = []
    for number, photo in enumerate(track(photos, "predicting"), 1):
        rows, masks = predictor(photo.image)
        for row, mask in zip(rows, masks, strict=True):
            x1, y1, x2, y2 = (float(v) for v in row[2:])
            results.append(
                {
                    "image_id": number,
                    "category_id": PERSON,
                    "score": float(row[1]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": _encoded(mask),
                }
            )
    return results


def figures(truth: COCO, results: list[dict[str, Any]]) -> dict[str, float]:
    """Box and mask AP, AP50, AP75 and AR (100 detections per photo)."""
    found = {}
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        # loadRes takes the area of a result from its box if it has one, else from its mask.
        chosen = [{k: v for k, v in r.items() if kind == "bbox" or k != "bbox"} for r in results]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(truth, truth.loadRes(chosen), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        for label, index in (("AP", 0), ("AP50", 1), ("AP75", 2), ("AR", 8)):
            found[f"{name} {label}"] = round(float(evaluation.stats[index]), 4)
    return found


def evaluate(model: Path, photos: list[Photo], threads: int = 2) -> dict[str, float]:
    """Figures of the inference folder `model` on `photos`."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth(photos)
    found = figures(truth, detections(Predictor(model, threads), photos))
    return {"photos": len(photos), "people": len(truth.anns)} | found


def main() -> None:
    """Print the figures of each data set as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="inference folder")
    parser.add_argument("--pennfudan", type=Path, help="folder with images/ and masks/")
    parser.add_argument("--coco128", type=Path, help="folder with photos and labels/")
    parser.add_argument("--trained-on", action="store_true", help="score the training photos instead (for comparison)")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    readers = {"pennfudan": (arguments.pennfudan, read_pennfudan), "coco128": (arguments.coco128, read_coco128)}
    for name, (folder, read) in readers.items():
        if folder is not None:
            kept_out = held_out(name)
            photos = [photo for photo in read(folder) if (photo.name in kept_out) != arguments.trained_on]
            print(json.dumps({name: evaluate(arguments.model, photos, arguments.threads)}))


if __name__ == "__main__":
    main()
