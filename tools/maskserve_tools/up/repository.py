"""The model repository of `maskserve up`: what was converted is kept in the cache, and is there the next time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maskserve.contract import STEPS, model_of, step_name
from maskserve.errors import ToolError
from maskserve_server.engine_table import AUTO
from maskserve_tools.embedded import conversion_cache
from maskserve_tools.model_source import Kind, ModelSource
from maskserve_tools.models.cache import cache_folder, exclusive
from maskserve_tools.models.fetching import source_folder

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be served.

    Attributes:
        repository: the model repository.
        models: those of it that are served; None for all.
        default: the model that is asked where a request names none; None for the server's choice.
    """

    repository: Path
    models: tuple[str, ...] | None = None
    default: str | None = None


def prepare(sources: Sequence[ModelSource], report: Report) -> Prepared:
    """Fetch and convert what has to be, and return the repository with all of it.

    Raises:
        ToolError: a model cannot be fetched or converted, or two have the same name.
    """
    if len(sources) == 1:
        (source,) = sources
        if source.kind is Kind.REPOSITORY:
            return Prepared(source.path)
        if source.kind is Kind.ENTRY:
            entry = source.path.resolve()
            return Prepared(entry.parent, (entry.name,), entry.name)
        return Prepared(_converted(source, report))
    together: dict[str, Path] = {}
    for source in sources:
        for entry in _entries(source, report):
            if together.setdefault(entry.name, entry) != entry:
                raise ToolError(f"two models are called {entry.name}: {together[entry.name]} and {entry}")
    first = next((name for name in together if model_of(name) is None), None)  # dicts keep the order of the command
    return Prepared(_linked(together), default=first)


def _converted(source: ModelSource, report: Report) -> Path:
    from maskserve_convert.paddle.folder import PaddleFolder

    if source.kind is Kind.BUNDLE:
        return conversion_cache.unbundled(source.path, report=report)
    folder = PaddleFolder.open(source_folder(source.text, report=report))
    return conversion_cache.converted(folder, engine=AUTO, report=report)


def _entries(source: ModelSource, report: Report) -> list[Path]:
    if source.kind is Kind.ENTRY:
        entry = source.path.resolve()
        steps = (entry.with_name(step_name(entry.name, step)) for step in STEPS)
        return [entry, *(step for step in steps if step.is_dir())]
    repository = source.path.resolve() if source.kind is Kind.REPOSITORY else _converted(source, report)
    return sorted(path for path in repository.iterdir() if (path / "config.pbtxt").is_file())


def _linked(entries: dict[str, Path]) -> Path:
    """Return a repository of links in the cache: nothing of it has to be removed when this process is killed."""
    made = conversion_cache.digest({name: str(path) for name, path in entries.items()})
    place = cache_folder() / "together" / made
    with exclusive(place, lambda: None):
        try:
            place.mkdir(parents=True, exist_ok=True)
            for name, path in entries.items():
                with suppress(FileExistsError):
                    os.symlink(path, place / name)
        except OSError as error:
            raise ToolError(f"{place} cannot be written: {error.strerror}") from error
    return place
