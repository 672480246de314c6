"""The values of options, read from the command line."""

from __future__ import annotations

import argparse
import math


def score(text: str) -> float:
    """Return what `--threshold` has as a float; argparse says the error."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return number


def seconds(text: str) -> float:
    """Return what `--timeout` has as a float; argparse says the error."""
    number = _number(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number


def positive(text: str) -> int:
    """Return what `--concurrency` has as an int; argparse says the error."""
    number = _number(text)
    if not number >= 1 or not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(number)


def pixels(text: str) -> float:
    """Return what `--tolerance` has as a float; argparse says the error."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 0 on")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
