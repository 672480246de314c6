"""Files for one image: their places, and writing them."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import InvalidParameter
from maskserve.saving.drawn import write_image
from maskserve.saving.files import NameTaken, is_url, own_name, replacing, target
from maskserve.saving.naming import choices, cutout_choices, image_suffix, is_image_suffix, owner
from maskserve.saving.outputs import Outputs

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from maskserve.inputs.image import InputImage
    from maskserve.paddlex.generations import Generation
    from maskserve.saving.naming import Choices, Kind

_log = logging.getLogger("maskserve")


class Saver:
    """Saves what belongs to one image.

    Args:
        image: the image.
        generation: of PaddleX's names.
    """

    def __init__(self, input_image: InputImage, generation: Generation) -> None:
        self.outputs = Outputs() if input_image.outputs is None else input_image.outputs
        self._image, self._generation = input_image, generation
        self._name: Path | None = None

    @property
    def stem(self) -> str:
        """The image's own name without suffix, with the number of its page or frame."""
        part = "" if self._image.part is None else f"_{self._image.part}"
        return f"{self._named().stem}{part}"

    def save_json(self, save_path: str | os.PathLike[str], text: str) -> Path:
        """Write the JSON file.

        Raises:
            InputError: it cannot be written.
        """

        def write(path: Path, overwrite: bool) -> None:
            with replacing(path, overwrite=overwrite) as scratch:
                scratch.write_text(text, encoding="utf-8")

        return self._save(save_path, "json", write)

    def save_image(self, save_path: str | os.PathLike[str], image: Image) -> Path:
        """Write the drawn image.

        Raises:
            InputError: it cannot be written.
        """
        return self._save(save_path, "image", partial(_write, image))

    def save_cutouts(
        self, save_path: str | os.PathLike[str], cutouts: Iterable[tuple[int, str, NDArray[np.uint8]]]
    ) -> list[Path]:
        """Write instances that were cut out.

        Args:
            save_path: the directory.
            cutouts: of each its position, its class name, and [h, w, 4] uint8, red first.

        Raises:
            InputError: a file cannot be written.
            InvalidParameter: `save_path` is no path, or the name of a file.
        """
        from PIL import Image as pillow

        folder, is_file = target(save_path, is_image_suffix)
        if is_file:
            raise InvalidParameter(f"save_path={save_path!r}: cut-outs are several files: name a directory")
        return [
            self._to_folder(
                folder,
                partial(cutout_choices, self._image, self._generation, position, label),
                partial(_write, pillow.fromarray(pixels)),
            )
            for position, label, pixels in cutouts
        ]

    def both(self, save_path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Return the paths for the drawn image and the JSON file: `save_path` twice, if it is a directory.

        Raises:
            InvalidParameter: it is no path.
        """
        path, is_image = target(save_path, is_image_suffix)
        if is_image:
            return path, path.with_suffix(".json")
        path, is_json = target(save_path, ".json".__eq__)
        return (path.with_suffix(image_suffix(self._named())) if is_json else path), path

    def _save(self, save_path: str | os.PathLike[str], kind: Kind, write: Callable[[Path, bool], None]) -> Path:
        path, is_file = target(save_path, is_image_suffix if kind == "image" else ".json".__eq__)
        path = self._to_file(path, write) if is_file else self._to_folder(path, partial(self._names, kind=kind), write)
        _log.info("The result has been saved in %s.", path)
        return path

    def _to_file(self, path: Path, write: Callable[[Path, bool], None]) -> Path:
        """Write the file that was asked for, or one beside it, where it is an input."""
        while self.outputs.sources.hold(path) or self._is_own(path):
            path = path.with_name(f"{path.stem}_res{path.suffix}")
        write(path, True)
        return path

    def _names(self, name: Path, kind: Kind) -> Choices:
        return choices(self._image, name, self._generation, kind)

    def _to_folder(self, folder: Path, names: Callable[[Path], Choices], write: Callable[[Path, bool], None]) -> Path:
        while True:
            name = self._named()
            mine = owner(self._image, name)
            path, again = self.outputs.take(folder, names(name), mine, self._own_file())
            try:
                write(path, again or self._image.input_path is not None)
            except NameTaken:  # the time and four digits, which another process has drawn as well
                self._name = None
                continue
            self.outputs.written(path, mine)
            return path

    def _named(self) -> Path:
        if self._name is None:
            self._name = own_name(self._image)
        return self._name

    def _own_file(self) -> Path | None:
        source = self._image.input_path
        return None if source is None or is_url(source) else Path(source)

    def _is_own(self, path: Path) -> bool:
        own = self._own_file()
        try:
            return own is not None and path.samefile(own)
        except (OSError, ValueError):
            return False


def _write(image: Image, path: Path, overwrite: bool) -> None:
    write_image(image, path, overwrite=overwrite)
