"""All the rewriting of a core."""

from __future__ import annotations

from pathlib import Path

from maskserve_tools.converting.onnx_graph.converted import Converted
from maskserve_tools.converting.onnx_graph.shapes import partial_shapes
from maskserve_tools.converting.onnx_graph.writing import Graph
from maskserve_tools.converting.rewriting.extents import take_lines
from maskserve_tools.converting.rewriting.filtering import filter_maps
from maskserve_tools.converting.rewriting.gathering import gather_first
from maskserve_tools.converting.rewriting.transposing import transpose_as_images
from maskserve_tools.converting.rewriting.upsampling import filter_before_upsampling


def rewrite(path: Path, *, exact: bool) -> int:
    """Rewrite a core's file where that saves work.

    Args:
        path: the ONNX file.
        exact: whether it will be computed in true float32 on a CPU.

    Returns:
        how many places were found.
    """
    model, shapes, graph = Converted(path), partial_shapes(path), Graph("rewritten")
    found = take_lines(model, shapes, graph)
    found += gather_first(model, shapes, graph)
    found += filter_before_upsampling(model, graph)
    found += transpose_as_images(model, graph)
    if exact:
        found += filter_maps(model, shapes, graph)
    if found:
        model.save(graph, path)
    return found
