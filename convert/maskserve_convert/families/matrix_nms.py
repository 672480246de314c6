"""The tail of a SOLOv2 core: from class scores, kernels and features to the best instances' low-resolution masks.

The same arithmetic as at the end of PaddleDetection's program (Matrix NMS, equation 3 ff. of "SOLOv2: Dynamic and Fast
Instance Segmentation", arXiv:2003.10152), written anew for four reasons:

- the request's threshold is an input and drops candidates before anything is computed for them. The decay only lowers
  scores, and an instance's decay depends on better candidates only, so the result above the threshold is the same;
- kernels times features is a matrix product, where the program has a convolution with computed weights, which OpenVINO
  does not know;
- the program appends a made-up candidate so that no tensor is empty. Here the best real candidate always stays, and
  what is not an instance has the score 0. Where real candidates fill the suppression, the program puts the last of
  them in the made-up one's place: that instance comes twice, here too;
- the branch "more candidates than k: take the best k, else sort" is one sort and a slice.
"""

from __future__ import annotations

from dataclasses import dataclass

from maskserve_convert.paddle.builder import UNCHANGED, ProgramBuilder, boolean, f32, flag, i32, i64, integer
from maskserve_convert.paddle.program import Json

THRESHOLD = "threshold"  # the core's input: float32 [1, 1]
_END = 2**31 - 1  # of a slice that goes to the end


@dataclass(frozen=True, slots=True)
class Candidates:
    """Values of the program.

    Attributes:
        scores: float32 [A, classes], zero where a neighbour is better.
        kernels: float32 [A, E].
        strides: int32 [A].
        features: float32 [1, E, h, w].
    """

    scores: int
    kernels: int
    strides: int
    features: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of the suppression.

    Attributes:
        score_threshold: class scores that are not higher are no candidates.
        mask_threshold: the probability above which a pixel of a low-resolution mask counts.
        pre_nms_top_k: how many candidates enter the suppression.
        sigma: of the Gaussian decay; None for the linear one.
        update_threshold: instances with a lower decayed score are dropped.
        keep_top_k: how many instances are kept at most.
    """

    score_threshold: float
    mask_threshold: float
    pre_nms_top_k: int
    sigma: float | None
    update_threshold: float
    keep_top_k: int


@dataclass(frozen=True, slots=True)
class Best:
    """Values of the extended program: the M best instances by falling score, at least one.

    Attributes:
        scores: float32 [1, M]; 0 for what is not an instance.
        labels: int32 [1, M].
        masks: float32 [1, M, h, w], probabilities.
    """

    scores: int
    labels: int
    masks: int


@dataclass(frozen=True, slots=True)
class _Masks:
    """The candidates' masks: probabilities [N, h * w], and the same as 0 and 1; the pixels of each, at least 1."""

    probabilities: int
    binary: int
    areas: int


