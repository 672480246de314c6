"""PaddleX's own detections put through maskserve's result: what it prints and saves must be the same to the byte."""

from __future__ import annotations

import contextlib
import re
import tempfile
import zlib
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from PIL.ImageDraw import ImageDraw
from recording import edit, printed, saved, shape_of, unpacked

from maskserve.inputs.image import InputImage
from maskserve.inputs.sources import images
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.paddlex.generations import GENERATIONS
from maskserve.results import InstanceSegResult


def replay(record, generation):
    """Yield (aspect, whether it is the same, remark) for a record of "all" of one of PaddleX's results."""
    (image,) = images(record["input_path"])
    size = image.bgr().shape[:2]
    if not all(fitting(*pair) for pair in zip(record["boxes"], record["masks"], strict=True)):
        yield "masks that do not fill their boxes", False, ""
        return
    result = InstanceSegResult(image, instances(record, size), generation)
    yield "keys", record["keys"] == list(result), ""
    yield "boxes", record["boxes"] == result["boxes"], ""
    yield from texts(record, result)
    yield (
        "what json and img are",
        record["properties"] == {"json": shape_of(result.json), "img": shape_of(result.img)},
        "",
    )
    yield from pictures_compared(record, result, generation)
    edit(result)
    after = {**record, **record["after an edit"]}
    for aspect, same, remark in (*texts(after, result), *pictures_compared(after, result, generation)):
        yield f"{aspect}, after an edit", same, remark


def fitting(box, mask):
    """Whether a mask is as large as its box; SOLOv2's are as large as the picture."""
    if "coordinate" not in box:
        return False
    left, top, right, bottom = (round(value) for value in box["coordinate"])
    return mask[0] == (bottom - top, right - left)


def instances(record, size):
    """PaddleX's detections as maskserve has them."""
    boxes, masks = record["boxes"], [unpacked(mask) for mask in record["masks"]]
    corners = [(round(box["coordinate"][0]), round(box["coordinate"][1])) for box in boxes]
    return Instances(
        boxes_xyxy=np.array([box["coordinate"] for box in boxes], np.float32).reshape(-1, 4),
        scores=np.array([box["score"] for box in boxes], np.float32),
        class_ids=np.array([box["cls_id"] for box in boxes], np.int32),
        labels=tuple(box["label"] for box in boxes),
        masks=tuple(Mask.from_crop(mask, *corner, size) for mask, corner in zip(masks, corners, strict=True)),
        image_size=size,
    )


def texts(record, result):
    """What is printed, and the JSON file, byte by byte."""
    plain = re.sub(r"np\.float32\(([^()]*)\)", r"\1", record["print"])  # so does numpy 2 show its numbers
    if plain != record["print"]:
        yield "numbers in print()", False, "np.float32(1.5) / 1.5"
    yield "print()", plain == printed(result), ""
    yield "print(json_format=True)", record["print as JSON"] == printed(result, json_format=True), ""
    (name,) = (name for name in record["files"] if name.endswith(".json"))
    theirs = zlib.decompress(record["files"][name])
    if any(kind == "float32" for _, kind, _ in record["masks"]):
        yield "masks in JSON", False, "0.0 and 1.0 / 0 and 1"
        theirs = re.sub(rb"(?m)^(\s*[01])\.0(?=,?$)", rb"\1", theirs)
    yield "JSON file, masks='dense'", theirs == dense_json(result, name), ""
    yield "names of files", sorted(record["files"]) == sorted(saved(result, content=False)), ""


def dense_json(result, name):
    """The JSON file with masks as PaddleX writes them."""
    with tempfile.TemporaryDirectory() as folder:
        return result.save_to_json(Path(folder) / name, masks="dense").read_bytes()


def pictures_compared(record, result, generation):
    """Masks and boxes, drawn; 3.x draws into a picture whose red and blue are swapped, and so does this."""
    height, width, pixels = record["bare picture"]
    theirs = np.frombuffer(zlib.decompress(pixels), np.uint8).reshape(height, width, 3).astype(int)
    if generation == "3.x":
        yield "colours of pictures", False, "red and blue swapped"
        swapped = InputImage(cv2.imread(record["input_path"])[:, :, ::-1].copy, record["input_path"])
        result = InstanceSegResult(swapped, result.instances, generation)
    boxless = max(height, width) * GENERATIONS[generation].line_width < 1
    if boxless:
        yield "boxes in small pictures", False, "none / drawn"
    ours = bare(result, {"text", "rectangle", *(["line"] if boxless else [])}).astype(int)
    yield "masks and boxes drawn, style='paddlex'", int(np.abs(theirs - ours).max()) <= 1, "by more than 1 of 255"


def bare(result, left_out):
    """The picture in PaddleX's style without what the methods `left_out` draw."""
    with contextlib.ExitStack() as stack:
        for method in left_out:
            stack.enter_context(mock.patch.object(ImageDraw, method))
        return np.asarray(result.draw("paddlex"))
