"""Saving from a program: files of their own for all results of a `predict`, and errors of one family."""

from __future__ import annotations

import copy
import itertools
import json
import multiprocessing
import os
import pickle
import random
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.input_kinds import website

from maskserve import Failure, InputError, InvalidParameter, MaskserveError
from maskserve.inputs.image import InputImage
from maskserve.paddlex.generations import GENERATIONS
from maskserve.pipeline import Pipeline
from maskserve.saving.drawn import is_drawn, saved_source
from maskserve.saving.files import own_name, replacing
from maskserve.saving.naming import choices, image_suffix, owner
from maskserve.text import one_line, printable


def image(path, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((4, 6, 3), value, np.uint8))[1].tobytes())
    return path


def sources_of(folder):
    return sorted(str(json.loads(path.read_text(encoding="utf-8"))["input_path"]) for path in folder.rglob("*.json"))


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


def test_images_in_memory_have_names_of_their_own(pipeline, tmp_path, grey, monkeypatch):
    monkeypatch.setattr("maskserve.saving.files.time.time", lambda: 1.7e9)
    random.seed(1)
    state = random.getstate()
    for result in pipeline.predict(grey(value) for value in itertools.islice(itertools.cycle(range(250)), 400)):
        result.save_to_json(tmp_path)
    assert random.getstate() == state  # the program's own generator is its own affair
    assert len(list(tmp_path.iterdir())) == 400
    assert sum(len(path.stem) == len("1700000000_1234") for path in tmp_path.iterdir()) > 390


def test_an_image_in_memory_never_takes_the_file_of_another_process(pipeline, tmp_path, grey, monkeypatch):
    numbers = iter([7, 7, 8, 9])
    monkeypatch.setattr("maskserve.saving.files.time.time", lambda: 1.6e9)
    monkeypatch.setattr("maskserve.saving.files._random.randrange", lambda _: next(numbers))
    (tmp_path / "1600000000_0007.json").write_text("another's")
    (tmp_path / "1600000000_0008.png").write_text("another's")
    (result,) = pipeline.predict(grey())
    assert result.save_to_json(tmp_path) == tmp_path / "1600000000_0008.json"
    assert result.save_to_img(tmp_path) == tmp_path / "1600000000_0009.png"
    assert result.save_to_img(tmp_path) == tmp_path / "1600000000_0009.png"  # its own is replaced
    assert (tmp_path / "1600000000_0007.json").read_text() == "another's"


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with replacing(tmp_path / "a", overwrite=False) as scratch:
        scratch.write_text("first")
    with pytest.raises(InputError, match="is there already"), replacing(tmp_path / "a", overwrite=False) as scratch:
        scratch.write_text("second")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "first"}


def _draw_names(queue):
    queue.put([own_name(InputImage(bytes)).name for _ in range(3)])


