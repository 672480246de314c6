"""Where the files of one run of `maskserve predict` go: decided for all images before the first is segmented."""

from __future__ import annotations

import os
import unicodedata
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import InputError, InvalidParameter
from maskserve.inputs.folders import report_drawn
from maskserve.inputs.sources import images
from maskserve.saving.drawn import is_drawn, saved_source
from maskserve.saving.files import is_url, own_name
from maskserve.saving.naming import choices, image_suffix, is_image_suffix, owner
from maskserve.saving.outputs import Sources, protected
from maskserve.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maskserve.inputs.image import InputImage
    from maskserve.paddlex.generations import Generation
    from maskserve.saving.naming import Kind


@dataclass(frozen=True, slots=True)
class Job:
    """An image, and its files.

    Attributes:
        image: the image.
        image: the file for the drawn image; None where nothing is saved.
        json: the file for the instances; None where nothing is saved.
    """

    input_image: InputImage
    image: Path | None = None
    json: Path | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What one file may be called.

    Attributes:
        owner: whose file it is.
        paths: the best first.
    """

    owner: str
    paths: Sequence[Path]


def find_jobs(sources: Sequence[str], save_path: str | None, generation: Generation, *, resume: bool) -> list[Job]:
    """Return the images of a command line, each with files of its own.

    Which files these are depends on the images alone, not on their order, nor on which of them were done before.

    Args:
        sources: paths and addresses.
        save_path: the directory for the files; a file, where there is one image only; None to save nothing.
        generation: whose names.
        resume: whether images are left out whose files are there.

    Raises:
        InputError: nothing can be saved there.
    """
    found = _without_drawn([(input_image, source) for source in sources for input_image in images(source)])
    if save_path is None:
        return [Job(input_image) for input_image, _ in found]
    reads = Sources()
    reads.add(list(dict.fromkeys(source for _, source in found)))
    if _names_file(save_path):
        return [_single(Path(save_path), found, reads)]
    jobs = _Places(Path(save_path), generation, reads, resume=resume).jobs(found)
    return [job for job, done in jobs if not done]


def _without_drawn(found: list[tuple[InputImage, str]]) -> list[tuple[InputImage, str]]:
    """Leave out files that maskserve drew, as ``photos/*`` names them beside the images; alone they are meant."""
    drawn = {source for input_image, source in found if input_image.input_path == source and is_drawn(source)}
    kept = [(input_image, source) for input_image, source in found if source not in drawn]
    if not kept:
        return found
    report_drawn(sorted(drawn))
    return kept


def _names_file(save_path: str) -> bool:
    suffix = Path(save_path).suffix.lower()
    is_file = suffix == ".json" or is_image_suffix(suffix)
    return is_file and not save_path.endswith("/") and not os.path.isdir(save_path)


def _single(path: Path, found: list[tuple[InputImage, str]], reads: Sources) -> Job:
    if len(found) != 1:
        raise InvalidParameter(
            f"--save_path {path} is one file for {len(found)} images; name a directory ({path}/ makes one)"
        )
    input_image = found[0][0]
    is_json = path.suffix.lower() == ".json"
    image = path.with_suffix(image_suffix(own_name(input_image))) if is_json else path
    job = Job(input_image, image, path.with_suffix(".json"))
    for file in (image, path.with_suffix(".json")):
        if reads.hold(file):
            raise InvalidParameter(f"--save_path {path} would overwrite the image; name another file or a directory")
    return job


class _Places:
    """The directory that a run saves in."""

    def __init__(self, root: Path, generation: Generation, reads: Sources, *, resume: bool) -> None:
        self._root, self._generation, self._reads, self._resume = root, generation, reads, resume
        self._fold_case = _folds_case(root)

    def jobs(self, found: list[tuple[InputImage, str]]) -> list[tuple[Job, bool]]:
        """Return the jobs, and whether each is done."""
        named = [
            (input_image, self._folder(input_image, source), own_name(input_image)) for input_image, source in found
        ]
        seekers = [seeker for seeker in named if not _is_directory(seeker[0])]
        wishes = [self._wish(*seeker, kind) for seeker in seekers for kind in _KINDS]
        paths = tell_apart(wishes, self._key)
        placed = {id(seeker[0]): paths[2 * number : 2 * number + 2] for number, seeker in enumerate(seekers)}
        return [
            (Job(input_image, *placed.get(id(input_image), ())), self._resume and self._done(input_image, folder, name))
            for input_image, folder, name in named
        ]

    def _folder(self, input_image: InputImage, source: str) -> Path:
        """Return the directory of an image's files: subdirectories of an input are the same there."""
        path = input_image.input_path
        if path is None or path == source or is_url(source) or not os.path.isdir(source):
            return self._root
        return self._root / os.path.relpath(os.path.dirname(path), source)

    def _wish(self, input_image: InputImage, folder: Path, name: Path, kind: Kind) -> Wish:
        names = choices(input_image, name, self._generation, kind)
        own = None if input_image.input_path is None or is_url(input_image.input_path) else Path(input_image.input_path)
        paths = [folder / each for each in (names.plain, *names.telling)]
        if names.beside and protected(paths[0], own, self._reads):
            paths.insert(1, folder / names.beside)
        taken = self._taken(input_image, folder, name) if self._resume else set()
        free = [path for path in paths if path not in taken and not protected(path, own, self._reads)]
        if not free:
            raise InputError(f"{paths[0]} cannot be written: it is another file, and so are all its other names")
        return Wish(owner(input_image, name), free)

    def _taken(self, input_image: InputImage, folder: Path, name: Path) -> set[Path]:
        """Return the files of other images that earlier runs saved."""
        taken = set()
        image = choices(input_image, name, self._generation, "image").plain
        for path in self._documents(input_image, folder, name):
            source = saved_source(path)
            if isinstance(source, str) and not _is_of(source, input_image) and _is_there(source):
                taken.add(path)
                if image_suffix(Path(source)).lower() == image_suffix(name).lower():
                    taken.add(folder / image)
        return taken

    def _done(self, input_image: InputImage, folder: Path, name: Path) -> bool:
        """Return whether both files of an image are there, whatever they are called."""
        names = choices(input_image, name, self._generation, "image")
        images = (folder / each for each in (names.plain, names.beside, *names.telling) if each)
        return any(
            _is_of(saved_source(path), input_image) for path in self._documents(input_image, folder, name)
        ) and any(os.path.isfile(path) and not self._reads.hold(path) for path in images)

    def _documents(self, input_image: InputImage, folder: Path, name: Path) -> list[Path]:
        names = choices(input_image, name, self._generation, "json")
        return [folder / each for each in (names.plain, *names.telling)]

    def _key(self, path: Path) -> str:
        return unicodedata.normalize("NFC", str(path)).casefold() if self._fold_case else str(path)


_KINDS: tuple[Kind, ...] = ("image", "json")


def tell_apart(wishes: Sequence[Wish], key: Callable[[Path], str] = str) -> list[Path]:
    """Return a path for each wish, such that no two owners have the same.

    Where several wish for the same path all of them get their next one, so that the order of the wishes does not
    matter.

    Args:
        wishes: at least one path each.
        key: gives the same text for paths that are the same file.

    Raises:
        InputError: two owners have the same last path.
    """
    chosen = [0] * len(wishes)
    while True:
        holders = defaultdict(set)
        keys = [key(wish.paths[index]) for wish, index in zip(wishes, chosen, strict=True)]
        for wish, name in zip(wishes, keys, strict=True):
            holders[name].add(wish.owner)
        crowded = [number for number, name in enumerate(keys) if len(holders[name]) > 1]
        if not crowded:
            return [wish.paths[index] for wish, index in zip(wishes, chosen, strict=True)]
        movable = [number for number in crowded if chosen[number] + 1 < len(wishes[number].paths)]
        if not movable:
            raise InputError(f"{wishes[crowded[0]].paths[-1]} would be the file of two images; rename one of them")
        for number in movable:
            chosen[number] += 1


def _folds_case(folder: Path) -> bool:
    """Make a directory, and return whether names that differ in case only are one file there.

    Raises:
        InputError: it cannot be written.
    """
    probe = folder / f".maskserve-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        folds = probe.with_name(probe.name.upper()).exists()
        probe.unlink()
    except (OSError, ValueError) as error:
        reason = "it is a file" if folder.is_file() else getattr(error, "strerror", None) or error
        raise InputError(f"--save_path {folder} cannot be written: {reason}") from None
    return folds


def _is_directory(input_image: InputImage) -> bool:
    return input_image.input_path is not None and os.path.isdir(input_image.input_path)


def _is_of(source: str | bool | None, input_image: InputImage) -> bool:
    """Return whether the `input_path` of a saved result is that of an image."""
    path = input_image.input_path
    if not isinstance(source, str) or path is None:
        return False
    if is_url(source) or is_url(path):
        return source == printable(path)
    return os.path.realpath(source) == printable(os.path.realpath(path)) or source == printable(path)


def _is_there(source: str) -> bool:
    """Return whether the image of a saved result may still be there; escaped names cannot be looked for."""
    return is_url(source) or "\\x" in source or os.path.lexists(source)
