"""The three stages of a served model as plain calls on arrays; Triton's part is in `triton.py` and the adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskserve import contract
from maskserve.errors import InvalidImage, InvalidParameter
from maskserve_server.decode import decode
from maskserve_server.engines import load_engine
from maskserve_server.families import load_family
from maskserve_server.postprocess import Instances, postprocess, selection
from maskserve_server.preprocess import Prepared, Preprocessor
from maskserve_server.spec import ModelSpec

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

    Where the core reads a threshold, THRESHOLD becomes that input, too: a core in one of Triton's C++ backends does not
    know the default.
    """

    def __init__(self, spec: ModelSpec) -> None:
        cv2.setNumThreads(1)  # the core's engine needs the cores more
        self._limits = spec.limits
        self._prepare = Preprocessor(spec.preprocess)
        self._default = spec.draw_threshold if CORE_THRESHOLD in spec.core.inputs else None
        self.inputs = (contract.IMAGE,) if self._default is None else (contract.IMAGE, contract.THRESHOLD)

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        prepared = self._prepare(decode(_encoded(inputs[contract.IMAGE]), self._limits))
        arrays = {**feeds(prepared), contract.IMAGE_SIZE: np.array(prepared.size, np.int32)}
        if self._default is not None:
            asked = inputs.get(contract.THRESHOLD)
            wanted = selection(None if asked is None else _single(asked), None, default=self._default, classes=0)
            arrays[CORE_THRESHOLD] = np.array([[wanted.threshold]], np.float32)
        return arrays


class Core:
    """The network's inputs to the tensors at the cut.

    Args:
        spec: the model.
        directory: the version directory, where the core's file is.
        threads: how many CPU threads one run may use.
    """

    def __init__(self, spec: ModelSpec, directory: Path, *, threads: int) -> None:
        takes_threshold = CORE_THRESHOLD in spec.core.inputs
        self.inputs = tuple(contract.THRESHOLD if name == CORE_THRESHOLD else name for name in spec.core.inputs)
        self._default = np.array([[spec.draw_threshold]], np.float32) if takes_threshold else None
        self._run = load_engine(spec.core, directory, threads=threads)
        if min(spec.core.image_shape) > 0:
            # The first run compiles and allocates: better now than in somebody's request.
            height, width = spec.core.image_shape[1:]
            self(feeds(Preprocessor(spec.preprocess)(np.zeros((height, width, 3), np.uint8))))

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        arrays = {name: array for name, array in inputs.items() if array is not None}
        if self._default is not None:
            asked = arrays.get(contract.THRESHOLD, self._default)
            arrays[CORE_THRESHOLD] = np.array([[_single(asked)]], np.float32)
        return self._run(arrays)


class Postprocess:
    """The tensors at the cut to instances."""

    def __init__(self, spec: ModelSpec) -> None:
        cv2.setNumThreads(1)
        self._family = load_family(spec.family, spec.settings)
        self._default, self._classes = spec.draw_threshold, len(spec.labels)
        self.inputs = (
            *self._family.outputs,
            SCALE_FACTOR,
            contract.IMAGE_SIZE,
            contract.THRESHOLD,
            contract.CLASS_IDS,
        )

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        threshold, class_ids = inputs[contract.THRESHOLD], inputs[contract.CLASS_IDS]
        wanted = selection(
            None if threshold is None else _single(threshold),
            None if class_ids is None else class_ids.tolist(),
            default=self._default,
            classes=self._classes,
        )
        arrays = {name: array for name, array in inputs.items() if array is not None}
        height, width = arrays[contract.IMAGE_SIZE].tolist()
        scale_factor = arrays[SCALE_FACTOR][0]
        return _columns(postprocess(self._family, arrays, scale_factor, (height, width), wanted))


class Single:
    """All three stages in one process: IMAGE to instances."""

    inputs = (contract.IMAGE, contract.THRESHOLD, contract.CLASS_IDS)

    def __init__(self, spec: ModelSpec, directory: Path, *, threads: int) -> None:
        self._preprocess = Preprocess(spec)
        self._core = Core(spec, directory, threads=threads)
        self._postprocess = Postprocess(spec)

    def __call__(self, inputs: Inputs) -> Arrays:
        """See `Stage`."""
        arrays = {**inputs, **self._preprocess(inputs)}
        return self._postprocess({**arrays, **self._core(arrays)})


def _encoded(image: npt.NDArray[Any] | None) -> bytes:
    if image is None or image.size != 1:
        raise InvalidImage("a request carries exactly one image")
    return bytes(image.reshape(-1)[0])


def _single(threshold: npt.NDArray[Any]) -> float:
    if threshold.size != 1:
        raise InvalidParameter(f"a request carries one threshold, not {threshold.size}")
    return float(threshold.reshape(-1)[0])


def feeds(prepared: Prepared) -> Arrays:
    """The network's inputs by their names."""
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
