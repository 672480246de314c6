"""Names of saved files: from paths, addresses and bytes, and for images in memory."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.saved_files import image
from tests.input_kinds import website

from maskserve.inputs.image import InputImage
from maskserve.paddlex.generations import GENERATIONS
from maskserve.pipeline import Pipeline
from maskserve.saving.drawn import is_drawn
from maskserve.saving.files import own_name
from maskserve.saving.naming import choices, image_suffix, owner
from maskserve.text import one_line, printable


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
