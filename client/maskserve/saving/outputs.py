"""Which files the results of one `predict` are saved in: no two images share one, and no input is replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError
from maskserve.inputs.folders import is_image
from maskserve.inputs.image import InputImage
from maskserve.saving.drawn import is_own
from maskserve.saving.files import is_url

if TYPE_CHECKING:
    from maskserve.saving.naming import Choices


class Sources:
    """The files and directories that are read, so that nothing is saved over them."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._files: set[int] = set()
        self._folders: set[str] = set()
        self._lock = Lock()

    def add(self, source: Any) -> None:
        """Remember an input of `predict`. Iterators are left alone; their images are added one by one."""
        paths = list(_paths(source))  # not the source itself, whose arrays would stay in memory
        with self._lock:
            self._waiting += paths

    def add_file(self, path: str | None) -> None:
        """Remember an image that is being read."""
        key = None if path is None else _file_key(path)
        if key is not None:
            with self._lock:
                self._files.add(key)

    def hold(self, path: Path) -> bool:
        """Return whether a file is one of the inputs, or an image in a directory that is searched for them."""
        key = _file_key(path)
        if key is None:
            return False
        self._sort()
        return key in self._files or (is_image(path.name) and self.search(path) and not is_own(path))

    def search(self, path: Path) -> bool:
        """Return whether a file is in a directory that is searched for images."""
        self._sort()
        if not self._folders:
            return False
        folder = os.path.realpath(path.parent)
        return any(parent in self._folders for parent in (folder, *map(str, Path(folder).parents)))

    def _sort(self) -> None:
        """Look at what was added, which is done only when a file would be replaced."""
        with self._lock:
            while self._waiting:
                path = self._waiting.pop()
                if os.path.isdir(path):
                    self._folders.add(os.path.realpath(path))
                elif (key := _file_key(path)) is not None:
                    self._files.add(key)


class Outputs:
    """The files that the results of one `predict` have taken."""

    def __init__(self) -> None:
        self.sources = Sources()
        self._owners: dict[int, int] = {}
        self._lock = Lock()

    def __deepcopy__(self, _: object) -> Outputs:
        return self  # a copy of a result is saved among the same files

    def __reduce__(self) -> tuple[type[Outputs], tuple[()]]:
        return Outputs, ()  # in another process, a result is on its own

    def take(self, folder: Path, names: Choices, owner: str, beside: Path | None) -> tuple[Path, bool]:
        """Return the first name that is free, and whether its owner has saved there before.

        Args:
            folder: where the file is to be.
            names: what it may be called.
            owner: the image, as `owner` names it.
            beside: the image's own file; None for what has none.

        Raises:
            InputError: none is free.
        """
        order = [names.plain, *names.telling]
        if names.beside and self._protected(folder / names.plain, beside):
            order.insert(1, names.beside)
        with self._lock:
            for name in order:
                path = folder / name
                known = self._owner(path)
                if known in (None, hash(owner)) and not self._protected(path, beside):
                    self._owners[hash(os.path.abspath(path))] = hash(owner)
                    return path, known is not None
        raise InputError(f"{folder / names.plain} cannot be written: other images have this name, and all others of it")

    def written(self, path: Path, owner: str) -> None:
        """Remember the file itself: names that differ in case may be one file, and so may two paths."""
        key = _file_key(path)
        if key is not None:
            with self._lock:
                self._owners[key] = hash(owner)

    def _owner(self, path: Path) -> int | None:
        by_name = self._owners.get(hash(os.path.abspath(path)))
        key = None if by_name is not None else _file_key(path)
        return by_name if key is None else self._owners.get(key)

    def _protected(self, path: Path, beside: Path | None) -> bool:
        return protected(path, beside, self.sources)


def protected(path: Path, own: Path | None, sources: Sources) -> bool:
    """Return whether a file is not to be replaced.

    That is an input, and what maskserve did not write itself in directories with inputs: an image, an annotation.

    Args:
        path: the file.
        own: the file of the image that is saved; None for what has none.
        sources: what is read.
    """
    if not os.path.lexists(path):
        return False
    if sources.hold(path):
        return True
    among_inputs = sources.search(path) or (own is not None and _same_folder(path, own))
    return among_inputs and not os.path.isdir(path) and not is_own(path)


def _same_folder(path: Path, other: Path) -> bool:
    return os.path.realpath(path.parent) == os.path.realpath(other.parent)


def _file_key(path: str | os.PathLike[str]) -> int | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return hash((found.st_dev, found.st_ino))


def _paths(source: Any) -> Iterator[str]:
    if isinstance(source, InputImage):
        source = source.input_path
    if isinstance(source, str | os.PathLike):
        path = os.fsdecode(source)
        if not is_url(path):
            yield path
    elif isinstance(source, Mapping):
        yield from _paths(list(source.values()))
    elif isinstance(source, list | tuple | set | frozenset):
        for element in source:
            yield from _paths(element)
