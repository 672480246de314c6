"""Generate the pages that repeat other sources: the command line, the REST service, and files outside docs/.

`mkdocs build` calls the functions named `on_*`. Nothing here is imported by maskserve.
"""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
# Pages of the site that are files outside docs/: the page's path, and the file's.
COPIES = {
    "docker.md": "docker/README.md",
    "examples/clients.md": "examples/clients/README.md",
    "examples/kserve.md": "examples/kserve/README.md",
    "demo.md": "demo/MODEL_CARD.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
_PAGES = {source: page for page, source in COPIES.items()}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_HELP_WIDTH = "80"  # what fits beside the navigation


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the site."""
    pages = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in COPIES.items()}
    document = openapi()
    pages["reference/cli.md"] = command_line()
    pages["reference/openapi.md"] = rest(document)
    pages["reference/openapi.json"] = json.dumps(document, indent=2)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links that leave docs/ lead to the copied page, or show the path where there is none."""
    path = page.file.src_uri
    source = COPIES.get(path, f"docs/{path}")
    return _LINK.sub(lambda found: _link(found, path, posixpath.dirname(source)), markdown)


def _link(found: re.Match[str], page: str, folder: str) -> str:
    mark, text, target = found.groups()
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", target):
        return found[0]
    full = posixpath.normpath(posixpath.join(folder, path))
    if not (ROOT / full).exists() and not full.startswith("docs/reference/"):
        return found[0]  # mkdocs reports it
    if full in _PAGES or full.startswith("docs/"):
        there = _PAGES.get(full, full.removeprefix("docs/"))
        relative = posixpath.relpath(there, posixpath.dirname(page) or ".")
        return f"{mark}[{text}]({relative}{hash_}{anchor})"
    if full in (".", "README.md"):
        return text
    plain = text.replace("`", "")
    return f"`{full}`" if plain.rstrip("/") in (full, posixpath.basename(full)) else f"{text} (`{full}`)"


def command_line() -> str:
    """Return the page of all commands, from their `--help`."""
    os.environ["COLUMNS"] = _HELP_WIDTH
    from maskserve_tools.cli import build_parser

    parser = build_parser()
    sections = [
        "# Command line",
        "This page is made from the `--help` of each command when the site is built.",
        _block(parser.format_help()),
    ]
    for name, command in _commands(parser):
        sections += [f"## maskserve {name}", _block(command.format_help())]
    return "\n\n".join(sections) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _block(text: str) -> str:
    return f"```text\n{text.strip()}\n```"


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of the gateway. No server is asked for it."""
    from maskserve_gateway.app import create_app
    from maskserve_gateway.settings import Settings

    document: dict[str, Any] = create_app(Settings(urls=("grpc://localhost:8001",), model="NAME")).openapi()
    return document


def rest(document: dict[str, Any]) -> str:
    """Return the page of an OpenAPI document: its operations, and its schemas field by field."""
    sections = [
        "# REST: OpenAPI",
        "This page is made from the gateway's OpenAPI document when the site is built. The document itself is "
        "[openapi.json](openapi.json); a running gateway answers it at `/openapi.json` and shows it at `/docs/`. "
        "[REST](../rest.md) explains the service.",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            sections += [f"## {method.upper()} {path}", operation.get("description") or operation.get("summary", "")]
            sections += [_operation(operation), *_request(operation)]
    for name, schema in document["components"]["schemas"].items():
        sections += [f"## Schema {name}", schema.get("description", ""), _fields(schema)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _operation(operation: dict[str, Any]) -> str:
    rows = ["| | body | |", "|---|---|---|"]
    if "requestBody" in operation:
        rows.append(f"| request | {_content(operation['requestBody'])} | |")
    rows += [
        f"| {status} | {_content(answer)} | {answer.get('description', '')} |"
        for status, answer in operation["responses"].items()
    ]
    return "\n".join(rows)


def _request(operation: dict[str, Any]) -> Iterator[str]:
    """Yield the fields of a request whose schema has no name of its own."""
    for kind in operation.get("requestBody", {}).get("content", {}).values():
        if fields := _fields(kind.get("schema", {})):
            yield "The fields of the request:"
            yield fields


def _content(part: dict[str, Any]) -> str:
    return ", ".join(_type(kind.get("schema", {})) for kind in part.get("content", {}).values())


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = ["| field | type | required | |", "|---|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        words = str(field.get("description", "")).replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `{name}` | {_type(field)} | {'yes' if name in required else 'no'} | {words} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#schema-{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))
