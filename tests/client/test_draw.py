import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve import InvalidParameter

SIZE = (120, 200)
# The second of two in a class, and one of another; their masks are the left halves of the boxes.
FOUND = [(0, 0.9, (10, 60, 50, 100)), (0, 0.8, (60, 60, 100, 100)), (1, 0.7, (120, 60, 160, 100))]


def inside(image, index):
    x0, y0, _, _ = FOUND[index][2]
    return image.getpixel((x0 + 10, y0 + 20))


def drawn(result_of, style="paddlex", found=FOUND, value=0):
    return result_of(np.full((*SIZE, 3), value, np.uint8), found, SIZE).draw(style)


def test_the_colours_of_paddlex_fade(result_of):
    image = drawn(result_of, "paddlex")
    assert [inside(image, i) for i in (0, 1, 2)] == [(178, 71, 71), (178, 114, 114), (71, 178, 114)]


def test_only_the_mask_is_tinted(result_of):
    image = drawn(result_of, value=100)
    assert inside(image, 0) == (208, 101, 101)
    assert image.getpixel((45, 80)) == (100, 100, 100)


def test_red_stays_red(result_of):
    red = np.zeros((*SIZE, 3), np.uint8)
    red[:, :, 2] = 255
    assert result_of(red, [], SIZE).img.getpixel((3, 3)) == (255, 0, 0)


def test_the_array_of_the_caller_is_not_drawn_upon(result_of):
    array = np.zeros((*SIZE, 3), np.uint8)
    result_of(array, FOUND, SIZE).draw()
    assert not array.any()


def test_boxes_and_labels(result_of):
    pixels = np.asarray(drawn(result_of))
    assert pixels[100, 30].tolist() == [255, 0, 0]
    label = pixels[45:59, 10:50].reshape(-1, 3)
    assert (label == [255, 0, 0]).all(axis=1).any()
    assert (label == [255, 255, 255]).all(axis=1).any()


@pytest.mark.parametrize("box", [(0, 0, 200, 120), (190, 0, 200, 5), (199.5, 119.5, 200, 120), (5, 5, 5, 5)])
def test_labels_at_the_edge(result_of, box):
    assert drawn(result_of, found=[(0, 0.5, box)]).size == (200, 120)


@pytest.mark.parametrize("generation", ["3.0b2", "3.x"])
def test_a_small_picture_has_boxes(result_of, generation):
    result = result_of(np.zeros((40, 60, 3), np.uint8), [(0, 0.5, (20, 25, 50, 35))], (40, 60), generation)
    assert result.draw("paddlex").getpixel((45, 35)) == (255, 0, 0)


def test_a_label_stays_inside_the_picture(result_of):
    pixels = np.asarray(drawn(result_of, found=[(0, 0.5, (195, 60, 200, 70))]))
    assert (pixels[50:59, 140:195] == [255, 0, 0]).all(axis=2).any()


def test_where_labels_meet_the_later_is_on_top(result_of):
    best, other = (0, 0.9, (10, 60, 50, 100)), (1, 0.3, (10, 60, 90, 110))
    assert drawn(result_of, "paddlex", [best, other]).getpixel((11, 57)) == (204, 255, 0)


def test_nothing_found_leaves_the_picture(result_of):
    array = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    assert np.array_equal(np.asarray(result_of(array, [], SIZE).img), array[:, :, ::-1])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "I;16"])
def test_files_of_every_mode_are_drawn_upon(result_of, tmp_path, mode):
    path = tmp_path / "image.png"
    if mode == "I;16":
        cv2.imwrite(str(path), np.full(SIZE, 40000, np.uint16))
    else:
        Image.new("L", SIZE[::-1], 90).convert(mode).save(path)
    assert inside(result_of(path, FOUND, SIZE).img, 0)[0] > inside(result_of(path, FOUND, SIZE).img, 0)[1]


def test_a_photo_is_drawn_upon_upright(result_of, tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE, "white").save(path, exif=exif)  # lying: SIZE is (height, width)
    assert result_of(path, FOUND, SIZE).img.size == (200, 120)


def test_a_font_of_ones_own(result_of, monkeypatch, tmp_path):
    monkeypatch.setenv("PADDLE_PDX_LOCAL_FONT_FILE_PATH", str(tmp_path / "none.ttf"))
    with pytest.raises(InvalidParameter, match=r"none\.ttf cannot be read"):
        drawn(result_of)


def test_an_unknown_style(result_of):
    with pytest.raises(InvalidParameter, match="no style 'plain'"):
        drawn(result_of, "plain")
