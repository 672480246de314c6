"""Reading a YAML file that somebody else wrote: every fault is a sentence that names the line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskserve.errors import ToolError

_MAX_BYTES = 4 << 20
_MAX_VALUES = 200_000
_MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a YAML file of one document holds.

    Attributes:
        path: the file.
        value: its content, as `yaml.safe_load` gives it.
        root: its content as PyYAML composes it; None for an empty file.
    """

    path: Path
    value: Any
    root: yaml.Node | None

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file.

        Raises:
            ToolError: it cannot be read, is not UTF-8, is not YAML, names a key twice, or is too large.
        """
        text = read_text(path)
        # PyYAML raises all of these: on `2001-99-99` and `!!bool perhaps`, for instance.
        try:
            loader = yaml.SafeLoader(text)
            root = loader.get_single_node()
            if root is None:
                return cls(path, None, None)
            _check_nodes(path, root)
            return cls(path, loader.construct_document(root), root)
        except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
            raise ToolError(f"{path} is not valid YAML: {_explain(error)}") from error
        except RecursionError:
            raise ToolError(f"{path} is not valid YAML: it is nested too deeply") from None

    def texts(self, key: str | None = None) -> list[str] | None:
        """Return the items of a list of scalars as they are written: `- no` is "no", not False, and `- 007` is "007".

        Args:
            key: the top-level key of the list; None where the file itself is the list.

        Returns:
            None where there is no such list, or where an item is a list or a map.
        """
        node = self.root
        if key is not None:
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            node = next((value for name, value in pairs if name.value == key), None)
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            return None
        return ["" if item.value == "~" and item.tag.endswith(":null") else str(item.value) for item in node.value]


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises:
        ToolError: the file cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ToolError(f"{path} has more than {_MAX_BYTES >> 20} MiB; a file of settings or labels is smaller")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ToolError(f"{path} is not UTF-8: see line {line}; save it in UTF-8") from None


def _check_nodes(path: Path, root: yaml.Node) -> None:
    """Refuse keys that stand twice, and anchors that multiply into more values than memory holds.

    An alias is the same node again: it is counted at every place where it is used.
    """
    seen = 0
    stack: list[tuple[yaml.Node, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        seen += 1
        if seen > _MAX_VALUES or depth > _MAX_DEPTH:
            raise ToolError(f"{path} is not a file of settings: its values or anchors multiply to too many")
        if isinstance(node, yaml.MappingNode):
            _check_keys(path, node)
            stack += [(child, depth + 1) for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += [(child, depth + 1) for child in node.value]


def _check_keys(path: Path, node: yaml.MappingNode) -> None:
    known: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ToolError(f"{path}: the key in line {line} is not a word")
        if key.value in known and key.tag != "tag:yaml.org,2002:merge":
            raise ToolError(
                f"{path} has {key.value!r} twice, in line {known[key.value]} and in line {line}: remove one"
            )
        known[key.value] = line


def _explain(error: Exception) -> str:
    """Return an error of PyYAML in one line."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or " ".join(str(error).split()) or type(error).__name__
    if mark is None:
        return str(what)[:200]
    hint = "; indent with spaces" if "\\t" in str(what) else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}{hint}"
