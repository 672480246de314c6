"""The three stages of a served model as plain calls on arrays; Triton's part is in `triton.py` and the adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskserve import contract
from maskserve.decoding.decode import jpeg_size
from maskserve.decoding.decoders import Decoder, open_decoder
from maskserve.errors import InvalidImage, InvalidParameter
from maskserve_server import bounds
from maskserve_server.engines import Engine, load_engine
from maskserve_server.entry_parameters import NO_WARM_UP, WARM_UP
from maskserve_server.families import load_family
from maskserve_server.families.base import PREPARED_SIZE, Selection
from maskserve_server.postprocess import Instances, postprocess, selection
from maskserve_server.preprocess import Prepared, Preprocessor
from maskserve_server.spec import REDUCED, ModelSpec
from maskserve_server.steps import padded_size, read_steps

# Of one request, each counted as often as it is named: a list of millions would hold up everybody's requests.
MAX_CLASS_IDS = 10_000

Inputs = Mapping[str, npt.NDArray[Any] | None]
Arrays = dict[str, npt.NDArray[Any]]
Stage = Callable[[Inputs], Arrays]

# Names of the tensors between the stages; the first three are Paddle's own.
IMAGE_TENSOR = "image"
IM_SHAPE = "im_shape"
SCALE_FACTOR = "scale_factor"
# Some cores read the request's score threshold: float32 [1, 1].
CORE_THRESHOLD = "threshold"


class Preprocess:
    """IMAGE to the network's inputs, and the original image's size.

    What else a request asks for is checked first: a threshold that makes no sense costs no run of the network. Where
    the core reads a threshold, THRESHOLD becomes that input, too: a core in one of Triton's C++ backends does not know
    the default.

    Args:
        spec: the model.
        decoder: what decodes images; None for processes of its own, so that an image cannot end this one.
    """

    inputs = (contract.IMAGE, contract.THRESHOLD, contract.CLASS_IDS)

    def __init__(self, spec: ModelSpec, decoder: Decoder | None = None) -> None:
        cv2.setNumThreads(1)  # the core's engine needs the cores more
        self._decoder = decoder or open_decoder(spec.limits)
        self._prepare = Preprocessor(spec.preprocess)
        self._default, self._classes = spec.draw_threshold, spec.classes
        self._core_takes_threshold = CORE_THRESHOLD in spec.core.inputs
        self._limits, self._reduced = spec.limits, spec.decode == REDUCED

    def check(self, inputs: Inputs) -> None:
        """Check the threshold and the class ids.

        Raises:
            InvalidParameter: one of them makes no sense.
        """
        wanted_of(inputs, self._default, self._classes)

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        wanted = wanted_of(inputs, self._default, self._classes)
        content = _encoded(inputs[contract.IMAGE])
        size = jpeg_size(content, self._limits) if self._reduced else None
        with self._decoder.lend(content, None if size is None else self._prepare.resized(size)) as pixels:
            prepared = self._prepare(pixels, size)
        arrays = {**feeds(prepared), contract.IMAGE_SIZE: np.array(prepared.size, np.int32)}
        if self._core_takes_threshold:
            arrays[CORE_THRESHOLD] = np.array([[wanted.threshold]], np.float32)
        return arrays


class Core:
    """The network's inputs to the tensors at the cut.

    Args:
        spec: the model.
        directory: the version directory, where the core's file is.
        threads: how many CPU threads one run may use.
        streams: how many of its twins, itself included, run at the same time.
    """

    def __init__(self, spec: ModelSpec, directory: Path, *, threads: int, streams: int = 1) -> None:
        self._attach(spec, load_engine(spec.core, directory, threads=threads, streams=streams))
        if os.environ.get(WARM_UP) != NO_WARM_UP:
            self.warm_up(spec)

    @classmethod
    def on(cls, spec: ModelSpec, engine: Engine) -> Core:
        """Return the core of a model on an engine that has loaded it."""
        core = cls.__new__(cls)
        core._attach(spec, engine)
        return core

    def twin(self) -> Core:
        """Return a core that may run at the same time, with outputs of its own."""
        other = copy(self)
        other._run = self._run.twin()
        return other

    def warm_up(self, spec: ModelSpec) -> None:
        """Run once on a black image: the first run compiles and allocates, better now than in somebody's request."""
        if min(spec.core.image_shape) > 0:
            height, width = spec.core.image_shape[1:]
            black = feeds(Preprocessor(spec.preprocess)(np.zeros((height, width, 3), np.uint8)))
            self({**black, contract.THRESHOLD: np.zeros(1, np.float32)})

    def _attach(self, spec: ModelSpec, engine: Engine) -> None:
        takes_threshold = CORE_THRESHOLD in spec.core.inputs
        self.inputs = tuple(contract.THRESHOLD if name == CORE_THRESHOLD else name for name in spec.core.inputs)
        self._default = np.array([[spec.draw_threshold]], np.float32) if takes_threshold else None
        self._largest = bounds.largest_image(read_steps(spec.preprocess), spec.core.image_shape)
        self._run = engine

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        arrays = {name: array for name, array in inputs.items() if array is not None}
        bounds.check_image(arrays[IMAGE_TENSOR], self._largest)
        if self._default is not None:
            asked = arrays.get(contract.THRESHOLD, self._default)
            arrays[CORE_THRESHOLD] = np.array([[_single(asked)]], np.float32)
        return self._run(arrays)


