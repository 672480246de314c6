"""Fonts for labels: the bundled one, and for letters that it lacks one of the system's.

Whether a font has a letter is seen by drawing it: a font draws all letters that it lacks as the same box.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path

from PIL import ImageFont

from maskserve.errors import InvalidParameter

_log = logging.getLogger("maskserve")
_OWN = "PADDLE_PDX_LOCAL_FONT_FILE_PATH"
_BUNDLED = Path(__file__).parents[1] / "fonts" / "DejaVuSans.ttf"
_LACKING = "\uffff"  # which no font has
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/System/Library/Fonts",
            "/Library/Fonts", "C:/Windows/Fonts")  # fmt: skip
_SUFFIXES = frozenset({".ttf", ".ttc", ".otf"})
_TRIED = 400  # font files, where there is no fontconfig to ask
_PATIENCE = 10.0

Run = tuple[str, ImageFont.FreeTypeFont]


def runs(text: str, size: int, otherwise: str) -> list[Run]:
    """Yield `text` in parts that one font can draw, each with its font of `size`.

    Line ends and other control characters become spaces. A letter that no font on this machine has is left out, which
    is said once for each letter; a text of which nothing would remain becomes `otherwise`.

    Raises:
        InvalidParameter: the font that PADDLE_PDX_LOCAL_FONT_FILE_PATH names cannot be read.
    """
    clean = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    preferred = font(size)
    if all(_has(preferred, letter) for letter in clean):
        return [(clean, preferred)]
    chosen = [(letter, _path_for(letter)) for letter in clean]
    drawn = [(letter, path) for letter, path in chosen if path is not None]
    if clean and not any(letter.strip() for letter, _ in drawn):
        return [(otherwise, preferred)]
    groups = groupby(drawn, key=lambda pair: pair[1])
    return [("".join(letter for letter, _ in group), _load(path, size)) for path, group in groups if path]


def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that PADDLE_PDX_LOCAL_FONT_FILE_PATH names, or the bundled one.

    Raises:
        InvalidParameter: it cannot be read.
    """
    return _load(os.environ.get(_OWN) or str(_BUNDLED), size)


@lru_cache(maxsize=32)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(path, max(size, 1))
    except OSError as error:
        raise InvalidParameter(f"the font file {path} cannot be read ({error})") from None


def _path_for(letter: str) -> str | None:
    """Return the first font file that has a letter; None where there is none."""
    return _search(letter, os.environ.get(_OWN) or "")


@lru_cache(maxsize=4096)
def _search(letter: str, own: str) -> str | None:
    for path in (*filter(None, (own,)), str(_BUNDLED), *_system_fonts(letter)):
        try:
            if _has(_load(path, 20), letter):
                return path
        except (InvalidParameter, ValueError):  # a font of bitmaps has no such size
            continue
    _log.warning(
        "no font on this machine has the letter %r (U+%04X), so labels are drawn without it: install a font that has it"
        " (Debian and Ubuntu: fonts-noto-cjk), or name one with %s",
        letter,
        ord(letter),
        _OWN,
    )
    return None


@lru_cache(maxsize=4096)  # the labels of an image have the same few letters
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    if letter == " ":
        return True
    drawn, lacking = font.getmask(letter), font.getmask(_LACKING)
    return (drawn.size, bytes(drawn)) != (lacking.size, bytes(lacking))


def _system_fonts(letter: str) -> Iterator[str]:
    """Return the files of installed fonts that may have a letter."""
    program = shutil.which("fc-list")
    if program is None:
        files = (path for folder in _FOLDERS for path in sorted(Path(folder).expanduser().rglob("*")))
        yield from islice((str(path) for path in files if path.suffix.lower() in _SUFFIXES), _TRIED)
        return
    line = [program, "--format=%{file}\n", f":charset={ord(letter):x}"]
    try:
        done = subprocess.run(
            line, capture_output=True, encoding="utf-8", errors="replace", timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return
    yield from sorted(set(done.stdout.splitlines()), key=_preference)


def _preference(path: str) -> tuple[bool, bool, str]:
    """Return a key for sorting: plain faces before bold and slanted ones, without serifs before with."""
    name = Path(path).name.lower()
    return any(word in name for word in ("bold", "italic", "oblique", "black")), "serif" in name, path
