"""Each image has files of its own, whatever the names and their order, and `--resume` knows them again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.client.saving_command.conftest import GENERATIONS, document, image, names, saved
from tests.input_kinds import website


@pytest.mark.parametrize("others", [[], ["b.jpg"]])
def test_names_are_paddlexs_where_they_do_not_meet(run, tmp_path, out, others):
    folder = tmp_path / "album"
    for name in ("a.jpg", "a.png", *others):
        image(folder / name)
    run("--input", folder, "--save_path", out)
    assert names(out) == sorted(
        ["a.jpg", "a.jpg.json", "a.png", "a.png.json", *(["b.jpg", "b.json"] if others else [])]
    )
    assert saved(out)["a.png.json"] == str(folder / "a.png")


MEETING = {
    "suffixes": (["album"], ["album/a.jpg", "album/a.png", "album/a.webp"]),
    "folders": (["x", "y"], ["x/a.jpg", "y/a.jpg", "x/deep/b.png", "y/deep/b.png"]),
    "folders and suffixes": (["x", "y"], ["x/a.jpg", "x/a.png", "y/a.jpg"]),
    "files": (["x/a.jpg", "y/a.jpg", "y/a.png"], ["x/a.jpg", "y/a.jpg", "y/a.png"]),
    "a name that tells apart": (["album"], ["album/a.jpg", "album/a.png", "album/a.jpg.png", "album/a.jpg.json.png"]),
    "replaced suffixes": (["album/a", "album/a.png", "album/a.ico"], ["album/a", "album/a.png", "album/a.ico"]),
    "long names": (["album"], [f"album/{'x' * 250}{i}.png" for i in range(3)]),
}


@pytest.mark.parametrize("case", MEETING)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_no_two_images_share_a_file_whatever_the_order(run, tmp_path, case, generation, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources, files = MEETING[case]
    for number, name in enumerate(files):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", np.full((4, 6, 3), number * 20, np.uint8))[1].tobytes())
    made = []
    for out, order in (("one", sources), ("two", sources[::-1]), ("three", sources)):
        if out == "three":  # some were done before
            assert run("--input", *sources[:1], "--save_path", out, "--generation", generation)[0] == 0
        resume = ["--resume"] if out == "three" else []
        assert run("--input", *order, "--save_path", out, "--generation", generation, *resume)[0] == 0
        made.append(saved(Path(out)))
        scores = {round(document(path)["boxes"][0]["score"] * 255) for path in Path(out).rglob("*.json")}
        assert scores == {number * 20 for number in range(len(files))}
        assert len(names(Path(out))) == 2 * len(files)
    assert made[0] == made[1]
    assert sorted(made[0].values()) == sorted(made[2].values()) == sorted(files)
    for out in ("one", "two", "three"):
        assert run("--input", *sources[::-1], "--save_path", out, "--generation", generation, "--resume") == (0, "", "")


def test_resuming_does_what_a_file_of_the_same_name_hid(run, tmp_path, out):
    first, second = image(tmp_path / "a.jpg", 10), image(tmp_path / "a.png", 20)
    assert run("--input", first, "--save_path", out)[0] == 0
    assert run("--input", second, "--save_path", out, "--resume")[1].count("\n") == 1
    assert saved(out) == {"a.json": str(first), "a.png.json": str(second)}
    assert run("--input", first, second, "--save_path", out, "--resume") == (0, "", "")
    drawn = (out / "a.jpg").read_bytes()
    third = image(tmp_path / "y" / "a.jpg", 30)
    assert run("--input", third, "--save_path", out, "--resume")[0] == 0
    assert sorted(saved(out).values()) == sorted(map(str, (first, second, third)))
    assert (out / "a.jpg").read_bytes() == drawn
    assert len(names(out)) == 6


def test_resuming_does_again_what_was_half_saved(run, tmp_path, out):
    input_image = image(tmp_path / "a.png")
    run("--input", input_image, "--save_path", out)
    (out / "a.png").unlink()
    assert run("--input", input_image, "--save_path", out, "--resume")[1].count("\n") == 1
    assert names(out) == ["a.json", "a.png"]
    (out / "a.json").write_text('{"shapes": []}')  # LabelMe's
    assert run("--input", input_image, "--save_path", out, "--resume")[1].count("\n") == 1
    assert saved(out) == {"a.json": str(input_image)}


def test_resuming_knows_an_image_by_any_of_its_paths(run, tmp_path, out, monkeypatch):
    image(tmp_path / "album" / "a.png")
    monkeypatch.chdir(tmp_path)
    run("--input", "album", "--save_path", out)
    for source in (tmp_path / "album", "./album/", "album/a.png"):
        assert run("--input", source, "--save_path", out, "--resume") == (0, "", "")


def test_addresses_that_differ_in_their_query_or_host(run, tmp_path, out):
    image(tmp_path / "site" / "a.png")
    with website(tmp_path / "site") as url:
        other = url.replace("127.0.0.1", "localhost")
        sources = [f"{url}/a.png", f"{url}/a.png?id=1", f"{url}/a.png?id=2", f"{other}/a.png"]
        assert run("--input", *sources, "--save_path", out)[0] == 0
        assert sorted(saved(out).values()) == sorted(sources)
        assert len(names(out)) == 8
        assert run("--input", *sources[::-1], "--save_path", out, "--resume") == (0, "", "")
        assert run("--input", f"{url}/a.png", "--save_path", tmp_path / "alone")[0] == 0
    assert names(tmp_path / "alone") == ["a.json", "a.png"]


def test_names_that_differ_in_case_only(run, tmp_path, out, monkeypatch):
    for name in ("A.jpg", "a.png"):
        image(tmp_path / "album" / name)
    run("--input", tmp_path / "album", "--save_path", out)
    assert names(out) == ["A.jpg", "A.json", "a.json", "a.png"]
    monkeypatch.setattr("maskserve_tools.placing._folds_case", lambda folder: folder.mkdir() is None)
    run("--input", tmp_path / "album", "--save_path", tmp_path / "folding")
    assert names(tmp_path / "folding") == ["A.jpg", "A.jpg.json", "a.png", "a.png.json"]


def test_one_file_for_one_image(run, tmp_path, out):
    input_image = image(tmp_path / "a.jpg")
    for name in ("x.json", "y.webp", "Z.PNG"):
        assert run("--input", input_image, "--save_path", out / name)[0] == 0
    assert names(out) == ["Z.PNG", "Z.json", "x.jpg", "x.json", "y.json", "y.webp"]


@pytest.mark.parametrize("name", ["x.json", "x.jpg"])
def test_one_file_for_several_images(run, tmp_path, out, name, transport):
    input_image, other = image(tmp_path / "a.jpg"), image(tmp_path / "b.jpg")
    status, _, err = run("--input", input_image, other, "--save_path", out / name)
    assert (status, "is one file for 2 images; name a directory" in err) == (1, True)
    assert not transport.requests
    assert run("--input", input_image, other, "--save_path", f"{out / name}/")[0] == 0
    assert names(out) == [f"{name}/{file}" for file in ("a.jpg", "a.json", "b.jpg", "b.json")]


def test_a_path_that_is_a_file(run, tmp_path, transport):
    input_image = image(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("mine")
    for place in ("notes.txt", "notes.txt/out"):
        status, _, err = run("--input", input_image, "--save_path", tmp_path / place)
        assert (status, "cannot be written" in err, err.count("\n")) == (1, True, 1)
    status, _, err = run("--input", input_image, "--save_path", input_image)
    assert (status, "would overwrite the image" in err) == (1, True)
    assert not transport.requests
    assert (tmp_path / "notes.txt").read_text() == "mine"
