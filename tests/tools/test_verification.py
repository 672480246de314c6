"""What `verify` asks Paddle besides the images themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.pipeline import Pipeline
from maskserve_tools.commands.verify import _conclude, _table
from maskserve_tools.verify import verification
from maskserve_tools.verify.reference import Reference, ReferenceInstance
from maskserve_tools.verify.verification import _changed_answer, change_a_pixel, verify

SQUARE = np.ones((10, 10), np.uint8)


@dataclass
class Answer:
    instances: Instances


class Served:
    """Finds one instance in every image, with a score that is not Paddle's."""

    def predict(self, image: Path, threshold: float) -> Iterator[Answer]:
        box, scores = np.array([[5, 5, 15, 15]], np.float32), np.array([0.85], np.float32)
        labels = np.array([0], np.int32)
        yield Answer(Instances(box, scores, labels, ("person",), (Mask.from_crop(SQUARE, 5, 5, (40, 60)),), (40, 60)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What Paddle is asked for: its score is 0.9, and 0.7 for every changed image."""
    asked: list[int | None] = []

    class Restless:
        def __init__(self, source: Path) -> None: ...

        def __enter__(self) -> Restless:
            return self

        def __exit__(self, *_: object) -> None: ...

        def predict(self, image: Path, thresholds: Sequence[float], *, change: int | None = None) -> Any:
            asked.append(change)
            found = ReferenceInstance(0, 0.9 if change is None else 0.7, (5, 5, 15, 15), SQUARE)
            return [[found] for _ in thresholds]

    monkeypatch.setattr(verification, "ReferenceProcess", Restless)
    return asked


def test_paddle_is_asked_again_once_a_photo_where_answers_differ(
    asked: list[int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts = list(verify(cast(Pipeline, Served()), Path(), [Path("a.jpg")], (0.5, 0.3), ties=True))
    assert asked == [None, *range(10)]
    assert [(v.equal, v.comparison.unsteady) for v in verdicts if v.comparison] == [(False, True)] * 2
    assert list(_table(verdicts).columns[-1].cells) == ["UNSTEADY"] * 2
    assert _conclude("seg", verdicts) == 1
    assert "unsteady: 2" in capsys.readouterr().out


def test_paddle_is_asked_once_where_nobody_wants_to_know(asked: list[int | None]) -> None:
    verdicts = list(verify(cast(Pipeline, Served()), Path(), [Path("a.jpg")], (0.5, 0.3)))
    assert asked == [None]
    assert list(_table(verdicts).columns[-1].cells) == ["DIFFERENT"] * 2


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ((height, width), n)
        for height, width, most in ((36, 48, 6), (480, 640, 6), (3000, 4000, 1))
        for n in range(most)
    ],
)
def test_a_changed_photo_is_another_one_to_the_network_by_one_level(size: tuple[int, int], number: int) -> None:
    image = np.full((*size, 3), 100, np.uint8)
    changed = image.copy()
    change_a_pixel(changed, number)
    assert cv2.absdiff(changed, image).max() == 1
    seen = (cv2.resize(image.astype(np.float32), (640, 640)) for image in (image, changed))
    assert (next(seen) != next(seen)).any()


def test_a_change_is_of_one_pixel_or_of_the_rounding_of_the_whole_input() -> None:
    seen: list[tuple[int, int | None]] = []
    image = np.full((36, 48, 3), 100, np.uint8)

    class Counting:
        """Notes how many values of the image were changed, and how its input is to be rounded."""

        def predict_at(self, given: Any, thresholds: Sequence[float], *, rounding: int | None = None) -> Any:
            seen.append((int((given != image).sum()), rounding))
            return [[] for _ in thresholds]

    for change in (None, *range(10)):
        _changed_answer(cast(Reference, Counting()), image.copy(), (0.5,), change)
    assert seen == [(0, None), *[(1, None)] * 6, *((0, number) for number in range(4))]


def _unloadable(folder: Path, element: str) -> Path:
    folder.mkdir()
    (folder / "inference.yml").write_text(
        "Preprocess: [{type: Resize, target_size: [64, 64]}, {type: Permute}]\nlabel_list: [a]\n", encoding="utf-8"
    )
    (folder / "inference.json").write_text(f'{{"no": "program", "of": "0.{element}"}}', encoding="utf-8")
    (folder / "inference.pdiparams").write_bytes(b"")
    return folder


@pytest.mark.parametrize(("element", "remedy"), [("t_f16", True), ("t_bf16", True), ("t_f32", False)])
def test_a_model_that_paddle_cannot_load_is_not_called_a_want_of_memory(
    element: str, remedy: bool, tmp_path: Path
) -> None:
    pytest.importorskip("paddle", exc_type=ImportError)
    with verification.ReferenceProcess(_unloadable(tmp_path / "paddle", element)) as reference:
        for _ in range(2):
            said = reference.predict(tmp_path / "image.png", [0.5])
            assert isinstance(said, str)
            assert said.startswith("Paddle cannot load the model: ")
            assert said.endswith("compare with an export in float32") == remedy
            assert "memory" not in said


def test_of_an_error_of_paddle_the_line_above_its_hint_is_told() -> None:
    said = "In user code:\n\n    InvalidArgumentError: the cause.\n      [Hint: Expected a == b.]\n      [operator]"
    assert verification._cause(ValueError(said)) == "InvalidArgumentError: the cause."
    assert verification._cause(RuntimeError("first\nlast\n")) == "last"
    assert verification._cause(MemoryError()) == "MemoryError"
