"""Segment an image with NVIDIA's tritonclient: python segment.py MODEL IMAGE [URL] [MASK].

`pip install "tritonclient[grpc]" pycocotools pillow` for a URL such as grpc://localhost:8001, the default;
`"tritonclient[http]"` for http://localhost:8000, which brings gevent and geventhttpclient. The two modules are used
alike. The mask of the best instance is saved as mask.png.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

DEFAULTS = ["grpc://localhost:8001", "mask.png"]
OUTPUTS = ("BOXES", "SCORES", "LABELS", "MASKS", "MASK_BOXES", "IMAGE_SIZE")


def class_names(config: dict[str, Any]) -> list[str]:
    """Return the names of the classes, which the model's configuration holds; gRPC wraps it once more."""
    config = config.get("config", config)
    return json.loads(config["parameters"]["labels"]["string_value"])


def full_mask(counts: bytes, box: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the mask as an array of the image's size; what travels is its crop at `box` (x, y, width, height)."""
    x, y, width, height = box.tolist()
    mask = np.zeros(size.tolist(), np.uint8)
    mask[y : y + height, x : x + width] = coco.decode({"counts": counts, "size": [height, width]})
    return mask


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    model, path, url, target = sys.argv[1:5] + DEFAULTS[len(sys.argv[3:5]) :]
    scheme, _, address = url.partition("://")
    triton = import_module(f"tritonclient.{scheme}")

    client = triton.InferenceServerClient(address)
    options = {"as_json": True} if scheme == "grpc" else {}
    names = class_names(client.get_model_config(model, **options))

    image = triton.InferInput("IMAGE", [1], "BYTES")
    image.set_data_from_numpy(np.array([Path(path).read_bytes()], np.object_))
    threshold = triton.InferInput("THRESHOLD", [1], "FP32")
    threshold.set_data_from_numpy(np.array([0.5], np.float32))  # leave it out for the model's own
    answer = client.infer(model, [image, threshold])

    boxes, scores, labels, masks, mask_boxes, size = map(answer.as_numpy, OUTPUTS)
    for box, score, label, counts, mask_box in zip(boxes, scores, labels, masks, mask_boxes, strict=True):
        area = int(full_mask(counts, mask_box, size).sum())
        print(f"{names[label]} {score:.4f} at {box.round(1).tolist()}, {area} pixels")
    if len(scores):
        best = int(scores.argmax())
        Image.fromarray(full_mask(masks[best], mask_boxes[best], size) * 255).save(target)
        print(f"mask of the best one saved at {target}")


if __name__ == "__main__":
    main()
