"""PP-YOLOE_seg and Mask-RT-DETR: the whole of their programs behind the features, on small features."""

from __future__ import annotations

import math

import paddle
from paddle import nn
from paddle.nn import functional as F

from tests.convert.networks.exporting import SIDE, Cell
from tests.convert.networks.layers import Backbone, convolution, suppress

CHANNELS, COEFFICIENTS, QUERIES, BEST = 8, 6, 60, 40


class PPYOLOESeg(nn.Layer):
    """Boxes from three maps, coefficients that prototypes are multiplied with behind the suppression."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self._classes, self._fixed = cell.classes, cell.fixed
        self.backbone = Backbone(cell, CHANNELS)
        gain = 3.0 / (1 + math.log(cell.classes) / 3)  # more would make scores of exactly 1, which are ties
        self.scores = nn.LayerList([convolution(CHANNELS, cell.classes, gain=gain) for _ in range(3)])
        self.distances = nn.LayerList([convolution(CHANNELS, 4, gain=2.0) for _ in range(3)])
        self.coefficients = nn.LayerList([convolution(CHANNELS, COEFFICIENTS, gain=3.0) for _ in range(3)])
        self.prototypes = convolution(CHANNELS, COEFFICIENTS, gain=3.0)

    def forward(self, inputs: dict[str, paddle.Tensor]) -> tuple[paddle.Tensor, ...]:
        image, im_shape, scale_factor = inputs["image"], inputs["im_shape"], inputs["scale_factor"]
        finest, *features = self.backbone(image)
        boxes, scores, coefficients = [], [], []
        for level, feature in enumerate(features):
            length = feature.shape[2] * feature.shape[3]
            scores.append(F.sigmoid(self.scores[level](feature) - 2).reshape([-1, self._classes, length]))
            coefficients.append(self.coefficients[level](feature).reshape([-1, COEFFICIENTS, length]))
            distances = F.softplus(self.distances[level](feature) + 2)
            boxes.append(self._boxes(feature, distances, 8 * 2**level))
        scores, coefficients = paddle.concat(scores, axis=-1), paddle.concat(coefficients, axis=-1)
        boxes = paddle.concat(boxes, axis=1)
        rows, index, count = suppress(boxes, scores, None, nms_top_k=200, score_threshold=0.01, nms_threshold=0.7)
        size = [SIDE, SIDE] if self._fixed else [image.shape[2], image.shape[3]]
        rows, count, masks = self._painted(
            rows, index, count, coefficients, self.prototypes(finest), size, im_shape, scale_factor
        )
        return rows, count, masks

    def _boxes(self, feature, distances, stride):
        height, width = feature.shape[2], feature.shape[3]
        down, across = paddle.arange(height, dtype="float32") + 0.5, paddle.arange(width, dtype="float32") + 0.5
        y, x = paddle.meshgrid(down, across)
        points = paddle.stack([x.reshape([-1]), y.reshape([-1])], axis=-1)
        low, high = paddle.split(distances.flatten(2).transpose([0, 2, 1]), 2, -1)
        return paddle.concat([-low + points, high + points], -1) * stride

    def _painted(self, rows, index, count, coefficients, prototypes, size, im_shape, scale_factor):
        if count.sum() > 0:
            own = paddle.gather(coefficients.transpose([0, 2, 1]).reshape([-1, COEFFICIENTS]), index)
            maps = prototypes[0]
            products = F.sigmoid(own @ maps.reshape([COEFFICIENTS, -1])).reshape([-1, maps.shape[1], maps.shape[2]])
            large = F.interpolate(products[None], size, mode="bilinear", align_corners=False)[0]
            x0, y0, x1, y1 = paddle.split(rows[:, 2:6].unsqueeze(2), 4, axis=1)
            x = paddle.arange(large.shape[2], dtype="float32").unsqueeze([0, 1])
            y = paddle.arange(large.shape[1], dtype="float32").unsqueeze([0, 2])
            large = large * ((x >= x0) * (x < x1) * (y >= y0) * (y < y1)).cast("float32")
            height, width = im_shape[0] / scale_factor[0]
            sides = [
                int(paddle.round(large.shape[-2] / scale_factor[0][0])),
                int(paddle.round(large.shape[-1] / scale_factor[0][1])),
            ]
            whole = F.interpolate(large.unsqueeze(0), size=sides, mode="bilinear", align_corners=False)
            whole = whole[..., : int(height), : int(width)].squeeze(0)
            masks = paddle.to_tensor(whole > 0.5).cast("float32")
            rows[:, 2:6] /= scale_factor.flip(-1).tile([1, 2])
        else:
            height, width = im_shape[0] / scale_factor[0]
            count = paddle.to_tensor([1]).cast("int32")
            rows = paddle.zeros([count, 6])
            masks = paddle.zeros([count, int(height), int(width)])
        return rows, count, masks


class MaskRTDETR(nn.Layer):
    """A fixed number of queries, of which the best pairs of query and class are kept with their masks."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self._classes = cell.classes
        self.backbone = Backbone(cell, CHANNELS)
        self.scores = nn.Linear(CHANNELS, cell.classes)
        self.boxes = nn.Linear(CHANNELS, 4)
        self.embeddings = nn.Linear(CHANNELS, CHANNELS)
        self.queries = self.create_parameter([QUERIES, CHANNELS], default_initializer=nn.initializer.Normal(0, 2.0))
        self.maps = convolution(CHANNELS, CHANNELS, gain=4.0)

    def forward(self, inputs: dict[str, paddle.Tensor]) -> tuple[paddle.Tensor, ...]:
        im_shape, scale_factor = inputs["im_shape"], inputs["scale_factor"]
        features = self.backbone(inputs["image"])
        pooled = F.adaptive_avg_pool2d(features[3], 1).flatten(1).unsqueeze(1)
        queries = self.queries.unsqueeze(0) * (1 + F.tanh(pooled))  # bounded: saturated boxes are empty
        maps = self.maps(features[0])
        masks = paddle.bmm(self.embeddings(queries), maps.flatten(2))
        masks = masks.reshape([-1, QUERIES, maps.shape[2], maps.shape[3]])
        return self._best(F.sigmoid(self.boxes(queries)), self.scores(queries), masks, im_shape, scale_factor)

    def _best(self, boxes, logits, masks, im_shape, scale_factor):
        centre, size = paddle.split(boxes, 2, axis=-1)
        boxes = paddle.concat([centre - 0.5 * size, centre + 0.5 * size], axis=-1)
        whole = paddle.floor(im_shape / scale_factor + 0.5)
        height, width = paddle.split(whole, 2, axis=-1)
        boxes = boxes * whole.flip(1).tile([1, 2]).unsqueeze(1)
        scores, index = paddle.topk(F.sigmoid(logits).flatten(1), BEST, axis=-1)
        labels, index = index % self._classes, index // self._classes
        image = paddle.arange(end=scores.shape[0]).unsqueeze(-1).tile([1, BEST])
        index = paddle.stack([image, index], axis=-1)
        boxes, masks = paddle.gather_nd(boxes, index), paddle.gather_nd(masks, index)
        height, width = height[0].astype("int32"), width[0].astype("int32")
        masks = F.interpolate(masks, size=[height, width], mode="bilinear", align_corners=False)
        masks = (F.sigmoid(masks) > 0.5).astype("float32").flatten(0, 1).astype("int32")
        rows = paddle.concat([labels.unsqueeze(-1).astype("float32"), scores.unsqueeze(-1), boxes], axis=-1)
        count = paddle.to_tensor(BEST, dtype="int32").tile([rows.shape[0]])
        return rows.reshape([-1, 6]), count, masks
