"""The options of `maskserve predict` that say how results are drawn and cut out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.client.saving_command.conftest import image, names


class TestDrawing:
    def test_cutouts_have_a_folder_of_their_own(self, run, tmp_path, out):
        image(tmp_path / "in" / "a.png"), image(tmp_path / "in" / "b.png")
        status, text, err = run("--input", tmp_path / "in", "--cutouts", out)
        assert (status, text.count("\n"), err) == (0, 2, "")
        assert names(out) == ["a_0_car.png", "b_0_car.png"]
        assert cv2.imread(str(out / "a_0_car.png"), cv2.IMREAD_UNCHANGED).shape[2] == 4

    def test_cutouts_that_cannot_be_saved_are_reported(self, run, tmp_path, out):
        out.write_text("in the way", encoding="utf-8")
        status, _, err = run("--input", image(tmp_path / "a.png"), "--cutouts", out)
        assert status == 1
        assert "cannot be written" in err
        assert "1 could not be saved" in err

    def test_what_is_drawn(self, run, tmp_path, out):
        source = image(tmp_path / "a.png")
        options = ("--show", "masks", "--colors", "red", "--opacity", "1", "--by", "class")
        assert run("--input", source, "--save_path", out, *options)[0] == 0
        assert (cv2.imread(str(out / "a.png"))[:, :3] == (0, 0, 255)).all()

    def test_as_paddlex_draws(self, run, tmp_path, out, transport):
        from maskserve.pipeline import Pipeline

        source = image(tmp_path / "a.png")
        assert run("--input", source, "--save_path", out, "--style", "paddlex")[0] == 0
        (result,) = Pipeline("tiny", transport).predict(str(source))
        assert np.array_equal(cv2.imread(str(out / "a.png"))[:, :, ::-1], np.asarray(result.draw("paddlex")))

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (("--colors", "reddish"), "'reddish' is no colour"),
            (("--style", "paddlex", "--by", "class"), "leave out by"),
        ],
    )
    def test_what_makes_no_sense_is_said_before_anything_is_saved(self, run, tmp_path, out, options, word):
        status, text, err = run("--input", image(tmp_path / "a.png"), "--save_path", out, *options)
        assert (status, text) == (1, "")
        assert word in err
        assert not out.exists()
