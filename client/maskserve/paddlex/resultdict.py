"""The dict that a result is: edited like any dict, and everything else made of what it says now."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from maskserve.arguments import checked_positions, whole
from maskserve.errors import InvalidParameter
from maskserve.inputs.image import InputImage, as_bgr, load_file
from maskserve.instances import Instances
from maskserve.paddlex.crops import same_crops
from maskserve.paddlex.edits import Source
from maskserve.paddlex.generations import DEFAULT, generation_named
from maskserve.paddlex.plain import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    from maskserve.instances import Order
    from maskserve.saving.saver import Saver

Result = TypeVar("Result", bound="ResultDict")


class ResultDict(dict[str, Any]):
    """PaddleX's keys, and the instances that they stand for; what it holds is said at `InstanceSegResult`."""

    def __init__(self, input_image: InputImage, instances: Instances, generation: str = DEFAULT) -> None:
        self._set(input_image, Source(instances), generation)
        pages = {"page_index": input_image.page_index} if self._habits.paged else {}
        frames = {"frame_index": input_image.frame_index, "time": input_image.time}
        super().__init__(
            input_path=input_image.input_path,
            **pages,
            **({} if input_image.frame_index is None else frames),
            **self._source.items(),
        )

    def _set(self, input_image: InputImage, source: Source, generation: str) -> None:
        self._generation = generation
        self._habits = generation_named(generation)
        self._image = input_image
        self._source = source
        self._savers: dict[tuple[str | None, int | None], Saver] = {}

    def __missing__(self, key: str) -> Any:
        if key == "input_img" and self._habits.paged:
            return self._image.bgr()
        raise KeyError(key)

    def __reduce__(self) -> tuple[Any, ...]:
        untouched = ResultDict(self._image, self._source.found, self._generation)
        if self == untouched:
            return type(self), (self._image, self._source.found, self._generation)
        return _restored, (type(self), self._image, self._source, self._generation, dict(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        return self.keys() == other.keys() and all(_same(key, self[key], other[key]) for key in self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # like a dict

    def copy(self) -> Self:
        """Return another result with the same boxes and masks: changes inside them are seen in both."""
        return _restored(type(self), self._image, self._source, self._generation, dict(self))

    __copy__ = copy

    @property
    def instances(self) -> Instances:
        """What the boxes and masks are now, as columns and `Mask` values. Set them, and boxes and masks are theirs.

        Raises:
            InvalidParameter: boxes and masks were edited and do not fit together.
        """
        return self._source.instances(self)

    @instances.setter
    def instances(self, instances: Instances) -> None:
        if not isinstance(instances, Instances):
            raise InvalidParameter(f"a {type(instances).__name__} is no Instances: take them of another result's")
        self._source = Source(instances)
        self.update(self._source.items())

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]:
        """[N, 4] float32, x0, y0, x1, y1 in pixels, inside the image; read-only, as the other columns are."""
        return self._source.columns(self).boxes_xyxy

    @property
    def scores(self) -> NDArray[np.float32]:
        """[N] float32."""
        return self._source.columns(self).scores

    @property
    def class_ids(self) -> NDArray[np.int32]:
        """[N] int32."""
        return self._source.columns(self).class_ids

    @property
    def page_index(self) -> int | None:
        """Page of a PDF or TIFF file of several pages, from 0; None for any other image.

        Raises:
            InvalidParameter: it was set to something else.
        """
        page = self.get("page_index", self._image.page_index)
        number = None if page is None else whole(page)
        if number is None and page is not None:
            raise InvalidParameter(f'res["page_index"] is {page!r}: give the number of a page, or None')
        return number

    @property
    def frame_index(self) -> int | None:
        """Frame of a video, from 0; None for any other image."""
        return self._image.frame_index

    @property
    def part(self) -> int | None:
        """Page or frame; None for an image that is no part of a file."""
        return self.frame_index if self.page_index is None else self.page_index

    def filter(
        self,
        *,
        threshold: float | None = None,
        class_ids: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        min_area: float = 0,
    ) -> Self:
        """Return the result with some of the instances only; the arguments are those of `Instances.filter`."""
        found = self.instances
        return self.take(found.matching(threshold=threshold, class_ids=class_ids, labels=labels, min_area=min_area))

    def sort(self, by: Order = "score") -> Self:
        """Return the result with its instances in another order; `by` is that of `Instances.sort`."""
        return self.take(self.instances.order(by))

    def take(self, indices: int | Iterable[int]) -> Self:
        """Return the result with the instances at `indices` only, in that order. What was added to the dict is kept.

        Args:
            indices: as in `Instances.take`.

        Raises:
            InvalidParameter: there is no such instance.
        """
        order = checked_positions(indices, len(self.instances))
        chosen = _restored(type(self), self._image, self._source, self._generation, dict(self))
        chosen._source = self._source.take(self, order)
        chosen.update(chosen._source.items())
        return chosen

    def pixels(self) -> NDArray[np.uint8]:
        """Return the image, [height, width, 3] uint8 in BGR, upright.

        It is `input_img` or the file of `input_path` where they were set, else what was segmented.

        Raises:
            InputError: it cannot be read any more.
        """
        if "input_img" in self:
            return InputImage(partial(as_bgr, np.asarray(self["input_img"]))).bgr()
        path = self._named.input_path
        if path not in (None, self._image.input_path) and self.part is None and os.path.isfile(path):
            return InputImage(partial(load_file, path), path).bgr()
        return self._image.bgr()

    @property
    def file(self) -> str | None:
        """Path of the file that is the image; None for an array, a URL and a page of a document."""
        path = self._named.input_path
        if path is None or "://" in path or self.part is not None:
            return None
        return path if path == self._image.input_path or os.path.isfile(path) else None

    @property
    def _named(self) -> InputImage:
        """The image with the path and the page that the dict has now."""
        path = self.get("input_path")
        if path is None:
            return replace(self._image, page_index=self.page_index)
        if not isinstance(path, str | os.PathLike):
            raise InvalidParameter(f'res["input_path"] is of type {type(path).__name__}: give a path or None')
        return replace(self._image, input_path=os.fspath(path), page_index=self.page_index)


def _same(key: str, first: Any, second: Any) -> bool:
    """Return whether two values of a result's dict are equal, arrays by their elements."""
    if first is second:
        return True
    if key == "masks" and isinstance(first, Iterable) and isinstance(second, Iterable):
        return same_crops(first, second)
    try:
        return bool(first == second)
    except ValueError:  # arrays have no truth value
        return bool(plain(first, "", strict=False) == plain(second, "", strict=False))


def _restored(
    kind: type[Result], input_image: InputImage, source: Source, generation: str, content: dict[str, Any]
) -> Result:
    """Return a result whose dict is `content`."""
    result = kind.__new__(kind)
    result._set(input_image, source, generation)
    result.update(content)
    return result
