"""Refusals that name what is missing: a program that looks like a family's, and lacks a part of it."""

from __future__ import annotations

from typing import TypeVar

from maskserve.errors import ToolError

T = TypeVar("T")


class PartNotFound(ToolError):
    """A program has the mark of a family, but not all parts of it."""


def not_found(family: str, part: str) -> PartNotFound:
    """Return the error for a part that a program of a family has to have.

    Args:
        family: the family in words, with an article where it needs one: "SOLOv2", "an R-CNN".
        part: the part and the operators that it consists of, with its article.
    """
    return PartNotFound(f"this program looks like {family}, but {part} was not found in it")


def found(value: T | None, family: str, part: str) -> T:
    """Return the value.

    Raises:
        PartNotFound: it is None.
    """
    if value is None:
        raise not_found(family, part)
    return value