class Postprocess:
    """The tensors at the cut to instances."""

    def __init__(self, spec: ModelSpec) -> None:
        cv2.setNumThreads(1)
        self._family = load_family(spec.family, spec.settings)
        self._steps = read_steps(spec.preprocess)
        self._default, self._classes = spec.draw_threshold, spec.classes
        self._max_pixels = spec.limits.max_pixels
        self.inputs = (
            *self._family.outputs,
            SCALE_FACTOR,
            contract.IMAGE_SIZE,
            contract.THRESHOLD,
            contract.CLASS_IDS,
        )

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        wanted = wanted_of(inputs, self._default, self._classes)
        arrays = {name: array for name, array in inputs.items() if array is not None}
        height, width = bounds.checked_size(arrays[contract.IMAGE_SIZE], self._max_pixels)
        scale_factor = bounds.checked_scale(arrays[SCALE_FACTOR], (height, width))
        bounds.check_outputs({name: arrays[name] for name in self._family.outputs}, batched=self._family.batched)
        resized = np.rint(np.multiply((height, width), scale_factor)).astype(int).tolist()
        arrays[PREPARED_SIZE] = np.array(padded_size(self._steps, *resized), np.int32)
        return _columns(postprocess(self._family, arrays, scale_factor, (height, width), wanted))


class Single:
    """All three stages in one process: IMAGE to instances.

    Args:
        spec: the model.
        directory: the version directory, where the core's file is.
        threads: how many CPU threads one run may use.
        decoder: see `Preprocess`.
        on_run: called after each run of the network.
        streams: how many of its twins, itself included, run at the same time.
    """

    inputs = (contract.IMAGE, contract.THRESHOLD, contract.CLASS_IDS)

    def __init__(
        self,
        spec: ModelSpec,
        directory: Path,
        *,
        threads: int,
        decoder: Decoder | None = None,
        on_run: Callable[[], None] = lambda: None,
        streams: int = 1,
    ) -> None:
        self._preprocess = Preprocess(spec, decoder)
        self._core, self._on_run = Core(spec, directory, threads=threads, streams=streams), on_run
        self._postprocess = Postprocess(spec)

    def twin(self) -> Single:
        """Return the same on the same loaded core, which may run at the same time."""
        other = copy(self)
        other._core = self._core.twin()
        return other

    def check(self, inputs: Inputs) -> None:
        """See `Preprocess.check`."""
        self._preprocess.check(inputs)

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        arrays = {**inputs, **self._preprocess(inputs)}
        outputs = self._core(arrays)
        self._on_run()
        return self._postprocess({**arrays, **outputs})


def _encoded(image: npt.NDArray[Any] | None) -> bytes:
    if image is None or image.size != 1:
        raise InvalidImage("a request carries exactly one image")
    return bytes(image.reshape(-1)[0])


def wanted_of(inputs: Inputs, default: float, classes: int | None) -> Selection:
    """Return what a request asks for; for the other arguments see `maskserve_server.postprocess.selection`.

    Raises:
        InvalidParameter: it makes no sense.
    """
    threshold, class_ids = inputs.get(contract.THRESHOLD), inputs.get(contract.CLASS_IDS)
    if class_ids is not None and class_ids.size > MAX_CLASS_IDS:
        raise InvalidParameter(f"a request names at most {MAX_CLASS_IDS} class ids, not {class_ids.size}")
    return selection(
        None if threshold is None else _single(threshold),
        None if class_ids is None else class_ids.reshape(-1).tolist(),
        default=default,
        classes=classes,
    )


def _single(threshold: npt.NDArray[Any]) -> float:
    if threshold.size != 1:
        raise InvalidParameter(f"a request carries one threshold, not {threshold.size}")
    return float(threshold.reshape(-1)[0])


def feeds(prepared: Prepared) -> Arrays:
    """Return the network's inputs by their names."""
    return {
        IMAGE_TENSOR: prepared.image,
        IM_SHAPE: prepared.im_shape,
        SCALE_FACTOR: prepared.scale_factor,
    }


def _columns(instances: Instances) -> Arrays:
    return {
        contract.BOXES: instances.boxes,
        contract.SCORES: instances.scores,
        contract.LABELS: instances.labels,
        contract.MASKS: np.array(instances.masks, np.object_),
        contract.MASK_BOXES: instances.mask_boxes,
        contract.IMAGE_SIZE: np.array(instances.size, np.int32),
    }
