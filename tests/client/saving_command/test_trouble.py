"""An image that cannot be read or saved stops no other one, and is said with the reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.client.saving_command.conftest import image, names


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
