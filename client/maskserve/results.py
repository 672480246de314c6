"""Results: PaddleX's dict, and the instances behind it."""

from __future__ import annotations

import builtins
import json
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve import _documents, _files
from maskserve._crops import MaskCrops
from maskserve._generations import DEFAULT, generation_named
from maskserve.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from PIL.Image import Image

    from maskserve._documents import MaskForm
    from maskserve._draw import Style
    from maskserve._pictures import Picture
    from maskserve.errors import MaskserveError
    from maskserve.instances import Instances, Order

StrPath = str | os.PathLike[str]
_log = logging.getLogger("maskserve")


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that could not be segmented, where `predict` was asked to return such (``on_error="return"``).

    Attributes:
        input_path: where the picture came from; None for one in memory.
        error: what is wrong with it.
    """

    input_path: str | None
    error: MaskserveError


class InstanceSegResult(dict[str, Any]):
    """What was found in one picture: a dict with PaddleX's keys.

    ``input_path`` is the path or URL, None for a picture in memory; ``boxes`` a list of dicts with `cls_id`, `label`,
    `score` and `coordinate` [x0, y0, x1, y1]; ``masks`` a sequence of [h, w] uint8 crops, one for each box. In the
    generation "3.x" there are ``page_index`` and ``input_img`` (BGR, read when it is asked for), too.

    Attributes:
        instances: the same, as columns and `Mask` values.
    """

    def __init__(self, picture: Picture, instances: Instances, generation: builtins.str = DEFAULT) -> None:
        self._generation = generation
        self._habits = generation_named(generation)
        self._picture = picture
        self.instances = instances
        pages = {"page_index": picture.page_index} if self._habits.paged else {}
        super().__init__(
            input_path=picture.input_path,
            **pages,
            boxes=_documents.boxes(instances),
            masks=MaskCrops(instances.masks),
        )

    def __missing__(self, key: builtins.str) -> Any:
        if key == "input_img" and self._habits.paged:
            return self._picture.bgr()
        raise KeyError(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._picture, self.instances, self._generation)

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]:
        """[N, 4] float32, x0, y0, x1, y1 in pixels."""
        return self.instances.boxes_xyxy

    @property
    def scores(self) -> NDArray[np.float32]:
        """[N] float32."""
        return self.instances.scores

    @property
    def class_ids(self) -> NDArray[np.int32]:
        """[N] int32."""
        return self.instances.class_ids

    def filter(
        self,
        *,
        threshold: float | None = None,
        class_ids: Iterable[int] | None = None,
        labels: Iterable[builtins.str] | None = None,
        min_area: int = 0,
    ) -> InstanceSegResult:
        """The result with some of the instances only; the arguments are those of `Instances.filter`."""
        kept = self.instances.filter(threshold=threshold, class_ids=class_ids, labels=labels, min_area=min_area)
        return InstanceSegResult(self._picture, kept, self._generation)

    def sort(self, by: Order = "score") -> InstanceSegResult:
        """The result with its instances in another order; `by` is that of `Instances.sort`."""
        return InstanceSegResult(self._picture, self.instances.sort(by), self._generation)

    def to_dict(self, masks: MaskForm = "rle") -> dict[builtins.str, Any]:
        """Plain Python that JSON can hold.

        Args:
            masks: "rle" for COCO run lengths of the crops (``size``, ``counts``, and the crop's ``origin`` x, y),
                "dense" for nested lists of 0 and 1, as PaddleX writes them, "none" for "...", as it prints them.
        """
        content: dict[builtins.str, Any] = {key: value for key, value in self.items() if key != "masks"}
        if masks == "none":
            return {**content, "masks": "..."}
        return {**content, "masks": _documents.mask_documents(self.instances.masks, masks)}

    @property
    def json(self) -> dict[builtins.str, Any]:
        """`to_dict`; in the generation "3.x" under the key "res"."""
        return self._wrap(self.to_dict())

    @property
    def str(self) -> Any:
        """What `print` prints; in the generation "3.x" the dict behind it."""
        content = self._wrap(self.to_dict("none"))
        return content if self._habits.wrapped else _documents.line(content)

    @property
    def img(self) -> Any:
        """The picture with its instances, as a PIL image; in the generation "3.x" under the key "res"."""
        image = self.draw()
        return {"res": image} if self._habits.wrapped else image

    def print(
        self,
        json_format: bool = False,
        indent: int = 4,
        ensure_ascii: bool = False,
        *,
        format_json: bool | None = None,
    ) -> None:
        """Print the result without its masks, on one line.

        Args:
            json_format: as indented JSON instead.
            indent: of the JSON.
            ensure_ascii: escape everything else in the JSON.
            format_json: the name that PaddleX's documentation has for `json_format`.
        """
        content = self._wrap(self.to_dict("none"))
        as_json = json_format if format_json is None else format_json
        print(json.dumps(content, indent=indent, ensure_ascii=ensure_ascii) if as_json else _documents.line(content))

    def draw(self, style: Style = "maskserve") -> Image:
        """The picture with its instances.

        Args:
            style: "paddlex" for its fading colours.

        Raises:
            InputError: the picture cannot be read any more, or is another one by now.
        """
        from maskserve._draw import draw

        rgb = np.array(self._picture.bgr()[:, :, ::-1], order="C")
        return draw(rgb, self.instances, self._habits, style)

    def save_to_json(
        self,
        save_path: StrPath,
        indent: int = 4,
        ensure_ascii: bool = False,
        *,
        masks: MaskForm = "rle",
    ) -> Path:
        """Write the result as strict JSON.

        Args:
            save_path: a file ending with ``.json``, or a directory, which is made if it is missing.
            indent: spaces per level.
            ensure_ascii: escape everything else.
            masks: as in `to_dict`.

        Returns:
            the file.

        Raises:
            InputError: it cannot be written.
        """
        path = _files.target(save_path, f"{self._stem}.json", lambda suffix: suffix == ".json")
        text = json.dumps(self.to_dict(masks), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)
        with _files.replacing(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
        _log.info("The result has been saved in %s.", path)
        return path

    def save_to_img(self, save_path: StrPath, *, style: Style = "maskserve") -> Path:
        """Write the picture with its instances.

        Args:
            save_path: a file with the suffix of a picture, or a directory, which is made if it is missing; the file
                is called as the original there. The original itself is never overwritten.
            style: as in `draw`.

        Returns:
            the file.

        Raises:
            InputError: the picture cannot be read any more, or the file not be written.
        """
        path = _files.target(save_path, self._stem + self._image_suffix, _is_image_suffix)
        if self._own_name.exists() and path.exists() and path.samefile(self._own_name):
            path = path.with_name(f"{path.stem}_res{path.suffix}")
        image = self.draw(style)
        with _files.replacing(path) as scratch:
            image.save(scratch)
        _log.info("The result has been saved in %s.", path)
        return path

    def save_all(self, save_path: StrPath) -> None:
        """`save_to_img` and `save_to_json`."""
        self.save_to_img(save_path)
        self.save_to_json(save_path)

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; without the picture it shows the dict."""
        from io import BytesIO

        file = BytesIO()
        try:
            self.draw().save(file, "PNG")
        except InputError:
            return None
        return file.getvalue()

    def _wrap(self, content: dict[builtins.str, Any]) -> dict[builtins.str, Any]:
        return {"res": content} if self._habits.wrapped else content

    @cached_property
    def _own_name(self) -> Path:
        return _files.own_name(self._picture)

    @property
    def _stem(self) -> builtins.str:
        return _files.stem(self._picture, self._own_name, self._habits)

    @property
    def _image_suffix(self) -> builtins.str:
        suffix = self._own_name.suffix
        return suffix if _is_image_suffix(suffix.lower()) else ".png"


def _is_image_suffix(suffix: str) -> bool:
    from PIL import Image

    return Image.registered_extensions().get(suffix) in Image.SAVE and suffix != ".pdf"
