"""Labels in every script are drawn with letters: a font that lacks one would draw a box instead."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageFont

from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.paddlex import fonts as _fonts

WALKER = "行人"
SIZE = 30


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without what earlier tests have found, and without a font of the user's own."""
    monkeypatch.delenv("PADDLE_PDX_LOCAL_FONT_FILE_PATH", raising=False)
    _fonts._search.cache_clear()
    yield
    _fonts._search.cache_clear()


@pytest.fixture
def only_fonts_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Let fontconfig know the fonts of one folder only."""
    if shutil.which("fc-list") is None:
        pytest.skip("fontconfig is not installed")

    def prepare() -> Path:
        folder = tmp_path / "fonts"
        folder.mkdir()
        settings = f"<fontconfig><dir>{folder}</dir><cachedir>{tmp_path}/cache</cachedir></fontconfig>"
        (tmp_path / "fonts.conf").write_text(f'<?xml version="1.0"?>{settings}', encoding="utf-8")
        monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
        return folder

    return prepare


def make_font(path: Path, letters: str) -> Path:
    """A font whose letters are bars, each of another height, and whose box for what it lacks is a full square."""
    builders = pytest.importorskip("fontTools.fontBuilder", reason="making a font needs fonttools")
    pens = pytest.importorskip("fontTools.pens.ttGlyphPen")

    def bar(height: int) -> Any:
        pen = pens.TTGlyphPen(None)
        pen.moveTo((100, 0))
        for corner in ((100, height), (900, height), (900, 0)):
            pen.lineTo(corner)
        pen.closePath()
        return pen.glyph()

    names = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
    builder = builders.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):x}" for letter in letters})
    builder.setupGlyf({name: bar(800 - 150 * index) for index, name in enumerate(names)})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Bars", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(path)
    return path


def glyph(font: ImageFont.FreeTypeFont, text: str) -> bytes:
    return bytes(font.getmask(text))


def boxes(text: str, runs: list[_fonts.Run]) -> list[str]:
    """The letters of a text that are drawn as the box for what a font lacks."""
    assert "".join(part for part, _ in runs) == text
    return [letter for part, font in runs for letter in part if glyph(font, letter) == glyph(font, "\uffff")]


@pytest.mark.parametrize("text", ["person", "café", "Größe", "человек", "שלום", "عربة", "😀", "a \"b\", 'c'"])
def test_the_bundled_font_has_most_scripts(text: str) -> None:
    ((_, font),) = runs = _fonts.runs(text, SIZE, "class 0")
    assert boxes(text, runs) == []
    assert font is _fonts.font(SIZE)


def test_other_letters_come_from_a_font_of_the_system(only_fonts_in: Callable[[], Path]) -> None:
    path = make_font(only_fonts_in() / "bars.ttf", WALKER)
    text = f"a {WALKER} é"
    runs = _fonts.runs(text, SIZE, "class 0")
    assert [part for part, _ in runs] == ["a ", WALKER, " é"]
    assert boxes(text, runs) == []
    assert runs[1][1].path == str(path)
    assert glyph(runs[1][1], "行") != glyph(runs[1][1], "人")


def test_a_real_font_of_this_machine_has_chinese() -> None:
    listed = ["fc-list", f":charset={ord('行'):x}", "file"]
    if shutil.which("fc-list") is None or not subprocess.run(listed, capture_output=True, check=False).stdout:
        pytest.skip("no font with Chinese letters is installed (fonts-wqy-microhei)")
    runs = _fonts.runs(WALKER, SIZE, "class 0")
    assert boxes(WALKER, runs) == []


def test_without_fontconfig_the_folders_are_looked_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    make_font(tmp_path / "deep" / "bars.ttf", WALKER)
    monkeypatch.setattr(_fonts.shutil, "which", lambda program: None)
    monkeypatch.setattr(_fonts, "_FOLDERS", (str(tmp_path),))
    assert boxes(WALKER, _fonts.runs(WALKER, SIZE, "class 0")) == []


def test_ones_own_font_is_asked_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = make_font(tmp_path / "own.ttf", WALKER)
    monkeypatch.setenv("PADDLE_PDX_LOCAL_FONT_FILE_PATH", str(own))
    (walker, latin) = _fonts.runs(f"{WALKER}x", SIZE, "class 0")
    assert walker[1].path == str(own)
    assert boxes(f"{WALKER}x", [walker, latin]) == []


def test_where_no_font_has_the_letters_it_is_said_once(
    only_fonts_in: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    only_fonts_in()
    with caplog.at_level(logging.WARNING, "maskserve"):
        for _ in range(3):
            assert _fonts.runs(WALKER, SIZE, "class 7") == [("class 7", _fonts.font(SIZE))]
            assert _fonts.runs(f"a{WALKER}b", SIZE, "class 7") == [("ab", _fonts.font(SIZE))]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2, "one for each letter"
    assert "'行' (U+884C)" in messages[0]
    assert "fonts-noto-cjk" in messages[0]


@pytest.mark.parametrize(
    ("label", "drawn"), [("new\nline", "new line"), ("tab\there", "tab here"), ("nul\0", "nul"), ("a\u2028b", "a b")]
)
def test_what_is_no_letter_is_a_space(label: str, drawn: str) -> None:
    assert [part for part, _ in _fonts.runs(label, SIZE, "class 0")] == [drawn]


@pytest.mark.parametrize("style", ["maskserve", "paddlex"])
def test_a_drawn_image_shows_the_letters(only_fonts_in: Callable[[], Path], style: Any) -> None:
    from maskserve.drawing.draw import chosen_look, draw
    from maskserve.paddlex.generations import generation_named

    make_font(only_fonts_in() / "bars.ttf", WALKER)

    def image(label: str) -> np.ndarray[Any, Any]:
        mask = Mask.from_crop(np.ones((1, 1), np.uint8), 0, 0, (400, 1200))
        found = Instances(
            boxes_xyxy=np.array([[100, 100, 1100, 300]], np.float32),
            scores=np.array([0.9], np.float32),
            class_ids=np.array([0], np.int32),
            labels=(label,),
            masks=(mask,),
            image_size=(400, 1200),
        )
        canvas = np.zeros((400, 1200, 3), np.uint8)
        options = {"colors": "#d00"} if style == "maskserve" else {}  # on which ink is white
        return np.asarray(draw(canvas, found, chosen_look(style, options), generation_named("3.0b2")))

    both, first, second = image("行人"), image("行行"), image("人人")
    assert both.shape == first.shape
    assert not np.array_equal(first, second), "the two letters are drawn differently"
    ink = (both == 255).all(axis=2)
    assert ink.any(), "there is white ink on the plate"
    assert not np.array_equal(both, first)


def test_the_empty_label_leaves_the_score() -> None:
    assert _fonts.runs("", SIZE, "class 0") == [("", _fonts.font(SIZE))]


def test_fontconfig_is_asked_for_the_letter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    script = tmp_path / "fc-list"
    script.write_text(f'#!/bin/sh\necho "$@" > {asked}\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    _fonts.runs("行", SIZE, "class 0")
    assert ":charset=884c" in asked.read_text(encoding="utf-8")
