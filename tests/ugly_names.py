"""A folder as people have them: ugly names, names that meet, broken files, links in circles."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

# Names that work, each of its own content: what is made of them must be as many files.
GOOD = (
    "a.jpg",
    "a.png",  # one `a.json` for both
    "a_res.jpg",  # PaddleX's name of the drawn a.jpg, in 3.x
    "a.jpg.png",  # what a.jpg may be called, to tell it from a.png
    "x.jpg/inside.jpg",  # a folder that looks like a file
    "deep/a.jpg",
    "deep/A.png",
    "doc_0.png",  # as the first page of doc.tif
    "-rf.jpg",
    "a...jpg",
    "line\nbreak.jpg",
    "\x1b[31mred.jpg",
    " space .jpg",
    "con.jpg",
    "straße 照.jpg",
    "$(touch pwned).jpg",
    "'quote\".jpg",
    "日本.png",
    "_.bmp",
    "x" * 251 + ".jpg",  # 255 bytes
    "é" * 125 + ".webp",
)
BYTES = b"caf\xe9.jpg"  # no UTF-8
PAGES = "doc.tif"
# Files that cannot be segmented, whatever is done.
BROKEN = ("broken/empty.jpg", "broken/text.png", "broken/circle.jpg", "broken/nowhere.jpg", "broken/pipe.jpg")


@dataclass(frozen=True, slots=True)
class UglyFolder:
    """The folder, and what is in it.

    Attributes:
        path: of the folder.
        good: the number of images that can be segmented.
        broken: the number of those that cannot.
    """

    path: Path
    good: int
    broken: int


def make_ugly_folder(folder: Path, image: Path | None = None) -> UglyFolder:
    """Make the folder.

    Args:
        folder: made, with its parents.
        image: the content of its JPEG files; None for a grey image.
    """
    grey = np.full((48, 64, 3), 90, np.uint8)
    original = grey if image is None else cv2.imread(str(image))
    assert original is not None
    names = [*map(os.fsencode, GOOD), BYTES]
    for number, name in enumerate(names):
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = original.copy()
        pixels[:4, :4] = number * 9  # each is another image
        suffix = path.suffix.lower() or ".jpg"
        path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    pages = [original, original[:, ::-1]]
    (folder / PAGES).write_bytes(cv2.imencodemulti(".tif", pages)[1].tobytes())
    (folder / "broken").mkdir()
    (folder / "broken" / "empty.jpg").touch()
    (folder / "broken" / "text.png").write_text("no image")
    (folder / "broken" / "circle.jpg").symlink_to("circle.jpg")
    (folder / "broken" / "nowhere.jpg").symlink_to("gone.jpg")
    os.mkfifo(folder / "broken" / "pipe.jpg")
    (folder / "broken" / "around").symlink_to(folder, target_is_directory=True)  # a circle of folders
    (folder / "notes.txt").write_text("no image, and not asked for")
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "nothing").mkdir()
    return UglyFolder(folder, len(names) + len(pages), len(BROKEN))


def remove(folder: UglyFolder) -> None:
    """Remove the folder, whose names some tools do not like."""
    shutil.rmtree(folder.path)
