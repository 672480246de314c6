"""Class names from a file: text with a name on each line, or a list in JSON or YAML."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_convert.paddle.yaml_file import YamlFile, read_text
from maskserve_server.steps import show

# Control characters that names may hold: they only space and break the text.
_WHITE = "\t\n\r\x85"


def read_labels(file: Path) -> tuple[str, ...]:
    """Read the class names of a model, by class index.

    Args:
        file: in UTF-8. `.json` holds a list of names, or a map with `label_list`; so does `.yml` or `.yaml`. Any other
            file has a name on each line.

    Raises:
        ToolError: it cannot be read, or holds something else.
    """
    suffix = file.suffix.lower()
    if suffix in (".yml", ".yaml"):
        content = YamlFile.read(file)
        labels: object = content.texts("label_list" if isinstance(content.value, dict) else None)
    elif suffix == ".json":
        labels = _from_json(file)
    else:
        labels = [line.strip() for line in read_text(file).rstrip().split("\n")]
    if not isinstance(labels, list) or not labels:
        raise ToolError(f"{file} holds no list of class names; give one name on each line, or a list in JSON or YAML")
    return check_labels(labels, str(file))


def check_labels(labels: Sequence[object], where: str) -> tuple[str, ...]:
    """Make sure that each label is a name that can be shown and sent.

    Names of every script are kept as they are, also with quotes, commas, tabs and line breaks, and when two classes
    have the same one.

    Raises:
        ToolError: one is not text, is empty, or holds half of a character or an invisible control character; the
            message says which.
    """
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise ToolError(f"{where}: the name of class {index} is {show(label)}; it must be text")
        if not label.strip():
            raise ToolError(f"{where}: class {index} has no name; give each class one")
        if any(unicodedata.category(char) == "Cs" for char in label):
            raise ToolError(f"{where}: the name of class {index}, {show(label)}, holds half of a character; correct it")
        if any(unicodedata.category(char) == "Cc" and char not in _WHITE for char in label):
            raise ToolError(f"{where}: the name of class {index}, {show(label)}, holds a control character; remove it")
    return tuple(str(label) for label in labels)


def _from_json(file: Path) -> object:
    try:
        content = json.loads(read_text(file))
    except ValueError as error:
        raise ToolError(f"{file} is not valid JSON: {error}") from None
    except RecursionError:
        raise ToolError(f"{file} is not valid JSON: it is nested too deeply") from None
    return content.get("label_list") if isinstance(content, dict) else content
