"""What both sides are given: the pictures, every way to hand one in, and a web server that has them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SMALL = (240, 320)


def make_material(root, photos):
    """In `root`/photos some `photos`, one of them 300 pixels high; in `root`/kinds the first in files of every kind."""
    for path in (photos[0], photos[-1]):
        write(root / "photos" / f"{path.stem}.png", cv2.imread(str(path)))
    write(root / "photos" / "300-high.png", cv2.resize(cv2.imread(str(photos[1])), (427, 300)))
    make_kinds(root / "kinds", cv2.resize(cv2.imread(str(photos[0])), SMALL[::-1]))


def make_kinds(folder, pixels):
    """Files of every kind, all showing the same."""
    for name in ("plain.png", "upper.PNG", "upper.BMP", "photo.jpg", "photo.jpeg", "photo.bmp", "unicode ß 照.png"):
        write(folder / name, pixels)
    for name in ("photo.webp", "photo.tiff", "photo.dib", "photo.ppm", "album/b.png", "album/D.PNG", "album/in/a.jpg"):
        write(folder / name, pixels)
    write(folder / "only/one.png", pixels)
    write(folder / "grey.png", cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
    write(folder / "rgba.png", np.dstack([pixels, pixels[:, :, 0]]))
    write(folder / "deep.png", pixels.astype(np.uint16) * 257)
    make_with_pillow(folder, Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])))
    make_unusual_ends(folder, (folder / "photo.jpg").read_bytes())
    (folder / "corrupt.jpg").write_bytes(b"text")
    (folder / "truncated.png").write_bytes((folder / "plain.png").read_bytes()[:2000])
    (folder / "truncated.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:9000])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("text")
    (folder / "photo.jfif").write_bytes((folder / "photo.jpg").read_bytes())
    (folder / "nothing").mkdir(exist_ok=True)


def make_with_pillow(folder, rgb):
    """A photo lying on its side, other modes, and documents of two pages."""
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "turned.jpg", exif=exif)
    rgb.save(folder / "turned.webp", exif=exif, lossless=True)
    rgb.convert("L").convert("F").save(folder / "float.tiff")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.convert("P").save(folder / "palette.png")
    for name in ("two.pdf", "pages.tiff"):
        rgb.save(folder / name, save_all=True, append_images=[rgb.rotate(180)], resolution=144)


def make_unusual_ends(folder, jpeg):
    """Whole images with something else behind their end, one without its end marker, and half of one with a marker."""
    (folder / "motion.jpg").write_bytes(jpeg + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 64)
    (folder / "padded.jpg").write_bytes(jpeg + bytes(5000))
    (folder / "no-end.jpg").write_bytes(jpeg[:-2])
    (folder / "half-with-end.jpg").write_bytes(jpeg[: len(jpeg) // 2] + b"\xff\xd9")
    (folder / "no-suffix").write_bytes((folder / "plain.png").read_bytes())
    (folder / "named.png").write_bytes(jpeg)


def write(path, pixels):
    """A picture file; cv2 does not write every suffix in every case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower().replace(".dib", ".bmp"), pixels)[1].tobytes())


def input_kinds(root, url):
    """Every kind of input by its name: a function, because some can be used once only."""
    pixels = cv2.imread(str(root / "plain.png"))
    grey = np.ascontiguousarray(pixels[:, :, 0])
    at = {name: str(root / name) for name in (path.relative_to(root).as_posix() for path in root.rglob("*"))}
    sources = {
        "array": pixels,
        "array [h, w]": grey,
        "array [h, w, 1]": grey[:, :, None],
        "array [h, w, 4]": np.dstack([pixels, grey]),
        "array float32": pixels.astype(np.float32),
        "array mirrored": pixels[:, ::-1],
        "array [0, 0, 3]": pixels[:0, :0],
        "array [1, 1, 3]": pixels[:1, :1],
        **{f"path {name}": at[name] for name in at if "." in name and "/" not in name},
        "path missing": str(root / "missing.jpg"),
        "path without suffix": str(root / "missing"),
        "path of an image without suffix": at["no-suffix"],
        "path empty": "",
        "pattern": str(root / "*.png"),
        "directory": at["album"],
        "directory of one": at["only"],
        "directory without pictures": at["nothing"],
        "address": f"{url}/plain.png",
        "address with a query": f"{url}/plain.png?x=1",
        "address with letters that are encoded": f"{url}/unicode%20%C3%9F%20%E7%85%A7.png",
        "address with other letters": f"{url}/unicode ß 照.png",
        "address without suffix": f"{url}/nothing-here",
        "address 404": f"{url}/missing.png",
        "address where nobody answers": "http://127.0.0.1:9/a.png",
        "dict img": {"img": at["plain.png"]},
        "dict input": {"input": at["plain.png"]},
        "dict img, a directory": {"img": at["album"]},
        "dict of something else": {"image": at["plain.png"]},
        "list of arrays": [pixels, pixels[::-1]],
        "list of paths": [at["plain.png"], at["photo.jpg"]],
        "list of directories": [at["only"], at["album"]],
        "list of dicts img": [{"img": at["only"]}, {"img": at["plain.png"]}],
        "list of dicts input": [{"input": at["only"]}, {"input": at["plain.png"]}],
        "list mixed": [pixels, at["only"], at["photo.jpg"], f"{url}/plain.png"],
        "list empty": [],
        "list nested": [[pixels], [[at["plain.png"]]]],
        "list good, bad, good": [at["plain.png"], at["corrupt.jpg"], at["photo.jpg"]],
        "tuple": (pixels, pixels),
        "None": None,
        "int": 7,
        "bytes": Path(at["plain.png"]).read_bytes(),
        "pathlib.Path": Path(at["plain.png"]),
        "PIL": Image.open(at["plain.png"]),
    }
    return {
        **{name: functools.partial(lambda source: source, source) for name, source in sources.items()},
        "iterator": lambda: iter([pixels, at["plain.png"]]),
    }


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def website(root):
    """The files in `root` at an address."""
    handler = functools.partial(QuietHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    make_material(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
