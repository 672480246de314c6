"""Saving from a program: files of their own for all results of a `predict`, and no input is overwritten."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.client.saved_files import image, sources_of

from maskserve.paddlex.generations import GENERATIONS
from maskserve.pipeline import Pipeline
from maskserve.saving.drawn import is_drawn, saved_source


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_results_of_one_predict_have_files_of_their_own(transport, tmp_path, generation):
    images = [
        image(tmp_path / name, number) for number, name in enumerate(("x/a.jpg", "x/a.png", "y/a.jpg", "y/b.jpg"))
    ]
    for number, order in enumerate(itertools.permutations(images)):
        out = tmp_path / f"out{number}"
        for result in Pipeline("tiny", transport, generation=generation).predict(list(order)):
            result.save_all(out)
        assert sources_of(out) == sorted(map(str, images))
        assert len(list(out.iterdir())) == 8
        suffix = GENERATIONS[generation].stem_suffix
        assert (out / f"a{suffix}.json").exists()  # the first keeps PaddleX's name, and so does who meets nobody
        assert (out / f"b{suffix}.json").exists()


def test_saving_twice_replaces_the_own_file(pipeline, tmp_path):
    images = [image(tmp_path / name) for name in ("x/a.jpg", "y/a.jpg")]
    out = tmp_path / "out"
    for result in pipeline.predict(images):
        for each in (result, result, result.filter(threshold=0.99), result.sort("x")):
            each.save_all(out)
    assert len(list(out.iterdir())) == 4
    assert json.loads((out / "a.json").read_text())["boxes"] != []


def test_the_next_predict_replaces_what_the_last_one_saved(pipeline, tmp_path):
    for folder in "xy":
        for result in pipeline.predict(image(tmp_path / folder / "a.jpg")):
            result.save_all(tmp_path / "out")
    assert sources_of(tmp_path / "out") == [str(tmp_path / "y" / "a.jpg")]


def test_two_paths_to_one_folder_are_one(pipeline, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "alias").symlink_to("out")
    places = iter(("out", "alias"))
    for result in pipeline.predict([image(tmp_path / name) for name in ("x/a.jpg", "y/a.jpg")]):
        result.save_all(tmp_path / next(places))
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_saving_in_threads(pipeline, tmp_path):
    images = [image(tmp_path / str(number) / "a.png") for number in range(24)]
    results = list(pipeline.predict(images))
    threads = [threading.Thread(target=result.save_all, args=(tmp_path / "out",)) for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sources_of(tmp_path / "out") == sorted(map(str, images))
    assert len(list((tmp_path / "out").iterdir())) == 48


class TestInPlace:
    @pytest.mark.parametrize("generation", GENERATIONS)
    def test_twice(self, transport, tmp_path, generation):
        images = [image(tmp_path / name) for name in ("a.jpg", "a_res.jpg", "b.png", "deep/a.jpg")]
        before = {path: path.read_bytes() for path in images}
        pipeline = Pipeline("tiny", transport, generation=generation)
        files = []
        for _ in range(2):
            results = list(pipeline.predict(str(tmp_path)))
            assert [result["input_path"] for result in results] == sorted(map(str, images))
            for result in results:
                result.save_all(Path(result["input_path"]).parent)
            files.append(sorted(tmp_path.rglob("*.*")))
        assert files[0] == files[1]
        assert {path: path.read_bytes() for path in images} == before
        assert len(files[0]) == 12

    def test_an_input_that_was_not_read_yet_is_not_overwritten(self, transport, tmp_path):
        images = [image(tmp_path / name, value) for name, value in (("x/a.png", 10), ("y/a.png", 250))]
        before = images[1].read_bytes()
        for source in (images, {"img": images}, [str(tmp_path / "x"), str(tmp_path / "y")]):
            scores = []
            for result in Pipeline("tiny", transport, concurrency=1).predict(source):
                result.save_all(tmp_path / "y")
                scores.append(round(float(result.scores[0]) * 255))
            assert scores == [10, 250]
            assert images[1].read_bytes() == before

    def test_an_input_of_a_generator_that_was_read_is_not_overwritten(self, pipeline, tmp_path):
        images = [image(tmp_path / name, value) for name, value in (("x/a.png", 10), ("y/a.png", 250))]
        before = images[1].read_bytes()
        for result in list(pipeline.predict(iter(images))):
            result.save_all(tmp_path / "y")
        assert images[1].read_bytes() == before

    def test_a_file_that_is_named_and_is_another_input(self, pipeline, tmp_path):
        images = [image(tmp_path / name) for name in ("a.png", "b.png")]
        before = images[1].read_bytes()
        result = next(iter(pipeline.predict(images)))
        assert result.save_to_img(images[1]) == tmp_path / "b_res.png"
        assert images[1].read_bytes() == before
        assert result.save_to_img(tmp_path / "c.png") == result.save_to_img(tmp_path / "c.png") == tmp_path / "c.png"

    def test_an_image_that_is_called_like_a_document(self, pipeline, tmp_path):
        input_image = image(tmp_path / "a.json")
        before = input_image.read_bytes()
        (result,) = pipeline.predict(input_image)
        assert result.save_to_json(tmp_path) == tmp_path / "a.png.json"
        assert result.save_to_json(input_image) == tmp_path / "a_res.json"
        assert input_image.read_bytes() == before

    def test_annotations_of_others_stay(self, pipeline, tmp_path):
        (result,) = pipeline.predict(image(tmp_path / "a.jpg"))
        (tmp_path / "a.json").write_text('{"version": "5.0.1", "shapes": []}')
        assert result.save_to_json(tmp_path) == tmp_path / "a.jpg.json"
        (tmp_path / "a.json").write_text('{"input_path": "a.jpg", "boxes": [], "masks": []}')  # PaddleX's
        assert result.save_to_json(tmp_path) == tmp_path / "a.json"


@pytest.mark.parametrize(
    "suffix", [".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".PNG", ".JPG"]
)
def test_what_is_drawn_is_known_again_and_any_program_reads_it(pipeline, tmp_path, suffix, grey):
    (result,) = pipeline.predict(grey(7, 300, 400))
    path = result.save_to_img(tmp_path / f"drawn{suffix}")
    assert is_drawn(path)
    with Image.open(path) as opened:
        assert opened.size == (400, 300)
        again = np.asarray(opened.convert("RGB"))
    drawn = np.asarray(result.draw())
    assert np.abs(again.astype(int) - drawn).mean() < 30
    if suffix.lower() != ".gif":
        assert cv2.imread(str(path)).shape == (300, 400, 3)
    plain = tmp_path / f"plain{suffix}"
    result.draw().save(plain)
    assert not is_drawn(plain)


def test_a_pipe_is_not_looked_into(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "a.json")
    assert not is_drawn(tmp_path / "a.jpg")
    assert saved_source(tmp_path / "a.json") is False


def test_save_all_to_a_file_makes_two_of_that_name(pipeline, tmp_path):
    (result,) = pipeline.predict(image(tmp_path / "a.webp"))
    result.save_all(tmp_path / "x.png")
    result.save_all(tmp_path / "y.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webp", "x.json", "x.png", "y.json", "y.webp"]


def test_a_result_that_travelled_is_saved_as_before(pipeline, tmp_path):
    (result,) = pipeline.predict(image(tmp_path / "a.jpg"))
    travelled = pickle.loads(pickle.dumps(result))
    travelled.save_all(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.json", "a_res.jpg"]


def test_a_copy_is_saved_among_the_same_files(pipeline, tmp_path):
    for result in pipeline.predict([image(tmp_path / name) for name in ("x/a.jpg", "y/a.jpg")]):
        copy.deepcopy(result).save_all(tmp_path / "out")
        copy.copy(result).save_all(tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4
