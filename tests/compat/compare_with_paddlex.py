"""Compare maskserve's results with those of PaddleX's own result classes, field by field and pixel by pixel.

    pip download --no-deps --dest wheels paddlex==3.0.0b2 paddlex==3.7.2
    python tests/compat/compare_with_paddlex.py wheels/paddlex-*.whl

Run by hand, not by pytest. It takes the result class out of each wheel without the rest of PaddleX (pandas is needed),
gives both the same detections, and reports each difference. The font is maskserve's in both, since PaddleX's may not be
distributed, or is downloaded. Exits with 1 when there is a difference that docs/compatibility.md does not list.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import tempfile
import types
import zipfile
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from PIL.ImageDraw import ImageDraw

import maskserve
from maskserve._inputs import pictures
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.results import InstanceSegResult

LABELS = ("person", "bicycle", "car", "tie")
SIZE = (480, 640)
# What PaddleX's readers and writers of other things import.
NOT_NEEDED = ("fitz", "decord", "soundfile", "pypdfium2", "ujson", "lxml", "ruamel", "ruamel.yaml", "filetype")


def detections():
    """Six instances as a model gives them: class, score, unclipped box, and a mask of the whole picture."""
    rng = np.random.default_rng(7)
    found = []
    for number in range(6):
        x0, y0 = rng.uniform(-20, [440, 280]).astype(np.float32)
        x1, y1 = (np.array([x0, y0]) + rng.uniform(80, 320, 2)).astype(np.float32)
        mask = np.zeros(SIZE, np.uint8)
        centre = (int((x0 + x1) / 2), int((y0 + y1) / 2))
        cv2.ellipse(mask, centre, (int(x1 - x0) // 2, int(y1 - y0) // 2), 0, 0, 360, 1, -1)
        found.append((number * 2 % 4, float(np.float32(0.95 - number * 0.07)), (x0, y0, x1, y1), mask))
    return found


def as_paddlex(found):
    """PaddleX's arithmetic after its model: boxes clipped, masks cropped at the rounded corners."""
    boxes, masks = [], []
    for class_id, score, (x0, y0, x1, y1), mask in found:
        coordinate = [max(0, x0), max(0, y0), min(SIZE[1], x1), min(SIZE[0], y1)]
        left, top, right, bottom = (round(float(value)) for value in coordinate)
        boxes.append({"cls_id": class_id, "label": LABELS[class_id], "score": score, "coordinate": coordinate})
        masks.append(mask[top:bottom, left:right].astype(np.int32))
    return boxes, masks


def as_maskserve(found, path, generation):
    boxes, masks = as_paddlex(found)
    corners = [(round(float(b["coordinate"][0])), round(float(b["coordinate"][1]))) for b in boxes]
    instances = Instances(
        boxes_xyxy=np.array([b["coordinate"] for b in boxes], np.float32),
        scores=np.array([b["score"] for b in boxes], np.float32),
        class_ids=np.array([b["cls_id"] for b in boxes], np.int32),
        labels=tuple(b["label"] for b in boxes),
        masks=tuple(Mask.from_crop(mask, *corner, SIZE) for mask, corner in zip(masks, corners, strict=True)),
        image_size=SIZE,
    )
    (picture,) = pictures(path)
    return InstanceSegResult(picture, instances, generation)


class Anything(types.ModuleType):
    """A module in which every name exists: for what the result class imports and does not need."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def result_class(root, generation):
    """PaddleX's result class, imported from an unpacked wheel without running the packages around it."""
    for name in ("", ".utils", ".inference", ".inference.utils", ".inference.results", ".inference.models"):
        package = types.ModuleType(f"paddlex{name}")
        package.__path__ = [str(root / "paddlex" / name.strip(".").replace(".", "/"))]
        sys.modules[f"paddlex{name}"] = package
    for name in (
        "fitz",
        "decord",
        "soundfile",
        "pypdfium2",
        "tokenizers",
        "ujson",
        "lxml",
        "ruamel",
        "ruamel.yaml",
        "filetype",
    ):
        sys.modules.setdefault(name, Anything(name))
    sys.modules["paddlex.inference.utils.io.tablepyxl"] = Anything("tablepyxl")
    fonts = types.ModuleType("paddlex.utils.fonts")
    fonts.PINGFANG_FONT_FILE_PATH = str(Path(maskserve.__file__).parent / "fonts" / "DejaVuSans.ttf")
    fonts.PINGFANG_FONT = types.SimpleNamespace(path=fonts.PINGFANG_FONT_FILE_PATH)
    sys.modules["paddlex.utils.fonts"] = fonts
    sys.modules["paddlex.utils"].logging = sys.modules["paddlex.utils.logging"] = logging.getLogger("paddlex")
    deps = types.ModuleType("paddlex.utils.deps")
    deps.is_dep_available = lambda *_, **__: True
    deps.function_requires_deps = deps.class_requires_deps = lambda *_: lambda wrapped: wrapped
    sys.modules["paddlex.utils.deps"] = deps
    if generation == "3.0b2":
        return importlib.import_module("paddlex.inference.results.instance_seg").InstanceSegResult
    sys.modules["paddlex.inference.models"].__path__ = [str(root / "paddlex/inference/models")]
    for name in ("instance_segmentation", "object_detection"):
        package = types.ModuleType(f"paddlex.inference.models.{name}")
        package.__path__ = [str(root / "paddlex/inference/models" / name)]
        sys.modules[f"paddlex.inference.models.{name}"] = package
    sys.modules["paddlex.inference.common.result.converter"] = Anything("converter")
    return importlib.import_module("paddlex.inference.models.instance_segmentation.result").InstanceSegResult


