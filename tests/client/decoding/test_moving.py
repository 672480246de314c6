"""Large images move to another place turned or not, and take their memory once."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve.decoding import moving
from maskserve.decoding.moving import move
from maskserve.inputs.exif import turned

PEAK = """
import resource
import numpy as np
from maskserve.decoding.moving import move

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

size = (5000, 4000, 3)  # 60 MB
source = np.ones(size, np.uint8)
before = peak()
target = np.empty(size if {orientation} < 5 else (4000, 5000, 3), np.uint8)
move(source, target, {orientation})
assert target.all()
print(peak() - before)
"""


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    orientation=st.integers(1, 8),
    strip=st.integers(1, 500),
)
def test_an_image_arrives_as_turning_would_make_it(height: int, width: int, orientation: int, strip: int) -> None:
    image = np.random.default_rng(height * width).integers(0, 255, (height, width, 3), np.uint8)
    expected = turned(image, orientation).copy()
    target = np.empty_like(expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving, "_STRIP", strip)
        move(image, target, orientation)
    assert np.array_equal(target, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_whose_memory_is_given_back_arrives_whole(orientation: int) -> None:
    image = np.random.default_rng(orientation).integers(0, 255, (2503, 2401, 3), np.uint8)  # rows end inside pages
    expected = turned(image, orientation).copy()
    target = np.empty_like(expected)
    move(image, target, orientation)
    assert np.array_equal(target, expected)
    assert not np.array_equal(turned(image, orientation), expected)  # it was given back: the image is large enough


def test_what_belongs_to_another_array_is_left_as_it_is() -> None:
    owner = np.ones((2500, 2400, 3), np.uint8)
    move(owner[:], np.empty_like(owner))
    assert owner.all()


@pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux only")
@pytest.mark.parametrize("orientation", [1, 6])
def test_an_image_takes_its_memory_once(orientation: int) -> None:
    code = PEAK.replace("{orientation}", str(orientation))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 30_000_000
