"""Results: PaddleX's dict, and the instances behind it."""

from __future__ import annotations

import builtins
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import InputError
from maskserve.paddlex import serialize as _documents
from maskserve.paddlex.plain import plain
from maskserve.paddlex.resultdict import ResultDict
from maskserve.saving.saver import Saver

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image
    from typing_extensions import Unpack

    from maskserve.drawing.draw import Style
    from maskserve.drawing.look import DrawOptions
    from maskserve.errors import MaskserveError
    from maskserve.paddlex.serialize import MaskForm

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be segmented, where `predict` was asked to return such (``on_error="return"``).

    Attributes:
        input_path: where the image came from; None for one in memory.
        error: what is wrong with it.
        page_index: page of a document, from 0; None for what has no pages.
        frame_index: frame of a video, from 0; None for what is none.
    """

    input_path: str | None
    error: MaskserveError
    page_index: int | None = None
    frame_index: int | None = None


class InstanceSegResult(ResultDict):
    """What was found in one image: a dict with PaddleX's keys.

    ``input_path`` is the path or URL, None for an image in memory; ``boxes`` a list of dicts with `cls_id`, `label`,
    `score` and `coordinate` [x0, y0, x1, y1]; ``masks`` a list of [h, w] uint8 crops, one for each box. In the
    generation "3.x" there are ``page_index`` and ``input_img`` (BGR, read when it is asked for), too. A frame of a
    video has ``frame_index`` and ``time`` in seconds.

    The dict may be edited as PaddleX's may: boxes and masks can be removed, sorted, replaced and changed in place, and
    everything else follows, since all of it is made of the dict. Edits after which boxes and masks do not fit together
    raise `InvalidParameter` where both are needed.
    """

    def to_dict(self, masks: MaskForm = "rle") -> dict[builtins.str, Any]:
        """Return plain Python that JSON can hold.

        Args:
            masks: "rle" for COCO run lengths of the crops (``size``, ``counts``, and the crop's ``origin`` x, y),
                "dense" for nested lists of 0 and 1, as PaddleX writes them, "none" for "...", as it prints them.

        Raises:
            InvalidParameter: the dict was edited, and boxes and masks do not fit together, or JSON cannot hold it.
        """
        return self._document(masks, strict=True)

    def _document(self, masks: MaskForm, *, strict: bool) -> dict[builtins.str, Any]:
        content: dict[builtins.str, Any] = {}
        for key, value in self.items():
            if key != "masks":
                content[key] = plain(value, f"res[{key!r}]", strict=strict)
            elif masks == "none":
                content[key] = "..."
            else:
                content[key] = _documents.mask_documents(self.instances.masks, masks)
        content.pop("input_img", None)
        return content

    @property
    def json(self) -> dict[builtins.str, Any]:
        """`to_dict`; in the generation "3.x" under the key "res"."""
        return self._wrap(self.to_dict())

    @property
    def str(self) -> Any:
        """Return what `print` prints; in the generation "3.x" the dict behind it."""
        content = self._wrap(self._document("none", strict=False))
        return content if self._habits.wrapped else _documents.line(content)

    @property
    def img(self) -> Any:
        """Return the image with its instances, as a PIL image; in the generation "3.x" under the key "res"."""
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
        as_json = json_format if format_json is None else format_json
        content = self._wrap(self._document("none", strict=as_json))
        if as_json:
            _documents.show_json(content, indent=indent, ensure_ascii=ensure_ascii)
        else:
            _documents.show(_documents.line(content))

    def draw(
        self, style: Style = "maskserve", *, max_pixels: int | None = None, **options: Unpack[DrawOptions]
    ) -> Image:
        """Draw the instances on the image.

        Args:
            style: "paddlex" draws as PaddleX does, and takes no options.
            max_pixels: draw on a smaller copy where the image has more, or where its masks are very many and large;
                the copy's ``info["scale"]`` says how much smaller each side is. None for the image's own size.
            options: `show`, `by`, `colors`, `opacity` and `ids`, see `maskserve.drawing.look.DrawOptions`.

        Raises:
            InputError: the image cannot be read any more, or is another one by now.
            InvalidParameter: an option makes no sense.
        """
        from maskserve.drawing.draw import check_size, chosen_look, draw
        from maskserve.paddlex import shrink

        how = chosen_look(style, dict(options))
        pixels, instances = self.pixels(), self.instances
        check_size(pixels, instances)
        size = instances.image_size if max_pixels is None else shrink.smaller_size(instances, max_pixels)
        if size == instances.image_size:
            return draw(np.array(pixels[:, :, ::-1], order="C"), instances, how, self._habits)
        scale = size[1] / instances.image_size[1]
        pixels, instances = shrink.shrink_image(pixels, size), shrink.shrink_instances(instances, size)
        image = draw(np.array(pixels[:, :, ::-1], order="C"), instances, how, self._habits)
        image.info["scale"] = scale
        return image

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
            InputError: it cannot be written, or the dict was edited and cannot be (see `to_dict`).
        """
        return self._saver.save_json(
            save_path, _documents.json_text(self.to_dict(masks), indent=indent, ensure_ascii=ensure_ascii)
        )

    def save_to_img(self, save_path: StrPath, *, style: Style = "maskserve", **options: Unpack[DrawOptions]) -> Path:
        """Write the image with its instances.

        Args:
            save_path: a file with the suffix of an image, or a directory, which is made if it is missing; the file
                is called as the original there, unless another image of the same `predict` is. Inputs are never
                overwritten.
            style: as in `draw`.
            options: as in `draw`.

        Returns:
            the file.

        Raises:
            InputError: the image cannot be read any more, or the file not be written.
            InvalidParameter: an option makes no sense.
        """
        return self._saver.save_image(save_path, self.draw(style, **options))

    def save_cutouts(self, save_path: StrPath) -> list[Path]:
        """Write each instance as a PNG file of its own: its pixels, on a transparent ground.

        Args:
            save_path: a directory, which is made if it is missing. The files have the image's name, the instance's
                place in the result, and its class: ``street_0_person.png``. An instance without pixels has no file.

        Returns:
            the files, in the order of the instances.

        Raises:
            InputError: the image cannot be read any more, or a file not be written.
            InvalidParameter: `save_path` is no path.
        """
        from maskserve.drawing.cutouts import cutouts

        return self._saver.save_cutouts(save_path, cutouts(self.pixels(), self.instances))

    def save_all(self, save_path: StrPath, *, style: Style = "maskserve", **options: Unpack[DrawOptions]) -> None:
        """Call `save_to_img` and `save_to_json`; if one of them fails, the other is done all the same.

        Args:
            save_path: a directory; or a file ending with ``.json`` or the suffix of an image, and the other file is
                called alike.
            style: as in `draw`.
            options: as in `draw`.

        Raises:
            InputError: what `save_to_img` or `save_to_json` says.
        """
        image, document = self._saver.both(save_path)
        try:
            self.save_to_img(image, style=style, **options)
        finally:
            self.save_to_json(document)

    def _repr_png_(self) -> bytes | None:
        """Return what a notebook shows; without the image it shows the dict."""
        from io import BytesIO

        file = BytesIO()
        try:
            self.draw().save(file, "PNG")
        except InputError:
            return None
        return file.getvalue()

    def _wrap(self, content: dict[builtins.str, Any]) -> dict[builtins.str, Any]:
        return {"res": content} if self._habits.wrapped else content

    @property
    def stem(self) -> builtins.str:
        """Name of the image without suffix, and with its page; for an array the time and some digits."""
        return self._saver.stem

    @property
    def _saver(self) -> Saver:
        """Saves under the path and the page that the dict has now."""
        named = self._named
        key = named.input_path, named.part
        return self._savers.setdefault(key, Saver(named, self._habits))
