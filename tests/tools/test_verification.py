"""What `verify` asks Paddle besides the photos themselves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskserve_tools.verifying.verification import _change_a_pixel


@pytest.mark.parametrize("size", [(36, 48), (480, 640), (1080, 1920), (3000, 4000)])
@pytest.mark.parametrize("number", range(6))
def test_a_changed_photo_is_another_one_to_the_network_by_one_level(size: tuple[int, int], number: int) -> None:
    photo = np.full((*size, 3), 100, np.uint8)
    changed = photo.copy()
    _change_a_pixel(changed, number)
    assert np.abs(changed.astype(int) - photo).max() == 1
    seen = (cv2.resize(picture.astype(np.float32), (640, 640)) for picture in (photo, changed))
    assert (next(seen) != next(seen)).any()
