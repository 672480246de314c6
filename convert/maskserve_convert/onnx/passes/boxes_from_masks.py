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
from typing import TYPE_CHECKING

from maskserve_convert.onnx.builder import GraphBuilder
from maskserve_convert.onnx.nodes import constant, producer, reduced_axes, shape
from maskserve_convert.onnx.report import NearMisses

if TYPE_CHECKING:
    import onnx_ir as ir

# What may lie between the comparison and the reduction: each pixel by itself, and what is said about shapes.
_PIXEL_BY_PIXEL = frozenset({"Cast", "Mul", "Add", "Where", "Expand", "Shape", "Slice", "Concat", "Reshape"})
_OTHER_SIDE = {-1: -2, -2: -1}


@dataclass(frozen=True, slots=True)
class _Coordinates:
    """Coordinates of the pixels inside masks, about to be reduced.

    Attributes:
        compare: says which pixels are inside.
        nodes: what lies behind the comparison, the reduction last.
        lines: the grids of coordinates that it reads, and the line that each is spread from.
        side: the coordinates': -1 for columns, -2 for rows.
    """

    compare: ir.Node
    nodes: list[ir.Node]
    lines: Mapping[ir.Value, ir.Value]
    side: int


def boxes_from_masks(builder: GraphBuilder, misses: NearMisses) -> int:
    """Rewrite the reductions of coordinates inside masks [B, N, H, W]; returns how many there are."""
    count = 0
    inside: dict[tuple[ir.Node, int], ir.Value] = {}
    for reduction in [node for node in builder.graph if _of_all_pixels(node)]:
        path = _path(builder.graph, reduction)
        compares = [node for node in path if node.op_type == "Greater"]
        if not compares:
            continue  # it is not of masks
        found = _coordinates(path, compares)
        if isinstance(found, str):
            misses.add(found)
            continue
        key = (found.compare, found.side)
        if key not in inside:
            greatest = builder.reduce("ReduceMax", found.compare.inputs[0], _OTHER_SIDE[found.side], keepdims=True)
            inside[key] = builder.op("Greater", greatest, found.compare.inputs[1])
        copies = builder.repeat(found.nodes, {**found.lines, found.compare.outputs[0]: inside[key]})
        builder.replace(reduction.outputs[0], copies[reduction.outputs[0]])
        count += 1
    return count


def _of_all_pixels(node: ir.Node) -> bool:
    """Return whether a node reduces the pixels of a mask, flattened to its last side, or asks whether there are any."""
    axes = reduced_axes(node) if node.op_type in ("ReduceMax", "ReduceMin") else None
    operand = producer(node.inputs[0]) if axes else None
    kind = operand.op_type if operand is not None else None
    return (axes == [-1] and kind == "Reshape") or (axes == [2, 3] and kind == "Cast" and node.op_type == "ReduceMax")


def _coordinates(path: list[ir.Node], compares: list[ir.Node]) -> _Coordinates | str:
    """Return what the last node of a path reduces; a sentence where it is something else."""
    compare, *others = compares
    if others:
        return f"what is reduced depends on {len(compares)} comparisons, not on one"
    if reason := _why_no_masks(compare):
        return reason
    reduction, nodes = path[-1], _behind(path, compare)
    if reduced_axes(reduction) == [2, 3]:
        direct = len(nodes) == 2
        return _Coordinates(compare, nodes, {}, -1) if direct else "whether a mask has pixels depends on more than them"
    if any(node.op_type == "Where" for node in nodes) != (reduction.op_type == "ReduceMin"):
        return "the least coordinate counts the pixels outside the mask, or the greatest does not"
    lines = _lines(nodes)
    sides = {_side(shape(line)) for line in lines.values()}
    if len(sides) != 1 or (side := sides.pop()) is None:
        return "what is reduced are not the coordinates of one side"
    return _Coordinates(compare, nodes, lines, side)


def _why_no_masks(compare: ir.Node) -> str | None:
    """Return why what is compared are not logits [B, N, H, W] with one number; None where they are."""
    logits, limit = compare.inputs
    if (sides := len(shape(logits))) != 4:
        return f"what is compared has {sides or 'an unknown number of'} sides, where masks have 4"
    number = constant(limit)
    if number is None or number.size != 1:
        return "the number that the masks are compared with is computed"
    return None


def _path(graph: ir.Graph, reduction: ir.Node) -> list[ir.Node]:
    """Return the nodes from comparisons to a reduction, which is the last; all of them work pixel by pixel."""
    found, left = {reduction}, list(reduction.inputs)
    while left:
        node = producer(left.pop())
        if node is not None and node not in found and node.op_type in {*_PIXEL_BY_PIXEL, "Greater"}:
            found.add(node)
            left += [] if node.op_type == "Greater" else node.inputs
    return [node for node in graph if node in found]


def _behind(path: list[ir.Node], compare: ir.Node) -> list[ir.Node]:
    """Return the nodes that depend on a comparison."""
    made, result = set(compare.outputs), []
    for node in path:
        if made.intersection(node.inputs):
            made.update(node.outputs)
            result.append(node)
    return result


def _lines(nodes: list[ir.Node]) -> dict[ir.Value, ir.Value]:
    """Return the grids that the nodes multiply masks with, and the line of coordinates that each is spread from."""
    made = {value for node in nodes for value in node.outputs}
    lines = {}
    for factor in [value for node in nodes if node.op_type == "Mul" for value in node.inputs]:
        spread = producer(factor)
        if factor is not None and factor not in made and spread is not None and spread.op_type == "Expand":
            line, _ = spread.inputs
            assert line is not None
            lines[factor] = line
    return lines


def _side(line: tuple[int, ...]) -> int | None:
    """Return which side of a mask the line [1, W] or [H, 1] goes along."""
    if len(line) != 2 or line.count(1) != 1:
        return None
    return -1 if line[0] == 1 else -2
