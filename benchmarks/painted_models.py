"""The masks of real cores, painted in every way there is: are they the same, and what does each cost.

    python -m benchmarks.painted_models ENTRY ... --photos PHOTO_OR_DIRECTORY ... [--large PHOTO]

An entry is a folder that `maskserve convert --layout single` wrote. Each core answers each photo once. Its instances
are then painted pixel by pixel with the arithmetic of Paddle (the oracle of the tests), pixel by pixel as the server
did before it had run lengths, as run lengths in numpy, and as run lengths in the compiled library. The masks are
compared as COCO's strings, byte for byte; the pixels of those that differ are counted. Times are those of one thread's
processor time, all ways one after the other for each photo. `--large` adds a photo, stretched to 4000x3000.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The environment comes before the imports that read it.
# ruff: noqa: E402
for _library in ("OPENBLAS", "MKL", "OMP"):  # before numpy is imported: one thread, whose time is the work
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import cv2
import numpy as np
from tests.server import painters

from maskserve import contract
from maskserve.masks import encode_crop
from maskserve_server.families import Selection, load_family, mask_rcnn, mask_rt_detr, pp_yoloe_seg, solov2
from maskserve_server.families.base import Detections
from maskserve_server.painting import once, pasted, runs, twice
from maskserve_server.painting.compiled.library import loaded
from maskserve_server.painting.groups import Steps
from maskserve_server.painting.runs import encode_runs
from maskserve_server.painting.twice import Part
from maskserve_server.painting.windows import Window, area, crop_windows
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import CORE_THRESHOLD, Core, feeds

LARGE = (4000, 3000)
ORACLE, FORMER, NUMPY, COMPILED = "oracle", "former", "numpy", "compiled"
HEADER = """\
| model | image | photos | masks | compiled: differ | numpy: differ | former: differ | their pixels, of all \
| former, ms | numpy, ms | compiled, ms | former / compiled |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""
_PAINTING: tuple[Any, ...] = (once, pasted, runs, twice)
Mask = painters.Mask
Paint = Callable[[], list[bytes]]


def once_in_pixels(paint: Callable[..., Mask]) -> Callable[..., list[Mask]]:
    """Return the counterpart of `paint_once`, which returns masks."""
    return lambda samples, indices, size, windows, threshold: [
        paint(samples[index], size, window, threshold) for index, window in zip(indices, windows, strict=True)
    ]


def pasted_in_pixels(paint: Callable[..., Mask]) -> Callable[..., list[Mask]]:
    """Return the counterpart of `paste`, which returns masks."""
    return lambda masks, boxes, windows, threshold: [
        paint(*one, threshold) for one in zip(masks, boxes, windows, strict=True)
    ]


def twice_in_pixels(parts: Sequence[Part], rows: Steps, columns: Steps, windows: list[Window], limit: float) -> Any:
    """Return masks, as `paint_twice` returns run lengths."""
    sizes = [(getattr(rows, name), getattr(columns, name)) for name in ("enlarged", "visible", "image")]
    return [
        painters.paint_twice(_whole(part, rows, columns), sizes[0], part.crop, sizes[1], size=sizes[2], window=w,
                             threshold=limit)
        for part, w in zip(parts, windows, strict=True)
    ]  # fmt: skip


def enlarged_with_cv2(parts: Sequence[Part], rows: Steps, columns: Steps, windows: list[Window], limit: float) -> Any:
    """Return SOLOv2's masks, as `paint_twice` returns run lengths, in the former way."""
    by, visible, size = rows.enlarged // rows.samples, (rows.visible, columns.visible), (rows.image, columns.image)
    return [
        painters.paint_enlarged(_whole(part, rows, columns), by, visible, size=size, window=w, threshold=limit)
        for part, w in zip(parts, windows, strict=True)
    ]


def _whole(part: Part, rows: Steps, columns: Steps) -> painters.Floats:
    """Return all samples of a mask: nothing depends on those that are not in the part."""
    whole = np.zeros((rows.samples, columns.samples), np.float32)
    height, width = part.samples.shape
    whole[part.top : part.top + height, part.left : part.left + width] = part.samples
    return whole


# By family: its module, the function there that paints, and its counterparts: with Paddle's arithmetic, and as it was.
PIXELS: dict[str, tuple[Any, str, Callable[..., Any], Callable[..., Any]]] = {
    mask_rt_detr.MaskRTDETR.name: (
        mask_rt_detr,
        "paint_once",
        once_in_pixels(painters.paint_window),
        once_in_pixels(painters.paint_window_with_cv2),
    ),
    mask_rcnn.MaskRCNN.name: (
        mask_rcnn,
        "paste",
        pasted_in_pixels(painters.paste),
        pasted_in_pixels(painters.paste_with_matrices),
    ),
    pp_yoloe_seg.PPYOLOESeg.name: (pp_yoloe_seg, "paint_twice", twice_in_pixels, twice_in_pixels),
    solov2.SOLOv2.name: (solov2, "paint_twice", twice_in_pixels, enlarged_with_cv2),
}


