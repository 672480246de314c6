"""The shipped model on images it has never seen, against masks that were not made by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo"

pytestmark = pytest.mark.filterwarnings("ignore")  # Paddle's own, from within


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper", "camera"])
def test_the_person_is_found_and_outlined(name: str, needs: Callable[[str], ModuleType]) -> None:
    for library in ("paddle", "torch", "pycocotools"):
        needs(library)
    cv2 = needs("cv2")
    from maskserve_demo.evaluate import Predictor

    image = cv2.imread(str(DEMO / "photos" / f"{name}.jpg"))[:, :, ::-1]
    truth = cv2.imread(str(DEMO / "photos" / f"{name}.mask.png"), cv2.IMREAD_GRAYSCALE) > 0
    rows, masks = Predictor(DEMO / "model")(np.ascontiguousarray(image))
    found = masks[0] > 0
    assert rows[0, 1] > 0.5
    assert (found & truth).sum() / (found | truth).sum() >= 0.85