def test_processes_that_seed_alike_do_not_name_alike(monkeypatch):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    monkeypatch.setattr("maskserve.saving.files.time.time", lambda: 1.7e9)
    random.seed(0)
    workers = [context.Process(target=_draw_names, args=(queue,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    first, second = queue.get(timeout=60), queue.get(timeout=60)
    for worker in workers:
        worker.join()
    assert first != second


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


ADDRESSES = {
    "http://h/a.jpg": "a.jpg",
    "HTTP://h/a.jpg?x=1#y": "a.jpg",
    "http://h/deep/a%20b.jpg": "a b.jpg",
    "http://h/%2e%2e/x.jpg": "x.jpg",
    "http://h/%2e%2e%2f%2e%2e%2fetc%2fpasswd": "passwd",
    "http://h/%2fetc%2fx.jpg": "x.jpg",
    "http://h/a%5cb.jpg": "a_b.jpg",
    "http://h/a%00b%0a.jpg": "a_b_.jpg",
    "http://h/%2e%2e": "h.png",
    "http://h/...": "h.png",
    "http://h": "h.png",
    "http://h/": "h.png",
    "http://h/?q=a.jpg": "h.png",
    "http://example.org:81/%20/": "example.org.png",
    "http://192.168.1.5/": "192.168.1.5.png",
    "http://[::1]/": "__1.png",
    "http://[::1/a.jpg": "a.jpg",
    "http://": "url.png",
    "http://h/dir/": "dir",
    "http://h/.hidden.jpg": "_.hidden.jpg",
    "http://h/-rf.jpg": "_-rf.jpg",
    "http://h/CON.jpg": "_CON.jpg",
    "http://h/console.jpg": "console.jpg",
    "http://h/com1": "_com1",
    "http://h/x.jpg%20%20": "x.jpg",
    "http://h/x.jpg...": "x.jpg",
    "http://h/a:b%3fc.jpg": "a_b_c.jpg",
    "http://h/caf%E9.jpg": "caf\ufffd.jpg",
    "http://h/照.jpg": "照.jpg",
}


@pytest.mark.parametrize(("address", "name"), ADDRESSES.items())
def test_the_name_that_an_address_brings(address, name):
    assert own_name(InputImage(bytes, address)) == Path(name)


KINDS = st.sampled_from(["image", "json"])


@given(st.text(), st.sampled_from(sorted(GENERATIONS)), KINDS, st.integers(0, 9) | st.none())
def test_no_address_leads_out_of_the_folder_or_to_a_name_that_cannot_be(text, generation, kind, page):
    input_image = InputImage(bytes, f"http://{text}", page)
    names = choices(input_image, own_name(input_image), GENERATIONS[generation], kind)
    for name in (names.plain, *names.telling, *filter(None, [names.beside])):
        assert not set(name) & {"/", "\\", "\0", "\n"}
        assert name not in ("", ".", "..")
        assert not name.startswith((".", "-"))
        assert len(name.encode("utf-8", "surrogatepass")) <= 255


BYTES = st.binary(min_size=1, max_size=255).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
FILE_NAMES = BYTES.map(os.fsdecode).filter(lambda name: name not in (".", ".."))


@given(FILE_NAMES, FILE_NAMES, st.sampled_from(sorted(GENERATIONS)), KINDS)
def test_the_last_name_is_one_images_alone(first, second, generation, kind):
    names = []
    for path in (f"/x/{first}", f"/y/{second}"):
        input_image = InputImage(bytes, path)
        names.append(choices(input_image, own_name(input_image), GENERATIONS[generation], kind))
    assert names[0].telling[-1] != names[1].telling[-1]
    assert all(len(os.fsencode(name)) <= 255 for each in names for name in (each.plain, *each.telling))
    assert names[0].plain == plain_name(first, generation, kind) or len(os.fsencode(first)) > 245


def plain_name(name, generation, kind):
    path = Path(name)
    kept = image_suffix(path)  # what Pillow writes: a random name may end in .WEBP
    return f"{path.stem}{GENERATIONS[generation].stem_suffix}{'.json' if kind == 'json' else kept}"


def test_the_owner_of_a_file_is_its_path_and_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    owners = {owner(InputImage(bytes, path, 1), Path("a")) for path in ("a.tif", "./a.tif", str(tmp_path / "a.tif"))}
    assert owners == {f"{tmp_path}/a.tif#1"}


ODD = st.text(st.characters() | st.characters(categories=["Cs"]) | st.sampled_from("\\x5ce9ud"))


@given(ODD, ODD)
def test_printable_text_is_utf8_and_different_texts_stay_so(first, second):
    printable(first).encode("utf-8")
    assert (printable(first) == printable(second)) == (first == second)
    assert not set(one_line(first)) & set("\n\r\x1b\u2028\x85\u202e")
    one_line(first).encode("utf-8")


def test_printable_text_reads_well():
    assert printable("caf\udce9.jpg") == "caf\\xe9.jpg"
    assert printable("C:\\x12\\straße.jpg") == "C:\\x12\\straße.jpg"
    assert one_line("a\nb\x1b[31m") == "a\\nb\\x1b[31m"


class TestErrors:
    @pytest.fixture
    def result(self, pipeline, tmp_path):
        (result,) = pipeline.predict(image(tmp_path / "photo.jpg"))
        return result

    @pytest.mark.parametrize("place", [None, 7, "a\0b/", "x" * 300 + "/", "\ud800/", "file/x", ["a"]])
    @pytest.mark.parametrize("save", ["save_to_img", "save_to_json", "save_all"])
    def test_places_that_are_none(self, result, tmp_path, monkeypatch, place, save):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(MaskserveError, match=r"cannot be written|is no path"):
            getattr(result, save)(place)

    @pytest.mark.parametrize("name", ["a.xbm", "a.h5", "a.ico", "a.icns", "a.blp", "\0.png", "x" * 300 + ".png"])
    def test_files_that_cannot_be(self, result, tmp_path, name):
        with pytest.raises(InputError, match="cannot be written"):
            result.save_to_img(f"{tmp_path / 'out'}/{name}")
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

    @pytest.mark.parametrize(("suffix", "size"), [(".jpg", (1, 65501)), (".webp", (16384, 1)), (".gif", (65536, 1))])
    def test_formats_with_a_largest_size(self, pipeline, tmp_path, suffix, size, grey):
        (result,) = pipeline.predict(grey(7, *size))
        with pytest.raises(InputError, match=f"does not hold an image of {size[1]}x{size[0]}; name a .png file"):
            result.save_to_img(tmp_path / f"a{suffix}")
        assert not list(tmp_path.iterdir())

    def test_a_full_disk_leaves_nothing_half_written(self, result, tmp_path, monkeypatch):
        def full(self, *_, **__):
            self.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        result.save_to_json(tmp_path / "out")
        before = (tmp_path / "out" / "photo.json").read_bytes()
        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(InputError, match=r"photo\.json cannot be written: No space left on device"):
            result.save_to_json(tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.json"]
        assert (tmp_path / "out" / "photo.json").read_bytes() == before

    def test_one_of_two_files(self, result, tmp_path):
        out = tmp_path / "out"
        (out / "photo.jpg").mkdir(parents=True)
        with pytest.raises(InputError, match=r"photo\.jpg cannot be written"):
            result.save_all(out)
        assert sources_of(out) == [str(tmp_path / "photo.jpg")]

    @pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
    def test_what_json_does_not_have(self, result, tmp_path, value):
        result["note"] = value
        for use in (lambda: result.save_to_json(tmp_path / "out"), lambda: result.print(json_format=True)):
            with pytest.raises(InvalidParameter, match="JSON"):
                use()
        assert not (tmp_path / "out").exists()


def test_save_all_to_a_file_makes_two_of_that_name(pipeline, tmp_path):
    (result,) = pipeline.predict(image(tmp_path / "a.webp"))
    result.save_all(tmp_path / "x.png")
    result.save_all(tmp_path / "y.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webp", "x.json", "x.png", "y.json", "y.webp"]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_names_of_bytes(transport, tmp_path, capsys, generation):
    input_image = image(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (result,) = Pipeline("tiny", transport, generation=generation).predict(str(input_image))
    assert result["input_path"] == str(input_image)
    for as_json in (True, False):
        result.print(json_format=as_json)
        capsys.readouterr().out.encode("utf-8")
    suffix = GENERATIONS[generation].stem_suffix
    path = result.save_to_json(tmp_path / "out")
    assert os.fsencode(path.name) == b"caf\xe9" + suffix.encode() + b".json"
    assert json.loads(path.read_bytes().decode("utf-8"))["input_path"] == f"{tmp_path}/caf\\xe9.png"
    assert is_drawn(result.save_to_img(tmp_path / "out"))


def test_a_failure_knows_its_page(pipeline, tmp_path, transport):
    pages = [Image.new("RGB", (8, 6), value) for value in ("white", "black")]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    from maskserve.errors import InvalidImage

    def respond(_):
        raise InvalidImage("no")

    transport.respond = respond
    failures = list(pipeline.predict([str(tmp_path / "two.tif"), str(tmp_path / "gone.jpg")], on_error="return"))
    assert [(type(each), each.page_index) for each in failures] == [(Failure, 0), (Failure, 1), (Failure, None)]


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


def test_addresses_are_no_files_on_this_machine(pipeline, tmp_path, monkeypatch):
    image(tmp_path / "site" / "a.png")
    monkeypatch.chdir(tmp_path)
    with website(tmp_path / "site") as url:
        (result,) = pipeline.predict(f"{url}/a.png?{'x' * 300}")
        result.save_all(".")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png", "site"]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.jpg", ".jpg"), ("a.PNG", ".PNG"), ("_.WEBP", ".WEBP"), ("a.pdf", ".png"), ("a.txt", ".png"), ("a", ".png")],
)
def test_a_drawn_image_keeps_the_suffix_of_an_image(name, suffix):
    assert image_suffix(Path(name)) == suffix