class Suppression:
    """Appends the tail to a program.

    Args:
        extension: the program.
        candidates: where it has its candidates.
        shape: how many anchors it has (A), and how long a kernel is (E).
        rules: the numbers.
    """

    def __init__(self, extension: ProgramBuilder, candidates: Candidates, shape: tuple[int, int], rules: Rules) -> None:
        self._x, self._in, self._rules = extension, candidates, rules
        self._anchors, self._channels = shape
        self._threshold = extension.feed(THRESHOLD, f32(1, 1))

    def append(self) -> Best:
        """Add all of it."""
        x = self._x
        index = self._wanted()
        anchors, labels = self._column(index, 0), self._column(index, 1)
        masks = self._masks(anchors)
        scores = self._scores(index, anchors, masks)
        scores, order = self._sorted(scores, x.numbers(self._rules.pre_nms_top_k))
        labels = x.gather(labels, order, i64(-1))
        binary, areas = x.gather(masks.binary, order, f32(-1, -1)), x.gather(masks.areas, order, f32(-1))
        overlaps = self._overlaps(binary, areas, labels)
        decayed = x.op("multiply", [scores, self._decay(overlaps)], f32(-1))
        decayed, best = self._best(self._with_last_twice(decayed))
        best = x.op("minimum", [best, x.op("subtract", [self._length(order), x.numbers(1)], i64(1))], i64(-1))
        rows = x.gather(masks.probabilities, x.gather(order, best, i64(-1)), f32(-1, -1))
        return Best(
            scores=x.op("unsqueeze", [decayed, x.numbers(0)], f32(1, -1)),
            labels=x.op("unsqueeze", [x.cast(x.gather(labels, best, i64(-1)), i32(-1)), x.numbers(0)], i32(1, -1)),
            masks=x.op("reshape", [rows, self._mask_shape()], f32(1, -1, -1, -1)),
        )

    def _wanted(self) -> int:
        """Return anchor and class of every candidate above both thresholds; of the best one where there is none."""
        x = self._x
        best = x.op("max", [self._in.scores, x.numbers(0, 1)], f32(1, 1), keepdim=flag(True))
        asked = x.op("maximum", [self._threshold, x.full(self._rules.score_threshold, f32(1, 1))], f32(1, 1))
        floor = x.op("minimum", [asked, best], f32(1, 1))
        wanted = x.op("greater_equal", [self._in.scores, floor], boolean(self._anchors, -1))
        return x.op("nonzero", [wanted], i64(-1, 2))

    def _column(self, index: int, number: int) -> int:
        x = self._x
        return x.slice(index, x.numbers(number), x.numbers(number + 1), i64(-1), axis=1, drop=True)

    def _masks(self, anchors: int) -> _Masks:
        x = self._x
        kernels = x.gather(self._in.kernels, anchors, f32(-1, self._channels))
        features = x.op("reshape", [self._in.features, x.numbers(self._channels, -1)], f32(self._channels, -1))
        logits = x.op("matmul", [kernels, features], f32(-1, -1), transpose_x=flag(False), transpose_y=flag(False))
        probabilities = x.op("sigmoid", [logits], f32(-1, -1))
        binary = self._above(probabilities, x.full(self._rules.mask_threshold, f32()), f32(-1, -1))
        areas = x.op("maximum", [self._row_sums(binary), x.full(1, f32(1))], f32(-1))
        return _Masks(probabilities, binary, areas)

    def _scores(self, index: int, anchors: int, masks: _Masks) -> int:
        """Return the class score times the mean probability in the mask; 0 if one is too low or the mask too small."""
        x = self._x
        scores = x.op("gather_nd", [self._in.scores, index], f32(-1))
        inside = self._row_sums(x.op("multiply", [masks.probabilities, masks.binary], f32(-1, -1)))
        strides = x.cast(x.gather(self._in.strides, anchors, i32(-1)), f32(-1))
        factors = (
            x.op("divide", [inside, masks.areas], f32(-1)),
            self._above(scores, x.full(self._rules.score_threshold, f32(1)), f32(-1)),
            self._above(masks.areas, strides, f32(-1)),
        )
        for factor in factors:
            scores = x.op("multiply", [scores, factor], f32(-1))
        return scores

    def _overlaps(self, binary: int, areas: int, labels: int) -> int:
        """Return the intersection over union of each candidate (column) with each better one of its class (row)."""
        x, square = self._x, f32(-1, -1)
        shared = x.op("matmul", [binary, binary], square, transpose_x=flag(False), transpose_y=flag(True))
        both = x.op("add", [self._as_row(areas, f32(1, -1)), self._as_column(areas, f32(-1, 1))], square)
        ratio = x.op("divide", [shared, x.op("subtract", [both, shared], square)], square)
        same = x.op("equal", [self._as_row(labels, i64(1, -1)), self._as_column(labels, i64(-1, 1))], boolean(-1, -1))
        return x.op("triu", [x.op("multiply", [ratio, x.cast(same, square)], square)], square, diagonal=integer(1))

    def _decay(self, overlaps: int) -> int:
        """Return the factor of a candidate's score: the strongest decay by a better one (equations 4 and 5)."""
        x, square = self._x, f32(-1, -1)
        compensation = x.op("max", [overlaps, x.numbers(0)], f32(-1), keepdim=flag(False))
        weights = self._weight(overlaps, square), self._weight(self._as_column(compensation, f32(-1, 1)), f32(-1, 1))
        return x.op("min", [x.op("divide", weights, square), x.numbers(0)], f32(-1), keepdim=flag(False))

    def _weight(self, overlap: int, kind: Json) -> int:
        x, sigma = self._x, self._rules.sigma
        if sigma is None:
            return x.op("subtract", [x.full(1, f32(1)), overlap], kind)
        squared = x.op("multiply", [overlap, overlap], kind)
        return x.op("exp", [x.op("multiply", [squared, x.full(-sigma, f32(1))], kind)], kind)

    def _with_last_twice(self, decayed: int) -> int:
        """Append the last score where as many candidates as may enter the suppression do, and 0 where fewer do."""
        x = self._x
        last = x.slice(decayed, x.numbers(-1), x.numbers(_END), f32(1))
        full = x.op("greater_equal", [self._length(decayed), x.numbers(self._rules.pre_nms_top_k)], boolean(1))
        return x.concat([decayed, x.op("multiply", [last, x.cast(full, f32(1))], f32(1))], [f32(-1), f32(1)], f32(-1))

    def _best(self, decayed: int) -> tuple[int, int]:
        """Return scores and positions of the best instances that reach both thresholds, at least one."""
        x = self._x
        least = x.full(self._rules.update_threshold, f32(1))
        reached = x.cast(x.op("greater_equal", [decayed, least], boolean(-1)), f32(-1))
        scores, order = self._sorted(x.op("multiply", [decayed, reached], f32(-1)), x.numbers(self._rules.keep_top_k))
        asked = x.op("maximum", [x.op("reshape", [self._threshold, x.numbers(1)], f32(1)), least], f32(1))
        kept = x.cast(x.op("greater_equal", [scores, asked], boolean(-1)), i64(-1))
        kept = x.op("sum", [kept, x.numbers(0)], i64(1), dtype=UNCHANGED, keepdim=flag(True))
        count = x.op("maximum", [kept, x.numbers(1)], i64(1))
        start = x.numbers(0)
        return x.slice(scores, start, count, f32(-1)), x.slice(order, start, count, i64(-1))

    def _sorted(self, scores: int, count: int) -> tuple[int, int]:
        """Return the highest scores, falling, and where they were."""
        x = self._x
        attributes = {"axis": integer(-1), "descending": flag(True), "stable": flag(False)}
        values, order = x.ops("argsort", [scores], [f32(-1), i64(-1)], attributes)
        start = x.numbers(0)
        return x.slice(values, start, count, f32(-1)), x.slice(order, start, count, i64(-1))

    def _mask_shape(self) -> int:
        """Return [1, -1, h, w]."""
        x = self._x
        sizes = x.op("shape64", [self._in.features], i64(4))
        sides = x.slice(sizes, x.numbers(2), x.numbers(4), i64(2))
        return x.concat([x.numbers(1, -1), sides], [i64(2), i64(2)], i64(4))

    def _length(self, vector: int) -> int:
        return self._x.op("shape64", [vector], i64(1))

    def _above(self, value: int, limit: int, kind: Json) -> int:
        """Return 1 where `value` is greater than `limit`, else 0."""
        shape = kind["D"][1]
        return self._x.cast(self._x.op("greater_than", [value, limit], boolean(*shape)), kind)

    def _row_sums(self, value: int) -> int:
        x = self._x
        return x.op("sum", [value, x.numbers(1)], f32(-1), dtype=UNCHANGED, keepdim=flag(False))

    def _as_row(self, vector: int, kind: Json) -> int:
        return self._x.op("unsqueeze", [vector, self._x.numbers(0)], kind)

    def _as_column(self, vector: int, kind: Json) -> int:
        return self._x.op("unsqueeze", [vector, self._x.numbers(1)], kind)
