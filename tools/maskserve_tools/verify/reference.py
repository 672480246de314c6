"""What PaddleX answers: Paddle Inference on the original, uncut folder, followed by PaddleX's own arithmetic.

The reference that conversions are compared with. It is slow and needs much memory, as the original does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve.errors import ToolError
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_tools.verify.preparing import Feeds, Preparation

# About eight times what float32 rounds a value by.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ReferenceInstance:
    """One instance as PaddleX gives it: its box clipped to the image, its mask cropped at the rounded box.

    SOLOv2 has no boxes and whole masks: there the box is the extent of the mask, and the mask is cropped to it.

    Attributes:
        corner: x and y of the mask's first pixel in the image; None for those of the rounded box.
    """

    label: int
    score: float
    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.uint8]
    corner: tuple[int, int] | None = None


class Reference:
    """The uncut model.

    Args:
        folder: the Paddle inference folder.
        threads: how many CPU threads Paddle may use.
    """

    def __init__(self, folder: PaddleFolder, *, threads: int = 2) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no ccache
            from paddle import inference

        config = inference.Config(str(folder.program), str(folder.weights))
        config.disable_gpu()
        config.disable_glog_info()
        config.disable_mkldnn()
        config.enable_memory_optim()
        if folder.program.suffix == ".json":
            config.enable_new_ir(True)
        config.enable_new_executor()
        config.set_cpu_math_library_num_threads(threads)
        self._predictor = inference.create_predictor(config)
        self._prepare = Preparation(folder.settings)

    def predict(self, image: npt.NDArray[np.uint8], threshold: float) -> list[ReferenceInstance]:
        """Return the instances of one image, uint8 [height, width, 3] BGR, with a score above `threshold`.

        Raises:
            ToolError: the program's masks have another size than the image (SOLOv2's, for some images).
        """
        return self.predict_at(image, [threshold])[0]

    def predict_at(
        self, image: npt.NDArray[np.uint8], thresholds: Sequence[float], *, rounding: int | None = None
    ) -> list[list[ReferenceInstance]]:
        """Return the instances for several thresholds, from one run of the model.

        Args:
            image: uint8 [height, width, 3] BGR.
            thresholds: score thresholds.
            rounding: change the network's input as rounding would, see `rounded_otherwise`; None for not at all.
        """
        prepared = self._prepare(image)
        if rounding is not None:
            prepared = rounded_otherwise(prepared, rounding)
        has_boxes = len(self._predictor.get_output_names()) != 4
        results = self._run(_with_whole_canvas(prepared) if has_boxes else _with_one_scale(prepared))
        read = _from_boxes if has_boxes else _from_masks
        return [
            [found for found in read(results, threshold, prepared.size) if found is not None]
            for threshold in thresholds
        ]

    def _run(self, prepared: Feeds) -> list[npt.NDArray[Any]]:
        feeds: Mapping[str, npt.NDArray[Any]] = {
            "image": prepared.image,
            "im_shape": prepared.im_shape,
            "scale_factor": prepared.scale_factor,
        }
        for name in self._predictor.get_input_names():
            self._predictor.get_input_handle(name).copy_from_cpu(feeds[name])
        self._predictor.run()
        names = self._predictor.get_output_names()
        return [self._predictor.get_output_handle(name).copy_to_cpu() for name in names]


def rounded_otherwise(prepared: Feeds, number: int) -> Feeds:
    """Return inputs with every value of the image moved up or down by a millionth part of itself.

    That moves what the network computes about as much as the rounding of another engine does: the objectness of region
    proposals in MaskRCNN-ResNet101-FPN by 1e-6 in the median, as between Paddle and OpenVINO.

    Args:
        prepared: what the program reads.
        number: which values go up and which go down is chosen by it.
    """
    ways = np.random.default_rng(number).choice([-1.0, 1.0], prepared.image.shape)
    return replace(prepared, image=(prepared.image * (1 + ROUNDING * ways)).astype(np.float32))


def _with_one_scale(prepared: Feeds) -> Feeds:
    """Return inputs with which SOLOv2's program arrives at the image's own size, where there are such.

    It divides both sides by the vertical scale factor and rounds, which makes the masks of an image of 2000 x 1500 one
    column wider. The scale factor serves nothing else there, so one that is right for both sides is given.
    """
    sides, resized = np.array(prepared.size), prepared.im_shape[0]
    low, high = ((sides - 0.5) / resized).max(), ((sides + 0.5) / resized).min()
    if low >= high:
        return prepared
    return replace(prepared, scale_factor=np.full((1, 2), 2 / (low + high), np.float32))


def _with_whole_canvas(prepared: Feeds) -> Feeds:
    """Return inputs with which PP-YOLOE_seg's program paints on a canvas of the image's own size.

    It truncates `im_shape / scale_factor`, which for some heights (300, for one) comes out a row short, and stretches
    its masks accordingly. The next smaller scale factor, a ten-millionth less, is right.
    """
    scale, size = prepared.scale_factor.copy(), np.array([prepared.size])
    while (short := np.floor(prepared.im_shape / scale) < size).any():
        scale[short] = np.nextafter(scale[short], np.float32(0))
    return replace(prepared, scale_factor=scale)


def _from_masks(
    results: Sequence[npt.NDArray[Any]], threshold: float, size: tuple[int, int]
) -> Iterator[ReferenceInstance | None]:
    """Yield instances from SOLOv2's results: count, classes [n], scores [n], masks [n, height, width].

    PaddleX keeps equal scores too. The score 0 is that of the candidate that the program makes up so that its results
    are never empty.
    """
    _, labels, scores, masks = results
    if masks.shape[1:] != size:
        height, width = masks.shape[1:]
        raise ToolError(f"it paints masks of {width}x{height} for this image of {size[1]}x{size[0]}")
    for label, score, mask in zip(labels, scores, masks, strict=True):
        if score >= threshold and score > 0:
            x0, y0, x1, y1 = _extent(mask)
            box = (float(x0), float(y0), float(x1), float(y1))
            yield ReferenceInstance(int(label), float(score), box, mask[y0:y1, x0:x1]) if x1 > x0 else None


def _extent(mask: npt.NDArray[Any]) -> tuple[int, int, int, int]:
    """Return the smallest x0, y0, x1, y1 around all pixels of a mask; all 0 where it has none."""
    ys, xs = np.nonzero(mask)
    return (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1) if len(xs) else (0, 0, 0, 0)


def _from_boxes(
    results: Sequence[npt.NDArray[Any]], threshold: float, size: tuple[int, int]
) -> Iterator[ReferenceInstance | None]:
    """Yield instances from the other families' results: rows [n, 6], counts [1], masks [n, height, width]."""
    rows, counts, masks = results
    for row, mask in zip(rows[: int(counts[0])], masks, strict=False):
        if row[1] > threshold and row[0] > -1:
            yield _instance(row, mask, size)


def _instance(row: npt.NDArray[Any], mask: npt.NDArray[Any], size: tuple[int, int]) -> ReferenceInstance | None:
    """Clip and crop one row (class, score, x0, y0, x1, y1) as PaddleX does; return None for an empty box."""
    height, width = size
    x0, y0, x1, y1 = max(0, row[2]), max(0, row[3]), min(width, row[4]), min(height, row[5])
    if x1 <= x0 or y1 <= y0:
        return None
    left, top, right, bottom = (int(np.rint(side)) for side in (x0, y0, x1, y1))
    crop = mask[top:bottom, left:right]
    return ReferenceInstance(
        int(row[0]), float(row[1]), (float(x0), float(y0), float(x1), float(y1)), (crop > 0.5).astype(np.uint8)
    )


def open_reference(path: Path, *, threads: int = 2) -> Reference:
    """Return the reference of a folder given by its path."""
    return Reference(PaddleFolder.open(path, named=False), threads=threads)
