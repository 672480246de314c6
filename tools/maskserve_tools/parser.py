"""A command line's parser, whose errors say what may have been meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

_CHOICE = re.compile(r"invalid choice: '([^']*)'")


class Parser(argparse.ArgumentParser):
    """Refuse as argparse does, and add the names that come close to what is not known."""

    _given: Sequence[str] = ()
    _is_command = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # as argparse has it
        """Parse; what a command does not know is refused here, where its options are known."""
        self._given = list(args or ())
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._is_command:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print usage, message and what may have been meant, and exit with 2."""
        close = [*self._close_choice(message), *self._close_options()]
        super().error(f"{message}; did you mean {' or '.join(close)}?" if close else message)

    def _close_choice(self, message: str) -> list[str]:
        wrong = _CHOICE.search(message)
        if wrong is None:
            return []
        choices = [str(choice) for action in self._actions for choice in action.choices or ()]
        return difflib.get_close_matches(wrong[1], choices, n=2)

    def _close_options(self) -> list[str]:
        """Return the options that come close to the words which are none; a beginning of one is one."""
        known = list(self._option_string_actions)
        words = self._given[: self._given.index("--")] if "--" in self._given else self._given
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        wrong = [option for option in options if not any(name.startswith(option) for name in known)]
        return [close for option in wrong for close in difflib.get_close_matches(option, known, n=1)]


class CommandParser(Parser):
    """The parser of a command: it knows all options that may follow."""

    _is_command = True
