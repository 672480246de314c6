"""Which differences are deliberate: each is a row of docs/compatibility.md, named here by its first cell."""

from __future__ import annotations

from fnmatch import fnmatch

from environments import ROOT

ANY = "*"
SMALL_IMAGES = "boxes in images below 200 (3.0b2) or 500 (3.x) pixels"
OTHER_INPUTS = ("list nested", "tuple", "None", "int", "bytes", "pathlib.Path", "PIL", "iterator")
OTHER_PIXELS = ("saving fails there", "number of *", "numbers", "class", "clipped sides", "shape of masks")
OTHER_ORIENTATION = ("number of *", "numbers", "class", "clipped sides", "shape of masks", "picture size")
TURNED = "EXIF orientation in WebP files, and in JPEG files behind another segment of its kind (XMP)"
NOT_ON_THE_LIST = ("upper.PNG", "upper.BMP", "photo.webp", "photo.jfif", "photo.dib", "turned.webp")
# Generation, what was compared, aspect: the row. The first that fits counts.
LISTED = [
    (ANY, "tiny-SOLOv2*", "no coordinates there", "SOLOv2"),
    (ANY, "tiny-SOLOv2*", "saving fails there", "SOLOv2"),
    (ANY, "same detections: masks that do not fill their boxes", "tiny-SOLOv2*", "SOLOv2"),
    (ANY, "tiny-PP-YOLOE_seg*", "shape of masks", "PP-YOLOE_seg at heights such as 300"),
    (ANY, "tiny-PP-YOLOE_seg*", "saving fails there", "PP-YOLOE_seg at heights such as 300"),
    (ANY, "same detections: masks that do not fill their boxes", "tiny-PP*", "PP-YOLOE_seg at heights such as 300"),
    ("3.x", "same detections: numbers in print()*", ANY, "`print` (3.x under numpy 2)"),
    (ANY, "same detections: masks in JSON*", "tiny-PP*", "masks in JSON"),
    ("3.x", "same detections: colours of pictures*", ANY, "images by 3.x"),
    (ANY, "same detections: boxes in small pictures*", ANY, SMALL_IMAGES),
    ("3.0b2", ANY, "input_path of an array", "`input_path` of an array"),
    (ANY, ANY, "input_path of an address", "`input_path` of a URL"),
    (ANY, "input: array float32", "refused here", "arrays"),
    ("3.0b2", "input: array [[]h, w*", "refused there", "arrays"),
    ("3.x", "input: array [[]h, w*", "saving fails there", "arrays"),
    ("3.0b2", "input: *dict*", "refused there", '`{"img": ...}`'),
    ("3.x", "input: *dict*", "ignored there", '`{"img": ...}`'),
    *(("3.0b2", f"input: {kind}", "refused there", "other inputs") for kind in OTHER_INPUTS),
    *(("3.x", f"input: {kind}", "ignored there", "other inputs") for kind in OTHER_INPUTS),
    ("3.0b2", "input: path rgba.png", "saving fails there", "images that are not RGB, drawn (3.0b2)"),
    ("3.0b2", "input: path grey.png", "saving fails there", "images that are not RGB, drawn (3.0b2)"),
    ("3.0b2", "input: path palette.png", "saving fails there", "images that are not RGB, drawn (3.0b2)"),
    ("3.0b2", "input: path cmyk.jpg", "saving fails there", "images that are not RGB, drawn (3.0b2)"),
    (ANY, "input: path cmyk.jpg", "number of instances", "candidates that tie"),
    (ANY, "input: path cmyk.jpg", "number of masks", "candidates that tie"),
    *(("3.0b2", "input: path two.pdf", aspect, "PDF files (3.0b2)") for aspect in OTHER_PIXELS),
    (ANY, "input: path truncated.jpg", "refused here", "truncated JPEG files"),
    (ANY, "input: path half-with-end.jpg", "refused here", "truncated JPEG files"),
    (ANY, "input: path no-end.jpg", "number of *", "truncated JPEG files"),
    (ANY, "input: path no-end.jpg", "saving fails there", "truncated JPEG files"),
    *((ANY, "input: path turned.webp", aspect, TURNED) for aspect in OTHER_ORIENTATION),
    (ANY, "input: path float.tiff", "refused there", "TIFF files of 32 bits or floats"),
    (ANY, "input: path of an image without suffix", "refused there", "suffixes"),
    ("3.0b2", "input: path *.tiff", "refused there", "TIFF files"),
    ("3.x", "input: path photo.tiff", "page_index", "TIFF files"),
    ("3.x", "input: path photo.tiff", "file names", "TIFF files"),
    ("3.x", "input: path float.tiff", "page_index", "TIFF files"),
    ("3.x", "input: path float.tiff", "file names", "TIFF files"),
    ("3.x", "input: path photo.ppm", "refused here", "PPM and other rare formats (3.x)"),
    ("3.x", "input: path photo.dib", "file names", "`.dib` images, drawn (3.x)"),
    ("3.x", "input: path photo.jfif", "refused there", "suffixes"),
    *(("3.0b2", f"input: path {name}", "refused there", "suffixes") for name in NOT_ON_THE_LIST),
    ("3.0b2", "input: directory", "number of results", "suffixes"),
    ("3.0b2", "input: list of directories", "number of results", "suffixes"),
    (ANY, "input: address with letters that are encoded", "file names", "files of an address such as `a%20b.jpg`"),
    (ANY, "input: address with a query", "refused there", "suffixes"),
]


def row_for(generation, what, aspect):
    """The row of docs/compatibility.md that a difference belongs to, or None."""
    place = (generation, what, aspect)
    for *patterns, row in LISTED:
        if all(fnmatch(name, pattern) for name, pattern in zip(place, patterns, strict=True)):
            return row
    return None


def rows():
    """The first cells of the table in docs/compatibility.md."""
    lines = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8").splitlines()
    return {line.split(" | ")[0].removeprefix("| ").strip() for line in lines if line.startswith("| ")}


def unknown_rows():
    """Rows that are named here and are not in docs/compatibility.md."""
    return sorted({row for *_, row in LISTED} - rows())
