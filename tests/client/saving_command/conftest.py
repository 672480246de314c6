"""The images that the command `maskserve predict` is given, and the files that it saves."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

GENERATIONS = ("3.0b2", "3.x")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def image(path, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((4, 6, 3), value, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix if path.suffix != ".json" else ".png", pixels)[1].tobytes())
    return path


def saved(folder):
    """What each JSON file under a folder is about, and with which score, which tells the image's pixels."""
    return {
        path.relative_to(folder).as_posix(): document(path)["input_path"] for path in sorted(folder.rglob("*.json"))
    }


def document(path):
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
