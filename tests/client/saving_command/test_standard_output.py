"""A standard output that is full, closed or read by nobody any more stops no image from being saved."""

from __future__ import annotations

import json
import sys

import pytest
from tests.client.saving_command.conftest import image, names


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
