"""SOLOv2: cut in front of the mask product, and give the core a tail of our own, see `matrix_nms`.

The four results are count, class labels, scores and masks. Of their program nothing but the sources is kept: the class
scores of all anchors, the anchors' kernels, and the feature map that a convolution with *computed* weights, the one
of its kind, turns into masks.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskserve_convert.families.base import CutPoints
from maskserve_convert.families.matrix_nms import Candidates, Rules, Suppression
from maskserve_convert.families.refusal import not_found
from maskserve_convert.paddle.builder import ProgramBuilder
from maskserve_convert.paddle.program import Op, Program
from maskserve_server.families import solov2

_NAME = "SOLOv2"


def recognise(program: Program) -> CutPoints | None:
    """See `Recogniser`."""
    products = [op for op in program.named("conv2d") if program.producer(op.inputs[1]).name != "p"]
    if not products:
        return None
    if len(products) > 1:
        raise not_found(_NAME, f"one mask product (a conv2d with computed kernels; it has {len(products)})")
    if len(program.fetches()) != 4:
        raise not_found(_NAME, f"its four results (count, classes, scores, masks; it has {len(program.fetches())})")
    candidates = _candidates(program, products[0])
    extension = ProgramBuilder(program)
    shape = program.shape(candidates.kernels)
    best = Suppression(extension, candidates, (shape[0], shape[1]), _rules(program)).append()
    return CutPoints(
        family=solov2.SOLOv2.name,
        outputs={solov2.SCORES: best.scores, solov2.LABELS: best.labels, solov2.MASKS: best.masks},
        where="in front of the mask product; matrix NMS above the request's threshold is part of the core",
        settings={"upsampling": _upsampling(program), "mask_threshold": _limit(program, _painted(program))},
        program=extension.program(),
        classes=program.shape(candidates.scores)[-1],
    )


def _candidates(program: Program, product: Op) -> Candidates:
    """Return the sources: behind each of them the program appends one row for a made-up candidate, and gathers."""
    kernels = program.trace(product.inputs[1], through=frozenset({"unsqueeze"}))
    compare = _only(_comparisons(program, "sum", "cast"), "comparison of areas with strides")
    strides = program.trace(compare.inputs[1], through=frozenset({"cast"}))
    return Candidates(
        scores=_threshold(program).inputs[0],
        kernels=_first_part(program, kernels),
        strides=_first_part(program, strides),
        features=product.inputs[0],
    )


def _rules(program: Program) -> Rules:
    entering, leaving = _exactly(2, program.named("topk"), "choices of the best")
    binary = _only(_comparisons(program, "sigmoid", "full"), "comparison of mask probabilities with a number")
    update = _only(program.named("greater_equal"), "comparison of decayed scores with a number")
    return Rules(
        score_threshold=_limit(program, _threshold(program)),
        mask_threshold=_limit(program, binary),
        pre_nms_top_k=int(program.producer(entering.inputs[1]).attribute("value")),
        sigma=_sigma(program),
        update_threshold=_limit(program, update),
        keep_top_k=int(program.producer(leaving.inputs[1]).attribute("value")),
    )


def _threshold(program: Program) -> Op:
    """Return the comparison that makes a score a candidate: nonzero(where(scores > number, scores, 0))."""
    found = [op for op in program.named("nonzero") if program.shape(op.outputs[0]) == (-1, 2)]
    choice = program.producer(_only(found, "choice of candidates").inputs[0])
    return program.producer(choice.inputs[0])


def _first_part(program: Program, gather: Op) -> int:
    return program.producer(program.producer(gather.inputs[0]).inputs[0]).inputs[0]


def _sigma(program: Program) -> float | None:
    """Return the sigma of min(exp(-sigma a) / exp(-sigma b)); None for min((1 - a) / (1 - b))."""
    ratio = program.producer(_only(program.named("min"), "minimum of decays").inputs[0])
    weight = program.producer(ratio.inputs[0])
    if weight.name != "exp":
        return None
    return -float(program.producer(program.producer(weight.inputs[0]).inputs[1]).attribute("value"))


def _upsampling(program: Program) -> int:
    """Return by how much masks are enlarged to the network's input, before they are cropped and resized again."""
    resize = program.named("bilinear_interp")[-2]
    if (height := int(resize.attribute("out_h"))) > 0:
        return height // program.shape(resize.inputs[0])[2]
    size = program.producer(program.producer(resize.inputs[2]).inputs[0])
    return int(program.producer(size.inputs[1]).attribute("value"))


def _painted(program: Program) -> Op:
    return program.trace(program.fetches()[3], through=frozenset({"cast"}))


def _limit(program: Program, compare: Op) -> float:
    return float(program.producer(compare.inputs[1]).attribute("value"))


def _comparisons(program: Program, left: str, right: str) -> list[Op]:
    compared = (left, right)
    return [op for op in program.named("greater_than") if _names(program, op) == compared]


def _names(program: Program, op: Op) -> tuple[str, str]:
    left, right = op.inputs
    return program.producer(left).name, program.producer(right).name


def _only(found: Sequence[Op], what: str) -> Op:
    return _exactly(1, found, what)[0]


def _exactly(count: int, found: Sequence[Op], what: str) -> Sequence[Op]:
    if len(found) != count:
        raise not_found(_NAME, f"the {what} ({count} of them; it has {len(found)})")
    return found
