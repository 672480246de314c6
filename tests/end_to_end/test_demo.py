"""The demo model on the demo images, through a real server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from maskserve import create_pipeline
from tests.end_to_end.conftest import DEMO

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server


@pytest.mark.parametrize("model", [DEMO, f"{DEMO}-single"])
@pytest.mark.parametrize("image", ["astronaut", "camera", "grace_hopper"])
def test_the_person_is_found_and_outlined(image: str, model: str, server: Server, demo_model: Path) -> None:
    path = demo_model.parent / "photos" / f"{image}.jpg"
    with create_pipeline(model, url=server.grpc_url) as pipeline:
        (result,) = pipeline.predict(path)
    assert [instance.label for instance in result.instances] == ["person"]
    assert result.instances[0].score > 0.5
    wanted = cv2.imread(str(path.with_suffix(".mask.png")), cv2.IMREAD_GRAYSCALE) > 127
    found = result.instances[0].mask.decode() > 0
    assert np.count_nonzero(wanted & found) / np.count_nonzero(wanted | found) >= 0.85
