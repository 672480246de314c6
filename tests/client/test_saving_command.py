"""`maskserve predict --save_path`: each image has its own files, and one that cannot be saved stops no other."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.input_kinds import website
from tests.ugly_names import BYTES, make_ugly_folder

from maskserve.saving.drawn import is_drawn
from maskserve.text import printable
from maskserve_tools.cli import main

GENERATIONS = ("3.0b2", "3.x")


@pytest.fixture
def run(transport, monkeypatch, capsys):
    monkeypatch.setattr("maskserve._create.open_transport", lambda _: transport)

    def run(*arguments):
        status = main(["predict", "--pipeline", "tiny", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def image(path, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((4, 6, 3), value, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix if path.suffix != ".json" else ".png", pixels)[1].tobytes())
    return path


def saved(folder):
    """What each JSON file under a folder is about, and with which score, which tells the image's pixels."""
    return {
        path.relative_to(folder).as_posix(): document(path)["input_path"] for path in sorted(folder.rglob("*.json"))
    }


def document(path):
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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


class TestTrouble:
    @pytest.fixture
    def album(self, tmp_path):
        for name in ("a.png", "b.png", "c.png"):
            image(tmp_path / "album" / name)
        return tmp_path / "album"

    @pytest.mark.parametrize("name", ["b.png", "b.json"])
    @pytest.mark.parametrize("mode", [[], ["--ndjson"]])
    def test_a_directory_in_the_way(self, run, album, out, name, mode):
        (out / name).mkdir(parents=True)
        status, text, err = run("--input", album, "--save_path", out, *mode)
        assert (status, text.count("\n")) == (1, 3)
        assert err == (
            f"maskserve: {album}/b.png: {out}/{name} cannot be written: a directory is in the way\n"
            "maskserve: 2 of 3 images are done, 1 could not be saved\n"
        )
        assert names(out) == sorted({"a.json", "a.png", "b.json", "b.png", "c.json", "c.png"} - {name})
        (out / name).rmdir()
        assert run("--input", album, "--save_path", out, "--resume")[0] == 0
        assert len(names(out)) == 6

    def test_a_full_disk(self, run, album, out, monkeypatch):
        def replace(self, target):
            if target.name.startswith("b."):
                raise OSError(28, "No space left on device")
            os.rename(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        status, text, err = run("--input", album, "--save_path", out)
        assert (status, text.count("\n"), err.count("No space left on device")) == (1, 3, 2)
        assert err.endswith("maskserve: 2 of 3 images are done, 1 could not be saved\n")
        assert names(out) == ["a.json", "a.png", "c.json", "c.png"]

    def test_an_image_that_is_gone_by_now(self, run, album, out, transport, monkeypatch):
        find = transport.find

        def respond(request):
            (album / "b.png").unlink(missing_ok=True)
            return find(request)

        transport.respond = respond
        status, _, err = run("--input", album, "--save_path", out, "--concurrency", 3)
        assert (status, "b.png" in err) == (1, True)
        assert names(out)[:2] == ["a.json", "a.png"]
        assert "c.png" in names(out)

    def test_a_format_that_does_not_hold_the_image(self, run, tmp_path, out):
        wide = tmp_path / "wide.webp"
        wide.write_bytes(cv2.imencode(".png", np.zeros((1, 16384, 3), np.uint8))[1].tobytes())
        status, _, err = run("--input", wide, "--save_path", out)
        assert (status, "WEBP does not hold an image of 16384x1; name a .png file" in err) == (1, True)
        assert names(out) == ["wide.json"]

    @pytest.mark.parametrize(
        "suffix", [".ico", ".icns", ".xbm", ".blp", ".h5", ".xyz", ".gif", ".jp2", ".ppm", ".avif"]
    )
    def test_suffixes_of_all_kinds(self, run, tmp_path, out, suffix):
        odd = tmp_path / f"odd{suffix}"
        odd.write_bytes(cv2.imencode(".png", np.zeros((300, 400, 3), np.uint8))[1].tobytes())
        assert run("--input", odd, "--save_path", out)[0] == 0
        (drawn,) = (out / name for name in names(out) if not name.endswith(".json"))
        from PIL import Image

        with Image.open(drawn) as opened:
            assert opened.size == (400, 300)

    def test_a_directory_that_cannot_be_read(self, run, album, out, monkeypatch):
        image(album / "secret" / "d.png")
        scandir = os.scandir

        def refusing(path):
            if str(path).endswith("secret"):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)
        status, text, err = run("--input", album, "--save_path", out)
        assert (status, text.count("\n")) == (1, 3)
        assert f"the directory '{album}/secret' cannot be read: Permission denied" in err
        assert "3 of 4 images are done, 1 could not be segmented" in err
        shutil.rmtree(out)
        monkeypatch.setattr(os, "scandir", lambda path: refusing(f"{path}/secret"))
        status, text, err = run("--input", album, "--save_path", out)
        assert (status, text, "cannot be read: Permission denied" in err) == (1, "", True)


class Pipe:
    """Standard output whose reader goes away after some lines."""

    encoding = "utf-8"
    closed = False

    def __init__(self, lines, error):
        self.lines, self.error, self.text = lines, error, ""

    def write(self, text):
        if self.text.count("\n") >= self.lines:
            raise self.error
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return False

    def fileno(self):
        raise OSError(9, "none")


class TestStandardOutput:
    @pytest.fixture
    def album(self, tmp_path):
        for name in "abcdef":
            image(tmp_path / "album" / f"{name}.png")
        return tmp_path / "album"

    @pytest.mark.parametrize("mode", [[], ["--ndjson"]])
    def test_a_reader_that_has_seen_enough_does_not_stop_the_saving(self, run, album, out, monkeypatch, mode):
        monkeypatch.setattr(sys, "stdout", Pipe(2, BrokenPipeError(32, "Broken pipe")))
        assert run("--input", album, "--save_path", out, *mode)[0] == 0
        assert len(names(out)) == 12

    def test_a_reader_that_has_seen_enough_ends_what_is_only_printed(self, run, album, monkeypatch):
        monkeypatch.setattr(sys, "stdout", Pipe(2, BrokenPipeError(32, "Broken pipe")))
        status, _, err = run("--input", album)
        assert status == 1
        assert err.endswith(
            "nobody reads standard output any more\nmaskserve: 2 of 6 images are done, 4 were left out\n"
        )

    def test_a_full_disk_behind_it_is_an_error(self, run, album, out, monkeypatch):
        monkeypatch.setattr(sys, "stdout", Pipe(2, OSError(28, "No space left on device")))
        status, _, err = run("--input", album, "--save_path", out)
        assert (status, "standard output cannot be written: No space left on device" in err) == (1, True)
        assert len(names(out)) == 12

    @pytest.mark.parametrize("mode", [[], ["--ndjson"]])
    def test_characters_that_it_does_not_have(self, run, tmp_path, monkeypatch, mode):
        pipe = Pipe(9, None)
        pipe.encoding = "ascii"
        monkeypatch.setattr(sys, "stdout", pipe)
        input_image = image(tmp_path / "straße.png")
        assert run("--input", input_image, *mode)[0] == 0
        pipe.text.encode("ascii")
        assert json.loads(pipe.text)["input_path"] == str(input_image) if mode else "stra\\xdfe" in pipe.text

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_it_may_be_closed(self, run, album, out, monkeypatch, stream):
        monkeypatch.setattr(sys, stream, None)
        (album / "bad.png").touch()
        assert run("--input", album, "--save_path", out)[0] == 1
        assert len(names(out)) == 12


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
