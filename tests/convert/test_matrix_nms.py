"""The tail given to SOLOv2's core, with the paper's formulas in plain loops as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from maskserve_convert.families.matrix_nms import Candidates, Rules, Suppression
from maskserve_convert.paddle.builder import ProgramBuilder, f32, i32
from maskserve_convert.paddle.cut import cut
from maskserve_convert.paddle.export import export
from maskserve_convert.paddle.program import Program
from tests.packages import need

onnxruntime = pytest.importorskip("onnxruntime", reason="running a core needs the server extra", exc_type=ImportError)
need("paddle2onnx", reason="exporting needs the convert extra")


ANCHORS, CLASSES, CHANNELS = 60, 3, 5
GAUSSIAN = Rules(
    score_threshold=0.1, mask_threshold=0.5, pre_nms_top_k=30, sigma=2.0, update_threshold=0.05, keep_top_k=12
)
LINEAR = replace(GAUSSIAN, sigma=None)
RULES = {"gaussian": GAUSSIAN, "linear": LINEAR}


@dataclass(frozen=True)
class Case:
    """What the tail reads: class scores, kernels, strides, features."""

    scores: np.ndarray
    kernels: np.ndarray
    strides: np.ndarray
    features: np.ndarray

    def feeds(self, threshold: float) -> dict[str, np.ndarray]:
        return {
            "class_scores": self.scores,
            "kernels": self.kernels,
            "strides": self.strides,
            "features": self.features,
            "threshold": np.array([[threshold]], np.float32),
        }


def case(seed: int, *, candidates: float = 0.3) -> Case:
    """Random candidates whose masks overlap much."""
    random = np.random.default_rng(seed)
    scores = random.random((ANCHORS, CLASSES)) * (random.random((ANCHORS, CLASSES)) < candidates)
    directions = random.normal(size=(6, CHANNELS))[random.integers(0, 6, ANCHORS)]
    return Case(
        scores.astype(np.float32),
        (directions + 0.4 * random.normal(size=(ANCHORS, CHANNELS))).astype(np.float32),
        random.choice([2, 8, 90], ANCHORS).astype(np.int32),
        random.normal(size=(1, CHANNELS, 13, 17)).astype(np.float32),
    )


Found = list[tuple[float, int, np.ndarray]]


def oracle(case: Case, rules: Rules, threshold: float) -> Found:
    """Score, class and probabilities of each instance, by falling score: everything first, the threshold last."""
    candidates = []
    for anchor, label in np.argwhere(case.scores > rules.score_threshold):
        logits = np.tensordot(case.kernels[anchor].astype(float), case.features[0], axes=1)
        probabilities = 1 / (1 + np.exp(-logits))
        inside = probabilities > rules.mask_threshold
        if inside.sum() > case.strides[anchor]:
            score = case.scores[anchor, label] * probabilities[inside].mean()
            candidates.append((float(score), int(label), probabilities))
    candidates.sort(key=lambda found: -found[0])
    del candidates[rules.pre_nms_top_k :]
    overlaps = [[_overlap(a, b, rules) for b in candidates] for a in candidates]
    compensation = [max((overlaps[k][i] for k in range(i)), default=0.0) for i in range(len(candidates))]
    decayed = [
        (score * min((_decay(overlaps[i][j], compensation[i], rules) for i in range(j)), default=1.0), label, mask)
        for j, (score, label, mask) in enumerate(candidates)
    ]
    if len(candidates) == rules.pre_nms_top_k:
        decayed.append(decayed[-1])  # as Paddle does
    kept = sorted((found for found in decayed if found[0] >= rules.update_threshold), key=lambda found: -found[0])
    return [found for found in kept[: rules.keep_top_k] if found[0] >= threshold]


def _overlap(a: tuple[float, int, np.ndarray], b: tuple[float, int, np.ndarray], rules: Rules) -> float:
    if a[1] != b[1]:
        return 0.0
    one, other = a[2] > rules.mask_threshold, b[2] > rules.mask_threshold
    return float((one & other).sum() / (one | other).sum())


def _decay(overlap: float, compensation: float, rules: Rules) -> float:
    if rules.sigma is None:
        return (1 - overlap) / (1 - compensation)
    return float(np.exp(-rules.sigma * overlap**2) / np.exp(-rules.sigma * compensation**2))


Run = Callable[[Case, float], Found]


@pytest.fixture(scope="module")
def tails(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The tail alone as an ONNX model, for each way of decaying."""
    return {name: _runner(rules, tmp_path_factory.mktemp(name)) for name, rules in RULES.items()}


