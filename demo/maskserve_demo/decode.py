"""From the network's raw maps to a Mask-RT-DETR-like result, with plain tensor operations of static shape.

Everything is batch first and nothing depends on the number of people, so a converted model can be cut and batched.
Coordinates inside are fractions of the image; B is the batch, L the number of locations, S the input's side.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional

from . import layout
from .network import PeopleNet

CANDIDATES = 200  # best locations that enter duplicate removal by box
PEOPLE = 50  # rows per image (N)
BOX_OVERLAP = 0.7  # boxes that overlap more than this are one person's
MASK_OVERLAP = 0.5  # masks likewise; people who stand in front of each other share boxes more than masks
SMOOTHING = 5  # side of the averaging window for masks, feature pixels
CERTAIN = 2.0  # logits beyond this count as this in the average
SMALL, LARGE = 0.2, 0.45  # shorter box sides (fractions of the image) between which averaging fades in
ROUNDS = 5  # of parallel suppression; chains of that many overlapping candidates come out as greedy NMS would


def locations(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres [L, 2] (x, y) of all locations and the unit [L, 1] of their box distances, as fractions of the image."""
    centres, units = [], []
    for stride in layout.STRIDES:
        axis = (np.arange(size // stride, dtype=np.float32) + 0.5) * stride / size
        x, y = np.meshgrid(axis, axis)
        centres.append(np.stack([x.ravel(), y.ravel()], 1))
        units.append(np.full((axis.size**2, 1), stride * layout.BOX_UNIT / size, np.float32))
    return np.concatenate(centres).astype(np.float32), np.concatenate(units)


def pixel_grid(size: int) -> np.ndarray:
    """Centres [2, h*w] (x row, y row) of the mask feature pixels, as fractions of the image."""
    side = size // layout.MASK_STRIDE
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()]).astype(np.float32)


def gather_rows(values: list[Tensor], index: Tensor, count: int) -> list[Tensor]:
    """Rows `index` [B, count] of each [B, L, ...] tensor."""
    batch = paddle.arange(paddle.shape(index)[0], dtype="int64")
    pairs = paddle.stack([paddle.tile(batch.unsqueeze(-1), [1, count]), index], axis=-1)
    return [paddle.gather_nd(value, pairs) for value in values]


def box_overlap(boxes: Tensor) -> Tensor:
    """Intersection over union [B, K, K] of boxes [B, K, 4]."""
    x1, y1, x2, y2 = (boxes[:, :, i : i + 1] for i in range(4))

    def across(x: Tensor) -> Tensor:
        return paddle.transpose(x, [0, 2, 1])

    width = functional.relu(paddle.minimum(x2, across(x2)) - paddle.maximum(x1, across(x1)))
    height = functional.relu(paddle.minimum(y2, across(y2)) - paddle.maximum(y1, across(y1)))
    area = (x2 - x1) * (y2 - y1)
    shared = width * height
    return shared / (area + across(area) - shared + 1e-9)


def mask_overlap(logits: Tensor) -> Tensor:
    """Intersection over union [B, K, K] of masks given as logits [B, K, pixels]."""
    masks = (logits > 0).astype("float32")
    shared = paddle.bmm(masks, paddle.transpose(masks, [0, 2, 1]))
    area = masks.sum(-1, keepdim=True)
    return shared / (area + paddle.transpose(area, [0, 2, 1]) - shared + 1e-3)


def earlier_rows(count: int) -> Tensor:
    """[1, count, count] with 1 where the column's candidate comes before (has a better score than) the row's."""
    return paddle.to_tensor(np.tril(np.ones((1, count, count), np.float32), -1))


def survivors(overlap: Tensor, limit: float, earlier: Tensor) -> Tensor:
    """1 for candidates (sorted by score) that no better surviving one overlaps, else 0: [B, K].

    Greedy suppression goes one by one; here every round looks at all of them at once and settles at least
    one more link of each chain, so a few rounds give the greedy answer without a loop over candidates.
    """
    rivals = (overlap > limit).astype("float32") * earlier
    kept = (rivals.sum(-1, keepdim=True) < 0.5).astype("float32")
    for _ in range(ROUNDS - 1):
        kept = (paddle.bmm(rivals, kept) < 0.5).astype("float32")
    return kept.squeeze(-1)


def demote(scores: Tensor, kept: Tensor) -> Tensor:
    """Duplicates keep a hundredth of their score: out of sight, yet in a defined order."""
    return scores * (kept * 0.99 + 0.01)


