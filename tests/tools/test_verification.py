"""What `verify` asks Paddle besides the photos themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve_tools.commands.verify import _conclude, _table
from maskserve_tools.verifying import verification
from maskserve_tools.verifying.reference import ReferenceInstance
from maskserve_tools.verifying.verification import _change_a_pixel, verify

SQUARE = np.ones((10, 10), np.uint8)


@dataclass
class Answer:
    instances: Instances


class Served:
    """Finds one instance in every photo, with a score that is not Paddle's."""

    def predict(self, photo: Path, threshold: float) -> Iterator[Answer]:
        box, scores, labels = np.float32([[5, 5, 15, 15]]), np.float32([0.85]), np.int32([0])
        yield Answer(Instances(box, scores, labels, ("person",), (Mask.from_crop(SQUARE, 5, 5, (40, 60)),), (40, 60)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What Paddle is asked for: its score is 0.9, and 0.7 for every changed photo."""
    asked: list[int | None] = []

    class Restless:
        def __init__(self, source: Path) -> None: ...

        def __enter__(self) -> Restless:
            return self

        def __exit__(self, *_: object) -> None: ...

        def predict(self, photo: Path, thresholds: Sequence[float], *, change: int | None = None) -> Any:
            asked.append(change)
            found = ReferenceInstance(0, 0.9 if change is None else 0.7, (5, 5, 15, 15), SQUARE)
            return [[found] for _ in thresholds]

    monkeypatch.setattr(verification, "ReferenceProcess", Restless)
    return asked


def test_paddle_is_asked_again_once_a_photo_where_answers_differ(
    asked: list[int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts = list(verify(Served(), Path(), [Path("a.jpg")], (0.5, 0.3), ties=True))
    assert asked == [None, 0, 1, 2, 3, 4, 5]
    assert [(v.equal, v.comparison.unsteady) for v in verdicts if v.comparison] == [(False, True)] * 2
    assert list(_table(verdicts).columns[-1].cells) == ["UNSTEADY"] * 2
    assert _conclude("seg", verdicts) == 1
    assert "unsteady: 2" in capsys.readouterr().out


def test_paddle_is_asked_once_where_nobody_wants_to_know(asked: list[int | None]) -> None:
    verdicts = list(verify(Served(), Path(), [Path("a.jpg")], (0.5, 0.3)))
    assert asked == [None]
    assert list(_table(verdicts).columns[-1].cells) == ["DIFFERENT"] * 2


@pytest.mark.parametrize("size", [(36, 48), (480, 640), (1080, 1920), (3000, 4000)])
@pytest.mark.parametrize("number", range(6))
def test_a_changed_photo_is_another_one_to_the_network_by_one_level(size: tuple[int, int], number: int) -> None:
    photo = np.full((*size, 3), 100, np.uint8)
    changed = photo.copy()
    _change_a_pixel(changed, number)
    assert np.abs(changed.astype(int) - photo).max() == 1
    seen = (cv2.resize(picture.astype(np.float32), (640, 640)) for picture in (photo, changed))
    assert (next(seen) != next(seen)).any()
