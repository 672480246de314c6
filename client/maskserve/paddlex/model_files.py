"""Where a Paddle inference model lies on disk: its files by their names, and the folder that a path leads to."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.contract import model_of
from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# PaddleX's name first, then that of PaddleDetection's own exporter.
SETTINGS = ("inference.yml", "infer_cfg.yml")
PROGRAMS = ("inference.json", "inference.pdmodel", "model.json", "model.pdmodel")
WEIGHTS = ("inference.pdiparams", "model.pdiparams")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")

BUNDLE = ".maskserve"

# Where a training's output keeps the model to serve, the first one first.
_BEST = (Path("inference"), Path("best_model", "inference"))
_DEPTH = 4
_LONGEST_NAME = 200  # letters; a folder's name may have 255, and the names of a model's steps are longer
_MOST_FOLDERS = 5000


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model in a folder; None for what is not there."""

    settings: Path | None
    program: Path | None
    weights: Path | None

    @classmethod
    def of(cls, folder: Path) -> ModelFiles:
        """Look into a folder. Where it holds the files of both exporters, those of PaddleX are taken."""
        settings = _first(folder, SETTINGS)
        ordered = _by_stem("model" if settings is not None and settings.name == SETTINGS[1] else "inference")
        for stem in ordered:
            program = _first(folder, [name for name in PROGRAMS if name.startswith(f"{stem}.")])
            weights = _first(folder, [f"{stem}.pdiparams"])
            if program and weights:
                return cls(settings, program, weights)
        return cls(settings, _first(folder, PROGRAMS), _first(folder, WEIGHTS))

    @property
    def complete(self) -> bool:
        """Whether all three are there."""
        return None not in (self.settings, self.program, self.weights)

    def missing(self) -> list[str]:
        """Return the names of the files that are not there."""
        found = {path.name for path in (self.settings, self.program, self.weights) if path is not None}
        kind = int(not found & {SETTINGS[0]} and bool(found & {SETTINGS[1], *PROGRAMS[2:], WEIGHTS[1]}))
        wanted = (
            (self.settings, SETTINGS[kind]),
            (self.weights, WEIGHTS[kind]),
            (self.program, " or ".join(PROGRAMS[2 * kind : 2 * kind + 2])),
        )
        return [name for path, name in wanted if path is None]


def is_archive(path: Path) -> bool:
    """Return whether a path is a file whose name ends as those of archives do."""
    return path.name.lower().endswith(ARCHIVES) and os.path.isfile(path)


def is_bundle(path: Path) -> bool:
    """Return whether a path is called like a bundle, the file that `maskserve convert --bundle` writes."""
    return path.suffix.lower() == BUNDLE and not os.path.isdir(path)


def is_converted(path: Path) -> bool:
    """Return whether a path is a bundle, or an entry of a model repository."""
    return is_bundle(path) or os.path.isfile(path / "config.pbtxt")


def find_model(path: Path) -> Path | None:
    """Return the folder that holds the model which `path` leads to: itself, or a folder below it.

    In a training's output `inference` or `best_model/inference` is taken; elsewhere the only model below it.

    Returns:
        None where there is none at all. A folder that lacks some of the files is better than none.

    Raises:
        InvalidParameter: there are several; the message names them.
    """
    if not os.path.isdir(path):  # which has False, and no error, for what cannot be a path
        return None
    if ModelFiles.of(path).settings is not None:
        return path
    found = [(folder, files) for folder in _walk(path) if (files := ModelFiles.of(folder)).settings is not None]
    complete = [folder for folder, files in found if files.complete] or [folder for folder, _ in found]
    best = [folder for folder in complete if folder.relative_to(_top(path)) in _BEST]
    chosen = best if len(best) == 1 else complete
    if len(chosen) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder in sorted(chosen)[:10])
        raise InvalidParameter(f"{path} holds {len(chosen)} models: {names}; give the folder of one of them")
    return chosen[0] if chosen else None


def name_of(folder: Path) -> str:
    """Return the name of a model whose settings have none: that of its folder, or of the training's output."""
    names = [part for part in folder.absolute().parts[1:] if part not in ("inference", "best_model")]
    return as_name((names or [folder.name])[-1])


def archive_stem(archive: Path) -> str:
    """Return what to call the model in an archive whose settings have no name."""
    name = archive.name
    suffix = next((suffix for suffix in sorted(ARCHIVES, key=len, reverse=True) if name.lower().endswith(suffix)), "")
    return as_name(name[: len(name) - len(suffix)].removesuffix("_infer"))


def wrong_name(name: str) -> str | None:
    """Return why clients cannot call a model so, as a sentence without an end; None where they can."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        return (
            f"{_shown(name)} cannot be a model's name: use letters, digits, '.', '_' and '-', "
            "and begin with a letter or a digit"
        )
    if len(name) > _LONGEST_NAME:
        return f"{_shown(name)} cannot be a model's name: it has {len(name)} letters, and {_LONGEST_NAME} are the most"
    if model_of(name) is not None:
        return f"{name} cannot be a model's name: it would be the name of a step of the model {model_of(name)}"
    return None


def as_name(text: str) -> str:
    """Return the name of a model that is most like `text`: see `wrong_name`."""
    if wrong_name(text) is None:
        return text
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:_LONGEST_NAME] or "model"
    while (model := model_of(name)) is not None:
        name = f"{model}-{name[len(model) + 1 :]}"
    return name


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _by_stem(first: str) -> tuple[str, str]:
    return ("model", "inference") if first == "model" else ("inference", "model")


def _top(path: Path) -> Path:
    """Return the folder itself, or the only one in it: archives often have a folder around everything."""
    try:
        inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return path
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name not in ("inference", "best_model"):
        return _top(inside[0])
    return path


def _walk(path: Path) -> Iterator[Path]:
    """Yield the folders below `path`, not too deep, not too many, and without following links."""
    for number, (root, folders, _) in enumerate(os.walk(path)):
        deep = len(Path(root).relative_to(path).parts) >= _DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        if number >= _MOST_FOLDERS:
            return
        yield Path(root)