def paddlex_result(kind, found, path, generation):
    boxes, masks = as_paddlex(found)
    data = {"input_path": path, "boxes": boxes, "masks": masks}
    if generation == "3.x":
        data = {"input_path": path, "page_index": None, "input_img": cv2.imread(path), "boxes": boxes, "masks": masks}
    return kind(data)


def printed(result, **arguments):
    """What `print` writes: PaddleX's goes to its log."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("paddlex")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    with contextlib.redirect_stdout(log):
        result.print(**arguments)
    logger.removeHandler(handler)
    return log.getvalue()


def saved(result, **arguments):
    """The files that a result saves into a directory: names and contents."""
    with tempfile.TemporaryDirectory() as folder:
        result.save_to_json(folder, **arguments)
        result.save_to_img(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def picture(result):
    image = result.img["res"] if isinstance(result.img, dict) else result.img
    return np.asarray(image.convert("RGB")).astype(int)


def compare(root, generation):
    """Yield (what, same or not, remark)."""
    kind, found = result_class(root, generation), detections()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "street.png")
        cv2.imwrite(path, np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8))
        theirs, ours = paddlex_result(kind, found, path, generation), as_maskserve(found, path, generation)
        yield "keys", [key for key in theirs if key != "input_img"] == list(ours), list(ours)
        yield "boxes", theirs["boxes"] == ours["boxes"], f"{len(ours['boxes'])} boxes, every number equal"
        equal = all(np.array_equal(a, b) for a, b in zip(theirs["masks"], ours["masks"], strict=True))
        yield "masks", equal, f"{len(ours['masks'])} crops, every pixel equal"
        yield "print()", printed(theirs) == printed(ours), "byte by byte"
        yield "print(json_format=True)", printed(theirs, json_format=True) == printed(ours, json_format=True), "as well"
        their_files, our_files = saved(theirs), saved(ours, masks="dense")
        yield "file names", sorted(their_files) == sorted(our_files), sorted(our_files)
        (name,) = (name for name in our_files if name.endswith(".json"))
        yield "JSON file, masks='dense'", their_files.get(name) == our_files[name], "byte by byte"
        yield from compare_pictures(theirs, ours, generation)


def compare_pictures(theirs, ours, generation):
    if generation == "3.x":  # PaddleX draws into a picture with red and blue swapped: draw ours into the same
        swapped = type(ours._picture)(cv2.imread(theirs["input_path"])[:, :, ::-1].copy)
        ours = InstanceSegResult(swapped, ours.instances, "3.x")
    with mock.patch.object(ImageDraw, "text"), mock.patch.object(ImageDraw, "rectangle"):
        difference = np.abs(picture(theirs) - np.asarray(ours.draw("paddlex")).astype(int)).max()
    yield "masks and boxes drawn, style='paddlex'", difference <= 1, f"{difference} of 255 at most"
    share = (np.abs(picture(theirs) - np.asarray(ours.draw("paddlex")).astype(int)).max(axis=2) > 1).mean()
    yield "with labels", share < 0.05, f"{share:.1%} of the pixels differ: text is placed by its own height"


def main():
    status = 0
    for wheel in map(Path, sys.argv[1:]):
        generation = "3.0b2" if "-3.0.0b2-" in wheel.name else "3.x"
        for name in [name for name in sys.modules if name.partition(".")[0] == "paddlex"]:
            del sys.modules[name]
        with tempfile.TemporaryDirectory() as root:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(root, [name for name in archive.namelist() if name.endswith(".py")])
            print(f"{wheel.name} and maskserve's generation {generation!r}")
            for what, same, remark in compare(Path(root), generation):
                print(f"  {'same     ' if same else 'DIFFERENT'} {what}: {remark}")
                status |= not same
    return status


if __name__ == "__main__":
    sys.exit(main())
