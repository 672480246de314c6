"""What came of a prediction, as plain Python that any interpreter and any numpy can read again."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageDraw


def outcome(predict, make_source, detail="files"):
    """The results of ``predict(make_source())`` up to its end or its error; `detail` as in `record`."""
    results, error = [], None
    try:
        for result in predict(make_source()):
            results.append(record(result, detail))
    except BaseException as raised:
        if isinstance(raised, KeyboardInterrupt):
            raise
        error = described(raised)
    return {"results": results, "error": error}


def described(error):
    """An error as (module, class, first line of its message)."""
    return type(error).__module__, type(error).__name__, str(error).strip().partition("\n")[0][:200]


def record(result, detail):
    """One result: its "fields"; also which "files" it saves; or "all": what is in them, its prints and its picture."""
    fields = {
        "keys": [key for key in result if key != "input_img"],
        "input_path": None if result["input_path"] is None else str(result["input_path"]),
        "page_index": result.get("page_index"),
        "boxes": [plain_box(box) for box in result["boxes"]],
        "masks": [packed(mask) for mask in result["masks"]],
    }
    if detail != "fields":
        fields["files"] = saved(result, content=detail == "all")
    if detail == "all":
        fields["print"] = printed(result)
        fields["print as JSON"] = printed(result, json_format=True)
        fields["properties"] = attempt(lambda: {"json": shape_of(result.json), "img": shape_of(result.img)})
        fields["bare picture"] = attempt(lambda: bare_picture(result))
        fields["after an edit"] = attempt(lambda: edited(result))
    return fields


def edited(result):
    """What is printed, drawn and written after `edit`."""
    edit(result)
    return {
        "print": printed(result),
        "print as JSON": printed(result, json_format=True),
        "files": saved(result, content=True),
        "bare picture": bare_picture(result),
    }


def edit(result):
    """Take the first instance out of the dict, and give the next one another label and score."""
    for key in ("boxes", "masks"):
        result[key] = list(result[key])[1:]
    for box in list(result["boxes"])[:1]:
        box["label"], box["score"] = "renamed", 0.25


def plain_box(box):
    """A box without numpy's types: a coordinate is an int or a float."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in box.items()}
    if "coordinate" in box:
        plain["coordinate"] = [v.item() if isinstance(v, np.generic) else v for v in box["coordinate"]]
    return plain


def packed(mask):
    """A mask of 0 and 1: its shape, its type and its bits."""
    array = np.asarray(mask)
    return array.shape, str(array.dtype), zlib.compress(np.packbits(array != 0).tobytes())


def unpacked(mask):
    """The mask that `packed` packed, as uint8."""
    shape, _, bits = mask
    return np.unpackbits(np.frombuffer(zlib.decompress(bits), np.uint8), count=shape[0] * shape[1]).reshape(shape)


def attempt(action):
    """What `action` returns, or the error it ends in."""
    try:
        return action()
    except Exception as error:
        return described(error)


def saved(result, *, content):
    """The files that a result saves into a directory: by name their bytes, or the size of the picture."""
    with tempfile.TemporaryDirectory() as folder:
        errors = {
            f"error of {save.__name__}": problem
            for save in (result.save_to_json, result.save_to_img)
            if (problem := attempt(lambda save=save: save(folder) and None)) is not None
        }
        files = sorted(Path(folder).iterdir())
        return {**errors, **{anonymous(path.name): seen(path, content=content) for path in files}}


def seen(path, *, content):
    """A file as it is, or only how large a picture it is."""
    if content:
        return zlib.compress(path.read_bytes())
    if path.suffix == ".json":
        return "JSON"
    with Image.open(path) as image:
        return image.size


def anonymous(name):
    """A file name without what is random or the time in it."""
    return re.sub(r"^(tmp\w{8}|\d{10}_\d{1,4})(?=[_.])", "ARRAY", name)


def shape_of(value):
    """How a property is wrapped: the class, and the keys of a dict."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items() if key in ("res", "input_path", "boxes", "masks")}
    return "PIL" if isinstance(value, Image.Image) else type(value).__name__


def printed(result, **arguments):
    """What `print` writes; PaddleX's goes to its logger, coloured."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("paddlex")
    before, logger.propagate = logger.handlers[:], False
    logger.handlers, level = [handler], logger.level
    logger.setLevel(logging.INFO)
    with contextlib.redirect_stdout(text):
        result.print(**arguments)
    logger.handlers = before
    logger.setLevel(level)
    return re.sub("\x1b\\[[0-9;]*m", "", text.getvalue())


def bare_picture(result):
    """The picture without the words and their plates, as (height, width, RGB bytes)."""
    with mock.patch.object(ImageDraw.ImageDraw, "text"), mock.patch.object(ImageDraw.ImageDraw, "rectangle"):
        image = result.img
    image = image["res"] if isinstance(image, dict) else image
    return image.height, image.width, zlib.compress(image.convert("RGB").tobytes(), 1)
