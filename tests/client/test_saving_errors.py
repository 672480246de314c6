"""What cannot be saved is an error of one family, and leaves nothing half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.client.saved_files import image, sources_of

from maskserve import InputError, InvalidParameter, MaskserveError
from maskserve.saving.files import replacing


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with replacing(tmp_path / "a", overwrite=False) as scratch:
        scratch.write_text("first")
    with pytest.raises(InputError, match="is there already"), replacing(tmp_path / "a", overwrite=False) as scratch:
        scratch.write_text("second")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "first"}


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