def _runner(rules: Rules, folder: Path) -> Run:
    extension = ProgramBuilder(Program(()))
    candidates = Candidates(
        scores=extension.feed("class_scores", f32(ANCHORS, CLASSES)),
        kernels=extension.feed("kernels", f32(ANCHORS, CHANNELS)),
        strides=extension.feed("strides", i32(ANCHORS)),
        features=extension.feed("features", f32(1, CHANNELS, -1, -1)),
    )
    best = Suppression(extension, candidates, (ANCHORS, CHANNELS), rules).append()
    names = {"scores": best.scores, "labels": best.labels, "masks": best.masks}
    cut(extension.program(), names).program.write(folder / "core.json")
    (folder / "core.pdiparams").write_bytes(b"")
    export(folder / "core.json", folder / "core.pdiparams", folder / "core.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "core.onnx"), options, providers=["CPUExecutionProvider"])

    def run(case: Case, threshold: float) -> Found:
        scores, labels, masks = session.run(list(names), case.feeds(threshold))
        assert scores.shape == labels.shape == masks.shape[:2]
        assert scores.shape[1] >= 1, "an engine may not like tensors without elements"
        kept = scores[0] > 0
        return [
            (float(score), int(label), mask)
            for score, label, mask in zip(scores[0][kept], labels[0][kept], masks[0][kept], strict=True)
            if score >= threshold
        ]

    return run


def assert_same(found: Found, wanted: Found) -> None:
    assert [label for _, label, _ in found] == [label for _, label, _ in wanted]
    np.testing.assert_allclose([score for score, *_ in found], [score for score, *_ in wanted], atol=1e-5)
    for (_, _, one), (_, _, other) in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_it_computes_the_papers_formulas(tails: dict[str, Run], kind: str, threshold: float, seed: int) -> None:
    wanted = oracle(case(seed), RULES[kind], threshold)
    assert wanted, "a case without instances proves nothing"
    assert_same(tails[kind](case(seed), threshold), wanted)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_dropping_low_candidates_first_changes_nothing_above_the_threshold(
    tails: dict[str, Run], kind: str, seed: int
) -> None:
    everything = tails[kind](case(seed), 0.0)
    for threshold in (everything[0][0], 0.3, everything[len(everything) // 2][0]):
        above = [found for found in everything if found[0] >= threshold]
        assert_same(tails[kind](case(seed), threshold), above)


def test_the_decay_takes_part(tails: dict[str, Run]) -> None:
    undecayed = replace(GAUSSIAN, sigma=0.0)
    assert [s for s, *_ in oracle(case(0), undecayed, 0.0)] != [s for s, *_ in oracle(case(0), GAUSSIAN, 0.0)]
    assert [s for s, *_ in tails["gaussian"](case(0), 0.0)] != [s for s, *_ in tails["linear"](case(0), 0.0)]


def test_more_candidates_than_enter_the_suppression(tails: dict[str, Run]) -> None:
    crowded = case(7, candidates=0.9)
    assert (crowded.scores > GAUSSIAN.score_threshold).sum() > 3 * GAUSSIAN.pre_nms_top_k
    found = tails["gaussian"](crowded, 0.0)
    assert len(found) == GAUSSIAN.keep_top_k
    assert_same(found, oracle(crowded, GAUSSIAN, 0.0))


@pytest.mark.parametrize("entering", [5, 30])
def test_the_last_candidate_that_enters_comes_twice_as_in_paddle(entering: int, tmp_path: Path) -> None:
    """And pushes out the last instance where there are more than are kept."""
    crowded = case(7, candidates=0.9)
    for keep in (entering + 3, entering - 1):
        rules = replace(GAUSSIAN, sigma=0.0, pre_nms_top_k=entering, keep_top_k=keep)
        (folder := tmp_path / str(keep)).mkdir()
        found = _runner(rules, folder)(crowded, 0.0)
        assert len(found) == min(keep, entering + 1)
        assert_same(found, oracle(crowded, rules, 0.0))
        if keep > entering:
            np.testing.assert_array_equal(found[-1][2], found[-2][2])


@pytest.mark.parametrize("threshold", [0.5, 2.0])
def test_no_candidate_is_no_instance(tails: dict[str, Run], threshold: float) -> None:
    low = replace(case(1), scores=np.full((ANCHORS, CLASSES), 0.01, np.float32))
    low.scores[3, 1] = 0.02
    assert tails["gaussian"](low, threshold) == []
    assert tails["gaussian"](low, 0.0) == [], "below the model's own score threshold"


def test_masks_smaller_than_their_stride_are_no_instances(tails: dict[str, Run]) -> None:
    small = replace(case(2), strides=np.full(ANCHORS, 13 * 17, np.int32))
    assert tails["gaussian"](small, 0.0) == []


def test_empty_masks_do_not_spoil_the_others(tails: dict[str, Run]) -> None:
    features = np.abs(case(3).features)
    kernels = np.abs(case(3).kernels)
    kernels[::2] *= -1
    half_empty = replace(case(3), features=features, kernels=kernels)
    assert_same(tails["gaussian"](half_empty, 0.0), oracle(half_empty, GAUSSIAN, 0.0))


def test_features_of_any_size(tails: dict[str, Run]) -> None:
    wide = replace(case(4), features=np.random.default_rng(5).normal(size=(1, CHANNELS, 6, 40)).astype(np.float32))
    assert_same(tails["gaussian"](wide, 0.1), oracle(wide, GAUSSIAN, 0.1))