class Decoder(nn.Layer):  # type: ignore[misc]
    """Raw maps to the PEOPLE best rows: scores [B, N] descending, boxes [B, N, 4], mask logits [B, N, h, w]."""

    def __init__(self, size: int, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift  # of the score logits, see calibrate.py
        centres, units = locations(size)
        self.side = size // layout.MASK_STRIDE
        # Buffers go into the weight file; plain constants would be spelt out in the program's JSON.
        self.register_buffer("centres", paddle.to_tensor(centres[None]))
        self.register_buffer("units", paddle.to_tensor(units[None]))
        self.register_buffer("grid", paddle.to_tensor(pixel_grid(size)[None]))
        self.register_buffer("earlier_candidates", earlier_rows(CANDIDATES))
        self.register_buffer("earlier_people", earlier_rows(PEOPLE))

    def boxes(self, distances: Tensor) -> Tensor:
        """Corner boxes [B, L, 4] from logarithms of the distances to the four sides."""
        reach = paddle.exp(paddle.clip(distances, -6.0, 4.0)) * self.units
        corner = paddle.concat([self.centres - reach[:, :, :2], self.centres + reach[:, :, 2:]], -1)
        return paddle.clip(corner, 0.0, 1.0)

    def paint(self, kernels: Tensor, boxes: Tensor, features: Tensor) -> Tensor:
        """Mask logits [B, N, pixels]: each row's own three-layer network over features and position.

        The first layer is linear in the position, so the person's frame (box centre and size) moves into its
        weights; all rows then share one input and the layer is one product.
        """
        rows = kernels.shape[1]
        first, bias1, second, bias2, third, bias3 = paddle.split(kernels, list(layout.KERNEL_PARTS), axis=-1)
        first = first.reshape([-1, rows, layout.HIDDEN, layout.MASK_FEATURES + 2])
        half = paddle.clip(boxes[:, :, 2:] - boxes[:, :, :2], min=layout.MIN_BOX) * 0.5
        centre = (boxes[:, :, 2:] + boxes[:, :, :2]) * 0.5
        position = first[:, :, :, layout.MASK_FEATURES :] / half.unsqueeze(2)
        bias1 = bias1 - (position * centre.unsqueeze(2)).sum(-1)
        weight = paddle.concat([first[:, :, :, : layout.MASK_FEATURES], position], -1)
        weight = weight.reshape([-1, rows * layout.HIDDEN, layout.MASK_FEATURES + 2])

        shared = features.flatten(2)
        grid = shared[:, :2] * 0.0 + self.grid  # one copy per image, in operations that every converter knows
        x = paddle.bmm(weight, paddle.concat([shared, grid], 1)) + bias1.reshape([-1, rows * layout.HIDDEN, 1])
        pixels = self.side**2
        x = functional.relu(x).reshape([-1, rows, layout.HIDDEN, pixels])
        x = paddle.matmul(second.reshape([-1, rows, layout.HIDDEN, layout.HIDDEN]), x) + bias2.unsqueeze(-1)
        x = paddle.matmul(third.unsqueeze(2), functional.relu(x)).reshape([-1, rows, pixels])
        return x + bias3

    def smooth(self, logits: Tensor, boxes: Tensor) -> Tensor:
        """Mask logits [B, N, pixels] of large people averaged over their neighbourhood, which takes off specks.

        Small people need every pixel, so the average fades in with the box's shorter side. Clipping makes it
        a vote: else the background's larger logits would eat into the person.
        """
        maps = paddle.clip(logits, -CERTAIN, CERTAIN).reshape([-1, PEOPLE, self.side, self.side])
        mean = functional.avg_pool2d(maps, SMOOTHING, stride=1, padding=SMOOTHING // 2, exclusive=True)
        high = boxes[:, :, 3:] - boxes[:, :, 1:2]
        wide = boxes[:, :, 2:3] - boxes[:, :, :1]
        share = paddle.clip((paddle.minimum(wide, high) - SMALL) / (LARGE - SMALL), 0.0, 1.0)
        return logits + (mean.flatten(2) - logits) * share

    def forward(self, scores: Tensor, distances: Tensor, kernels: Tensor, features: Tensor) -> list[Tensor]:
        """Return the head's outputs and the mask features to scores, boxes and mask logits of PEOPLE rows."""
        probability = functional.sigmoid(scores * self.scale + self.shift).squeeze(-1)
        best, index = paddle.topk(probability, CANDIDATES, axis=-1)
        boxes, kernels = gather_rows([self.boxes(distances), kernels], index, CANDIDATES)
        best = demote(best, survivors(box_overlap(boxes), BOX_OVERLAP, self.earlier_candidates))

        best, index = paddle.topk(best, PEOPLE, axis=-1)
        boxes, kernels = gather_rows([boxes, kernels], index, PEOPLE)
        logits = self.smooth(self.paint(kernels, boxes, features), boxes)
        best = demote(best, survivors(mask_overlap(logits), MASK_OVERLAP, self.earlier_people))

        best, index = paddle.topk(best, PEOPLE, axis=-1)
        boxes, logits = gather_rows([boxes, logits], index, PEOPLE)
        return [best, boxes, logits.reshape([-1, PEOPLE, self.side, self.side])]


class Exported(nn.Layer):  # type: ignore[misc]
    """Network, decoder and the painting that ends a Mask-RT-DETR export, with its three inputs and outputs."""

    def __init__(self, network: PeopleNet, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.decoder = Decoder(layout.SIZE, scale, shift)

    def forward(self, im_shape: Tensor, image: Tensor, scale_factor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows [B*N, 6] (class, score, x1, y1, x2, y2 in original pixels), counts [B], masks [B*N, h0, w0]."""
        scores, boxes, logits = self.decoder(*self.network(image))
        original = paddle.floor(im_shape / scale_factor + 0.5)
        boxes = boxes * paddle.tile(paddle.flip(original, [1]), [1, 2]).unsqueeze(1)

        height, width = paddle.split(original, 2, axis=-1)
        size = [height[0].astype("int32"), width[0].astype("int32")]
        masks = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        masks = (functional.sigmoid(masks) > 0.5).astype("int32").flatten(0, 1).astype("int32")

        score = scores.unsqueeze(-1)
        rows = paddle.concat([paddle.zeros_like(score), score, boxes], -1)
        counts = paddle.tile(paddle.to_tensor(PEOPLE, dtype="int32"), [paddle.shape(rows)[0]])
        return rows.reshape([-1, 6]), counts, masks
