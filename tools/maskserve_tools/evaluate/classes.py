"""Which class of a model is which category of a data set."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskserve.errors import ToolError, listed

if TYPE_CHECKING:
    from maskserve_tools.evaluate.dataset import Dataset

_SHOWN = 8  # of a long list of names


@dataclass(frozen=True, slots=True)
class Classes:
    """Which class of the model is which category of the data set.

    Attributes:
        categories: the number of the category, by class index.
        unknown: the names of the categories that annotations are of, but the model has no class for.
        unjudged: the labels of the classes that the data set has no category for.
    """

    categories: Mapping[int, int]
    unknown: tuple[str, ...]
    unjudged: tuple[str, ...]


def match_by_name(labels: Sequence[str], dataset: Dataset) -> Classes:
    """Match the model's classes with the categories of the same name; capitals and spaces around do not count.

    Raises:
        ToolError: two classes, or two categories, have one name.
    """
    numbers = _by_name({number: name for number, name in dataset.categories.items()}, "categories of the annotations")
    classes = _by_name(dict(enumerate(labels)), "classes of the model")
    used = dataset.used()
    return Classes(
        {index: numbers[name] for name, index in classes.items() if name in numbers},
        tuple(dataset.categories[number] for name, number in numbers.items() if number in used and name not in classes),
        tuple(labels[index] for name, index in classes.items() if name not in numbers),
    )


def match_by_order(labels: Sequence[str], dataset: Dataset) -> Classes:
    """Take the categories in the order of the file for the classes, as PaddleDetection does when it trains.

    Raises:
        ToolError: there are not as many of them.
    """
    if len(labels) != len(dataset.categories):
        raise ToolError(
            f"{dataset.file} has {len(dataset.categories)} categories, and the model {len(labels)} classes: by their "
            "order they cannot be the same"
        )
    return Classes(dict(enumerate(sorted(dataset.categories))), (), ())


def choose(
    classes: Classes, dataset: Dataset, labels: Sequence[str], *, names: Sequence[str], common: bool
) -> dict[int, int]:
    """Return the classes to judge, and the number of the category of each.

    Args:
        classes: which class is which category.
        dataset: the data set.
        labels: of the model.
        names: the categories that were asked for; none for all.
        common: whether to judge those that both have, and leave the others out.

    Raises:
        ToolError: there are none, or the model lacks some; the message says which, and what to do.
    """
    both = listed((dataset.categories[number] for number in classes.categories.values()), _SHOWN)
    if names:
        return _named(classes, dataset, names, both)
    if classes.categories and (common or not classes.unknown):
        return dict(classes.categories)
    remedy = "if they mean the same in the same order, use --by-order"
    if both:
        remedy = f"judge what both have ({both}) with --common, or choose with --category"
    raise ToolError(
        f"the annotations have categories that the model has no class for: {listed(classes.unknown, _SHOWN)} (the "
        f"model has {listed(labels, _SHOWN)}); {remedy}"
    )


def _named(classes: Classes, dataset: Dataset, names: Sequence[str], both: str) -> dict[int, int]:
    wanted = {_plain(name): name for name in names}
    plain = {number: _plain(name) for number, name in dataset.categories.items()}
    found = {index: number for index, number in classes.categories.items() if plain[number] in wanted}
    there = {plain[number] for number in found.values()}
    if missing := [name for key, name in wanted.items() if key not in there]:
        raise ToolError(
            f"the annotations and the model do not both have {', '.join(missing)}; both have {both or 'nothing'}"
        )
    return found


def _by_name(names: Mapping[int, str], what: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, name in names.items():
        if (plain := _plain(name)) in found:
            raise ToolError(f"two {what} are called {name!r}: take them by their order with --by-order")
        found[plain] = number
    return found


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())