@dataclass
class Tally:
    """What came out for a model, photo by photo.

    Attributes:
        masks: how many were compared.
        pixels: in the windows of these.
        differ: by the way, how many masks are not the oracle's.
        differing: pixels of the former way's masks that are not the oracle's.
        times: by the way, milliseconds for an instance, photo by photo.
    """

    photos: int = 0
    masks: int = 0
    pixels: int = 0
    differ: dict[str, int] = field(default_factory=lambda: dict.fromkeys((COMPILED, NUMPY, FORMER), 0))
    differing: int = 0
    times: dict[str, list[float]] = field(default_factory=lambda: {FORMER: [], NUMPY: [], COMPILED: []})

    def text(self, name: str, image: str) -> str:
        """Return a line of the table."""
        counted = [f"{self.differ[way]:,}" for way in (COMPILED, NUMPY, FORMER)]
        share = f"{self.differing:,} of {self.pixels:,}"
        cells = " | ".join([f"{self.photos}", f"{self.masks:,}", *counted, share])
        if not self.masks:
            return f"| {name} | {image} | {cells} | | | | |"
        former, numpy, compiled = (statistics.median(self.times[way]) for way in (FORMER, NUMPY, COMPILED))
        return f"| {name} | {image} | {cells} | {former:.3f} | {numpy:.3f} | {compiled:.3f} | {former / compiled:.1f} |"


@contextmanager
def replaced(modules: Sequence[Any], name: str, value: object) -> Iterator[None]:
    """Let modules have another function for a while."""
    before = [getattr(module, name) for module in modules]
    for module in modules:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, function in zip(modules, before, strict=True):
            setattr(module, name, function)


class Painted:
    """An image's instances, to be painted in each way.

    Args:
        family: the name.
        found: what the core found.
        size: height and width of the image.
    """

    def __init__(self, family: str, found: Detections, size: tuple[int, int]) -> None:
        self._found, self._size = found, size
        self._module, self._name, *self._in_pixels = PIXELS[family]
        if callable(found.boxes):
            self.windows = found.boxes(size)
        else:
            self.windows = crop_windows(np.clip(found.boxes, 0, np.tile(size[::-1], 2)), size)

    def ways(self) -> dict[str, Paint]:
        """Return what paints and encodes, by the way."""
        return {
            ORACLE: lambda: self._encoded(self.masks(ORACLE)),
            FORMER: lambda: self._encoded(self.masks(FORMER)),
            NUMPY: self._numpy,
            COMPILED: self._runs,
        }

    def masks(self, way: str) -> list[Mask]:
        """Return the masks inside of their windows."""
        with replaced([self._module], self._name, self._in_pixels[way == FORMER]):
            return self._paint()

    def _paint(self) -> Any:
        return self._found.paint(range(len(self.windows)), self._size, self.windows)

    def _runs(self) -> list[bytes]:
        return encode_runs(self._paint(), self.windows)

    def _numpy(self) -> list[bytes]:
        with replaced(_PAINTING, "loaded", lambda: None):
            return self._runs()

    def _encoded(self, masks: list[Mask]) -> list[bytes]:
        return [encode_crop(m) if area(w) else b"" for m, w in zip(masks, self.windows, strict=True)]

    def add_to(self, tally: Tally) -> None:
        """Compare the masks of every way, and count."""
        tally.photos += 1
        if not self.windows:
            return
        answers: dict[str, list[bytes]] = {}
        for way, paint in self.ways().items():
            start = time.thread_time()
            answers[way] = paint()
            if way in tally.times:
                tally.times[way].append(1000 * (time.thread_time() - start) / len(self.windows))
        tally.masks += len(self.windows)
        tally.pixels += sum(map(area, self.windows))
        for way in tally.differ:
            tally.differ[way] += sum(a != b for a, b in zip(answers[ORACLE], answers[way], strict=True))
        if answers[ORACLE] != answers[FORMER]:
            pairs = zip(self.masks(ORACLE), self.masks(FORMER), strict=True)
            tally.differing += sum(int((a != b).sum()) for a, b in pairs)


class Model:
    """An entry's core and family."""

    def __init__(self, entry: Path, threshold: float) -> None:
        directory = entry / "1"
        self._spec, self._threshold = ModelSpec.read(directory), threshold
        self._core = Core(self._spec, directory, threads=len(os.sched_getaffinity(0)))
        self._family = load_family(self._spec.family, self._spec.settings)
        self._prepare = Preprocessor(self._spec.preprocess)

    def answer(self, image: np.ndarray[Any, np.dtype[np.uint8]]) -> Painted:
        """Run the network on an image, uint8 [height, width, 3] BGR."""
        prepared = self._prepare(image)
        asked = {contract.THRESHOLD: np.array([self._threshold], np.float32)}
        outputs = self._core({**feeds(prepared), **(asked if CORE_THRESHOLD in self._spec.core.inputs else {})})
        found = self._family.detect(outputs, prepared.scale_factor[0], Selection(self._threshold))
        return Painted(self._spec.family, found, prepared.size)


def main() -> None:
    """Print the table; exit with 1 where a mask of today's ways is not the oracle's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="+", type=Path, metavar="ENTRY")
    parser.add_argument("--photos", nargs="+", type=Path, required=True, help="files, and directories of JPEG files")
    parser.add_argument("--large", type=Path, help="a photo that is stretched to 4000x3000")
    parser.add_argument("--threshold", type=float, default=0.05, help="(default: %(default)s)")
    options = parser.parse_args()
    if loaded() is None:
        parser.error("there is no compiled library: python -m maskserve_server.painting.compiled.build")
    cv2.setNumThreads(1)
    photos = [file for path in options.photos for file in (sorted(path.glob("*.jpg")) if path.is_dir() else [path])]
    images = {"as they are": [cv2.imread(str(photo)) for photo in photos]}
    if options.large:
        images["4000x3000"] = [cv2.resize(cv2.imread(str(options.large)), LARGE)]
    wrong = 0
    print(HEADER, flush=True)
    for entry in options.entries:
        model = Model(entry, options.threshold)
        for size, some in images.items():
            tally = Tally()
            for image in some:
                model.answer(image).add_to(tally)
            print(tally.text(entry.name, size), flush=True)
            wrong += tally.differ[COMPILED] + tally.differ[NUMPY]
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
