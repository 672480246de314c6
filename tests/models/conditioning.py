"""Rules that turn seeded noise into weights that treat rounding as trained weights do.

The rules look at a tensor's name, shape and place in the graph, never at the model's name. They change values only: the
graph, the names and the shapes stay. Each rule removes one property that random weights have and trained ones have not.

* Batch normalisation in front of an activation gets a bias of `OPENNESS`. A unit of a random network is closed for half
  of its inputs. Each such layer then makes a small difference 1.2 times as large relative to the signal, which over 100
  layers makes a rounding error as large as the signal. With this bias a unit is closed for one input in forty, and the
  factor is 1.004. The statistics are measured again afterwards, see `normalisation.py`.
* The class head of Mask-RT-DETR is spread, and its bias follows, so that tens of scores lie around 0.3 to 0.5.
* The bias of SOLOv2's class head is raised for the same reason.
* The mask head of an R-CNN is smoothed: its 3x3 kernels are blurred, and its deconvolution repeats a value instead of
  drawing four. What it paints is smooth then, not noise of single cells. Where the head has 3x3 kernels it also gets a
  sense of the middle, see `_add_middle`: its masks are blobs, and few are empty or full.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from tests.models.make_models import Array, Tensor, Weights

OPENNESS = 2.0
CLASSES = 80  # COCO's
# Mask-RT-DETR: how far the class scores are spread, and at how many deviations of the class weights they are centred.
# The inputs are layer-normalised to 256 values of deviation 1; the best class of a query lies some 46 deviations up.
SPREAD, CENTRE = 3.0, 43.0
# SOLOv2: by how much the logits of its class scores rise.
RAISE = 2.5
# R-CNN: the share of the seeded kernels behind the head's first, the level of a blob's border, the weight of the blob.
NOISE, BORDER, BLOB = 0.25, 0.78, 4.0
_BLUR = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16


def condition(tensors: Sequence[Tensor], weights: Weights, activated: Collection[str]) -> Weights:
    """Return the well-conditioned weights, in the same order.

    Args:
        tensors: the recipe's tensors.
        weights: their values.
        activated: names of batch normalisation biases whose result goes into an activation alone.
    """
    changed = dict(weights)
    for name in activated:
        changed[name] = _float32(weights[name]) + np.float32(OPENNESS)
    if any(one.layer.startswith("multi_head_attention") for one in tensors):
        _spread_scores(tensors, changed)
    if any(_is_linear(one, CLASSES + 1) for one in tensors):
        _smooth_masks(tensors, changed)
    shared_head = [one for one in tensors if one.shape[:1] == [CLASSES] and one.shape[2:] == [3, 3]]
    if len(shared_head) == 1 and not any(one.layer.startswith("linear_") for one in tensors):
        (bias,) = (one for one in tensors if one.layer == shared_head[0].layer and one.is_bias)
        changed[bias.name] = _float32(weights[bias.name]) + np.float32(RAISE)
    return changed


def _spread_scores(tensors: Sequence[Tensor], weights: Weights) -> None:
    """Spread the class scores of Mask-RT-DETR, and centre them."""
    (head,) = (one for one in tensors if _is_linear(one, CLASSES))
    (bias,) = (one for one in tensors if one.layer == head.layer and one.is_bias)
    deviation = float(np.std(_float32(weights[head.name])))
    weights[head.name] = _float32(weights[head.name]) * np.float32(SPREAD)
    weights[bias.name] = np.full(bias.shape, -SPREAD * CENTRE * deviation, np.float32)


def _smooth_masks(tensors: Sequence[Tensor], weights: Weights) -> None:
    """Smooth the mask head of an R-CNN, and balance it.

    The head stands behind the last linear layer. Its kernels sum to zero over the input channels, which have a positive
    mean: otherwise that mean decides, and a mask is all ones or all zeros.
    """
    last_linear = max(one.position for one in tensors if one.layer.startswith("linear_"))
    kernels = [one for one in tensors if one.position > last_linear and not one.is_bias and len(one.shape) == 4]
    for one in kernels:
        kernel = _float32(weights[one.name])
        if one.layer.startswith("conv2d_transpose"):  # [in, out, 2, 2]
            kernel = np.broadcast_to(kernel[:, :, :1, :1], kernel.shape)
            weights[one.name] = kernel - kernel.mean(0, keepdims=True)
        elif one.layer.startswith("conv2d"):  # [out, in, height, width]
            kernel = blurred(kernel) if one.shape[2:] == [3, 3] else kernel
            weights[one.name] = kernel - kernel.mean(1, keepdims=True)
    head = _mask_head(kernels)
    if len(head) > 3:
        _add_middle([one.name for one in head], weights)


def _mask_head(kernels: Sequence[Tensor]) -> list[Tensor]:
    """Return the kernels of an R-CNN's mask head in order: 3x3 ones, the deconvolution, the predictor.

    Args:
        kernels: those that the exporter numbered after the last linear layer; Cascade's pyramid is among them.
    """
    layers = {one.layer: one for one in kernels}
    (deconvolution,) = (one for one in kernels if one.layer.startswith("conv2d_transpose"))
    predictor = max((one for one in kernels if one.shape[2:] == [1, 1]), key=lambda one: one.position)
    head, number = [deconvolution, predictor], int(predictor.layer.removeprefix("conv2d_"))
    while (before := layers.get(f"conv2d_{(number := number - 1)}")) and before.shape[2:] == [3, 3]:
        head.insert(0, before)
    return head


def _add_middle(names: Sequence[str], weights: Weights) -> None:
    """Let an R-CNN's mask head tell the middle of a box from its border, as a trained one does.

    The first layer stays; its outputs are positive, as large as the features are. In the layers behind it the channels
    of even numbers hand the mean of their kind on, and those of odd numbers blur it. Blurring loses at the border,
    where a convolution is padded with zeros. The predictor paints where the blurred mean is more than `BORDER` of the
    other: a blob, whatever the size of the features. The seeded kernels bend it, for each class otherwise.

    Args:
        names: the head's kernels, in the order of its layers; the last is the predictor's.
        weights: all weights; those of the kernels are changed.
    """
    for name in names[1:-1]:
        kernel = _float32(weights[name])
        even = np.arange(kernel.shape[0]) % 2 == 0
        mean = np.equal.outer(even, even).astype(np.float32) * np.float32(2 / len(even))
        added = np.broadcast_to(mean[:, :, None, None], kernel.shape).copy()
        if kernel.shape[2:] == (3, 3):
            added[~even] /= 9
            added[even] *= np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)
        weights[name] = np.float32(NOISE) * kernel + added
    predictor = _float32(weights[names[-1]])
    even = np.arange(predictor.shape[1]) % 2 == 0
    blob = np.where(even, -BORDER, 1).astype(np.float32) * np.float32(2 * BLOB / len(even))
    weights[names[-1]] = predictor + blob[None, :, None, None]


def blurred(kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return half of a 3x3 kernel, and its sum spread by a binomial filter: kernels [out, in, 3, 3], float32."""
    spread: npt.NDArray[np.float32] = kernel.sum((2, 3), keepdims=True) * _BLUR
    return np.float32(0.5) * kernel + np.float32(0.7) * spread


def _is_linear(one: Tensor, outputs: int) -> bool:
    return one.layer.startswith("linear_") and not one.is_bias and len(one.shape) == 2 and one.shape[1] == outputs


def _float32(array: Array) -> npt.NDArray[np.float32]:
    return array.astype(np.float32, copy=False)
