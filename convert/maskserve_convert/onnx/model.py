"""An ONNX core in memory, which onnx-ir reads and writes: loaded once, changed by passes, saved once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def load(path: Path) -> ir.Model:
    """Read a core. Of the shapes in the file only those of its inputs and outputs are kept."""
    import onnx_ir as ir

    model = ir.load(path)
    forget_shapes(model.graph)
    tidy(model)
    return model


def save(model: ir.Model, target: Path) -> None:
    """Check a core and write it.

    Raises:
        onnx.checker.ValidationError: it is not valid.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import CheckerPass, ClearMetadataAndDocStringPass

    model.producer_name = model.producer_version = model.doc_string = None
    model.graph.name = "core"
    ClearMetadataAndDocStringPass()(model)
    CheckerPass()(model)
    ir.save(model, target)


def tidy(model: ir.Model) -> None:
    """Remove what the outputs do not need, and sort the nodes so that each reads only what was made before.

    Constants are initializers afterwards, and `Identity` nodes are left only where they make an output.

    Raises:
        ValueError: there is no such order, because nodes read each other's results.
    """
    from onnx_ir.passes.common import LiftConstantsToInitializersPass

    model.graph.sort()
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _bypass_identities(model.graph)
    _remove_unused(model.graph)


def infer_shapes(model: ir.Model) -> None:
    """Infer the shapes of all values, as far as they can be known without running the core."""
    from onnx_ir.passes.common import ShapeInferencePass

    ShapeInferencePass(check_type=False, strict_mode=False)(model)


def forget_shapes(graph: ir.Graph) -> None:
    """Forget the shapes and types inside a graph; those of its inputs and outputs stay."""
    made = [value for node in graph for value in node.outputs if not value.is_graph_output()]
    for value in (*made, *graph.initializers.values()):
        value.shape = value.type = None


def _bypass_identities(graph: ir.Graph) -> None:
    """Remove the `Identity` nodes that do not make an output.

    onnx-ir's own pass removes those of outputs, too, and loses a name where one output is the same as another.
    """
    for node in list(graph):
        source, *_ = node.inputs or (None,)
        if node.op_type == "Identity" and source is not None and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(source)
            graph.remove(node, safe=True)


def _remove_unused(graph: ir.Graph) -> None:
    """Remove the nodes and constants that the outputs do not depend on.

    onnx-ir's own pass takes attributes with their default values away, too: what is not rewritten stays as it was.
    """
    for node in reversed(graph):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
