"""Images to be saved, and the images whose results were saved."""

from __future__ import annotations

import json

import cv2
import numpy as np


def image(path, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((4, 6, 3), value, np.uint8))[1].tobytes())
    return path


def sources_of(folder):
    return sorted(str(json.loads(path.read_text(encoding="utf-8"))["input_path"]) for path in folder.rglob("*.json"))
