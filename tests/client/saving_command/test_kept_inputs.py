"""Folders as people have them, and results among the inputs: no input changes, and no result is segmented again."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.client.saving_command.conftest import GENERATIONS, image, names, saved
from tests.ugly_names import BYTES, make_ugly_folder

from maskserve.saving.drawn import is_drawn
from maskserve.text import printable


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_ugly_folder(run, tmp_path, out, generation, transport):
    ugly = make_ugly_folder(tmp_path / "ugly")
    before = {path: path.read_bytes() for path in ugly.path.rglob("*") if path.is_file() and not path.is_symlink()}
    arguments = ("--input", ugly.path, "--save_path", out, "--generation", generation)
    status, text, err = run(*arguments)
    assert status == 1
    assert f"{ugly.good} of {ugly.good + ugly.broken} images are done, {ugly.broken} could not be segmented" in err
    assert (text.count("\n"), err.count("\n")) == (ugly.good, ugly.broken + 1)
    assert "\x1b" not in err + text
    about = Counter(saved(out).values())
    assert len(about) == ugly.good - 1  # the two pages have one path
    assert about.pop(str(ugly.path / "doc.tif")) == 2
    assert set(about.values()) == {1}
    assert printable(str(ugly.path / os.fsdecode(BYTES))) in about
    images = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".json"]
    assert len(images) == ugly.good
    assert all(map(is_drawn, images))
    assert {path: path.read_bytes() for path in before} == before
    assert not [name for name in names(out) if Path(name).name.startswith(".")]

    transport.requests.clear()
    again = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    status, text, err = run(*arguments, "--resume")
    assert (status, text) == (1, "")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}.items() <= again.items()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_ugly_folder_in_place(run, tmp_path, generation):
    ugly = make_ugly_folder(tmp_path / "ugly")
    before = {path: path.read_bytes() for path in ugly.path.rglob("*") if path.is_file() and not path.is_symlink()}
    arguments = ("--input", ugly.path, "--save_path", ugly.path, "--generation", generation)
    first = run(*arguments)
    files = names(ugly.path)
    second = run(*arguments)
    assert {path: path.read_bytes() for path in before} == before
    assert names(ugly.path) == files
    assert first[:2] == second[:2]
    assert f"left out {ugly.good} images that maskserve drew" not in first[2]
    assert Counter(saved(ugly.path).values()).most_common(2)[0][1] == 2  # the pages
    assert not [name for name in files if "_res_res" in name and "a_res" not in name]


def test_ndjson_of_the_ugly_folder(run, tmp_path):
    ugly = make_ugly_folder(tmp_path / "ugly")
    status, text, _ = run("--input", ugly.path, "--ndjson")
    lines = [json.loads(line) for line in text.encode("utf-8").splitlines()]
    assert (status, len(lines)) == (1, ugly.good)
    assert printable(str(ugly.path / os.fsdecode(BYTES))) in [line["input_path"] for line in lines]


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".jpeg"])
def test_what_was_drawn_is_not_segmented_again(run, tmp_path, generation, suffix, transport):
    input_image = tmp_path / "album" / f"a{suffix}"
    input_image.parent.mkdir()
    input_image.write_bytes(cv2.imencode(suffix.replace("dib", "bmp"), np.full((64, 64, 3), 90, np.uint8))[1].tobytes())
    before = input_image.read_bytes()
    arguments = ("--save_path", input_image.parent, "--generation", generation)
    for sources in ([input_image.parent], [input_image.parent], sorted, sorted):
        found = sources(input_image.parent.glob(f"*{suffix}")) if callable(sources) else sources
        transport.requests.clear()
        status, _, err = run("--input", *found, *arguments)
        assert (status, len(transport.requests)) == (0, 1), err
    assert len(names(input_image.parent)) == 3
    assert input_image.read_bytes() == before
    (drawn,) = input_image.parent.glob(f"*_res{suffix}")
    assert run("--input", drawn, "--save_path", tmp_path / "meant")[0] == 0  # named alone it is meant


def test_what_was_left_out_is_said(run, tmp_path, caplog):
    image(tmp_path / "album" / "a.png")
    run("--input", tmp_path / "album", "--save_path", tmp_path / "album" / "drawn")
    caplog.clear()
    status, text, _ = run("--input", tmp_path / "album", "--save_path", tmp_path / "album" / "drawn")
    assert (status, text.count("\n")) == (0, 1)
    assert f"left out 1 image that maskserve drew: '{tmp_path}/album/drawn/a.png'" in caplog.text
    assert names(tmp_path / "album") == ["a.png", "drawn/a.json", "drawn/a.png"]


def test_photos_and_annotations_among_the_inputs_are_left_alone(run, tmp_path):
    album = tmp_path / "album"
    mine = {"a_res.jpg": image(album / "a_res.jpg").read_bytes(), "a.json": b'{"shapes": []}'}
    input_image = image(album / "a.jpg", 30)
    (album / "a.json").write_bytes(mine["a.json"])
    for generation in GENERATIONS:
        assert run("--input", input_image, "--save_path", album, "--generation", generation)[0] == 0
        assert run("--input", album, "--save_path", album, "--generation", generation)[0] == 0
    assert {name: (album / name).read_bytes() for name in mine} == mine


def test_an_input_in_the_folder_for_the_output(run, tmp_path):
    """x/a.png is saved as y/a.png: which is an image that was not segmented yet."""
    for name, value in (("x", 10), ("y", 250)):
        image(tmp_path / name / "a.png", value)
    before = (tmp_path / "y" / "a.png").read_bytes()
    status, text, _ = run("--input", tmp_path / "x", tmp_path / "y", "--save_path", tmp_path / "y", "--ndjson")
    assert status == 0
    assert [round(json.loads(line)["boxes"][0]["score"] * 255) for line in text.splitlines()] == [10, 250]
    assert (tmp_path / "y" / "a.png").read_bytes() == before
