"""Mask-RT-DETR: the boxes around its queries' masks, from each mask's columns and rows in place of its pixels.

The decoder begins with them: among a mask's pixels, those whose logit is above 0, the least and the greatest coordinate
either way. Spelled out in ONNX that is some twenty passes over the masks of all 300 queries, 30 MB each. A column has a
pixel in the mask where its greatest logit is above 0; the rest can be done with one number for each column.

This is so because the program takes the greatest of `coordinate if inside else 0`, and the least of `coordinate if
inside else` a large number: one more pixel inside can only raise the one and lower the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskserve_tools.converting.onnx_graph.converted import Converted, attribute, copied
from maskserve_tools.converting.onnx_graph.shapes import Shapes
from maskserve_tools.converting.onnx_graph.writing import Graph

# What may lie between the comparison and the reduction: each pixel by itself, and what is said about shapes.
_PIXEL_BY_PIXEL = frozenset({"Cast", "Mul", "Add", "Where", "Expand", "Shape", "Slice", "Concat", "Reshape"})
_OTHER_SIDE = {-1: -2, -2: -1}

_Producers = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Coordinates:
    """Coordinates of the pixels inside masks, about to be reduced.

    Attributes:
        compare: says which pixels are inside.
        nodes: what lies behind the comparison, the reduction last.
        lines: the grids of coordinates that it reads, and the line that each is spread from.
        side: the coordinates': -1 for columns, -2 for rows.
    """

    compare: Any
    nodes: list[Any]
    lines: Mapping[str, str]
    side: int


def take_lines(model: Converted, shapes: Shapes, graph: Graph) -> int:
    """Rewrite the reductions of coordinates inside masks [B, N, H, W]; returns how many there are."""
    producers, gone = model.producers(), []
    inside: dict[tuple[str, int], str] = {}
    for reduction in [node for node in model.nodes if _of_all_pixels(node, producers)]:
        found = _coordinates(model, producers, shapes, reduction)
        if found is None:
            continue
        key = (found.compare.output[0], found.side)
        if key not in inside:
            greatest = graph.op("ReduceMax", found.compare.input[0], axes=[_OTHER_SIDE[found.side]], keepdims=1)
            inside[key] = graph.op("Greater", greatest, found.compare.input[1])
        names = {name: f"{name}.{reduction.output[0]}" for node in found.nodes[:-1] for name in node.output}
        graph.nodes += copied(found.nodes, {**names, **found.lines, found.compare.output[0]: inside[key]})
        gone.append(reduction)
    model.remove(gone)
    return len(gone)


def _of_all_pixels(node: Any, producers: _Producers) -> bool:
    """Whether a node reduces the pixels of a mask, flattened to its last side, or says whether there are any."""
    axes = attribute(node, "axes") if node.op_type in ("ReduceMax", "ReduceMin") else None
    operand = producers.get(node.input[0])
    kind = operand.op_type if operand is not None else None
    return (axes == [-1] and kind == "Reshape") or (axes == [2, 3] and kind == "Cast" and node.op_type == "ReduceMax")


def _coordinates(model: Converted, producers: _Producers, shapes: Shapes, reduction: Any) -> _Coordinates | None:
    """What a reduction is of; None where it is of something else."""
    path = _path(model, producers, reduction)
    compares = [node for node in path if node.op_type == "Greater"]
    if len(compares) != 1 or not _of_masks(model, shapes, compares[0]):
        return None
    nodes = _behind(path, compares[0])
    if attribute(reduction, "axes") == [2, 3]:
        return _Coordinates(compares[0], nodes, {}, -1) if len(nodes) == 2 else None
    if any(node.op_type == "Where" for node in nodes) != (reduction.op_type == "ReduceMin"):
        return None  # the least of `coordinate if inside else 0` is not to be had from lines
    lines = {name: producers[name].input[0] for name in _grids(producers, nodes)}
    sides = {_side(shapes.get(line, ())) for line in lines.values()}
    if len(sides) != 1 or (side := sides.pop()) is None:
        return None
    return _Coordinates(compares[0], nodes, lines, side)


def _of_masks(model: Converted, shapes: Shapes, compare: Any) -> bool:
    """Whether logits [B, N, H, W] are compared with one number."""
    logits, limit = compare.input
    return len(shapes.get(logits, ())) == 4 and limit in model.constants and model.array(limit).size == 1


def _path(model: Converted, producers: _Producers, reduction: Any) -> list[Any]:
    """What a reduction's operand is made with, pixel by pixel, from comparisons on; the reduction is the last."""
    found, left = {id(reduction)}, list(reduction.input)
    while left:
        node = producers.get(left.pop())
        if node is not None and id(node) not in found and node.op_type in {*_PIXEL_BY_PIXEL, "Greater"}:
            found.add(id(node))
            left += [] if node.op_type == "Greater" else node.input
    return [node for node in model.nodes if id(node) in found]


def _behind(path: list[Any], compare: Any) -> list[Any]:
    """The nodes that depend on a comparison."""
    made, result = set(compare.output), []
    for node in path:
        if made.intersection(node.input):
            made.update(node.output)
            result.append(node)
    return result


def _grids(producers: _Producers, nodes: list[Any]) -> set[str]:
    """What the nodes multiply their masks with: lines of coordinates, spread over the other side."""
    made = {name for node in nodes for name in node.output}
    factors = {name for node in nodes if node.op_type == "Mul" for name in node.input if name not in made}
    return {name for name in factors if getattr(producers.get(name), "op_type", None) == "Expand"}


def _side(line: tuple[int, ...]) -> int | None:
    """Which side of a mask the line [1, W] or [H, 1] goes along."""
    if len(line) != 2 or line.count(1) != 1:
        return None
    return -1 if line[0] == 1 else -2
