"""Convert models in the format ONNX.

The operations are evaluated by the reference operators of the package onnx, in double
precision.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Node

# The numbers of the types float, float16, double and bfloat16 in onnx.TensorProto
REALS = (1, 10, 11, 16)


def _double(array: np.ndarray) -> np.ndarray:
    """Convert an array of a floating-point type to float64. Return others unchanged."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _node(node: Any, opsets: dict[str, int]) -> Node:
    """Convert a node of an ONNX graph to a `Node` of this package.

    Its inputs and outputs have the names that they have in ONNX. Inputs that are absent
    are left out, and an input that occurs twice is listed once. `opsets` maps the
    domains of operators to their versions. A Cast to a type in REALS becomes a
    cast to float64.
    """
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [name for name in dict.fromkeys(node.input) if name]

    def operation(*arrays: np.ndarray) -> list[np.ndarray]:
        if node.op_type == "Cast" and helper.get_node_attr_value(node, "to") in REALS:
            return [np.asarray(array, dtype=np.float64) for array in arrays]
        inputs = []
        for name, array in zip(names, arrays):
            # The results of some operators depend on the types of their inputs
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            inputs.append(helper.make_tensor_value_info(name, kind, None))
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "node", inputs, outputs)
        evaluator = ReferenceEvaluator(graph, opsets=opsets)
        results = evaluator.run(None, dict(zip(names, arrays)))
        return [_double(np.asarray(result)) for result in results]

    def function(*values: Any) -> list[Any]:
        if node.op_type in ("Shape", "Size"):
            # The result depends on the shapes of the arguments only, so it is constant
            return operation(*(np.zeros(each.shape) for each in values))
        label = f"model: node {node.name or node.output[0]!r} ({node.op_type})"
        return affine_graph.applied(label, operation, values)

    return Node(names, node.output, function)


def _output(model: Any, x: Any) -> Any:
    """Return the output of a model for the input x, a Value or an array.

    For a Value, the output is a Value or a constant, and for an array an array. Raise a
    ValueError if a node takes a result that no earlier node computes.
    """
    from onnx import numpy_helper

    results = {each.name: x for each in model.graph.input}
    for each in model.graph.initializer:
        results[each.name] = _double(numpy_helper.to_array(each))
    opsets = {each.domain: each.version for each in model.opset_import}
    nodes = [_node(node, opsets) for node in model.graph.node]
    try:
        return affine_graph.evaluate(nodes, results)[model.graph.output[0].name]
    except KeyError as error:
        raise ValueError(
            f"model: {error} must be computed by an earlier node"
        ) from None


def _loaded(path: str | os.PathLike) -> Any:
    """Return the model in a file, an onnx.ModelProto.

    Raise a FileNotFoundError if there is no such file, and a ValueError if onnx cannot
    read it.
    """
    import onnx

    if not Path(path).is_file():
        raise FileNotFoundError(f"model = {str(path)!r}: no such file")
    try:
        return onnx.load(path)
    except Exception:
        raise ValueError(f"model = {str(path)!r}: must be an ONNX file") from None


def _input_shape(model: Any) -> tuple[int, ...]:
    """Return the shape of the only input of a model, without its first axis, the batch.

    Raise a ValueError if the model has several inputs or outputs, or if the shape is
    not fixed.
    """
    stored = {each.name for each in model.graph.initializer}
    free = [each for each in model.graph.input if each.name not in stored]
    if len(free) != 1 or len(model.graph.output) != 1:
        raise ValueError(
            f"model: has {len(free)} inputs and {len(model.graph.output)} outputs; "
            "must have one of each"
        )
    shape = tuple(each.dim_value for each in free[0].type.tensor_type.shape.dim)[1:]
    if not shape or not all(shape):
        raise ValueError(
            f"model: the input has shape {shape} past its first axis; every length "
            "must be fixed"
        )
    return shape


def from_onnx(model: Any) -> Converted:
    """Convert an ONNX model, for `MLP.from_onnx`, which documents the errors."""
    import onnx

    if isinstance(model, (str, os.PathLike)):
        model = _loaded(model)
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(
            f"model: {type(model).__name__} given; must be a path or an onnx.ModelProto"
        )
    shape = _input_shape(model)

    def original(row: np.ndarray) -> np.ndarray:
        # The result has single precision, because some operators contain constants that
        # are rounded to it
        return np.asarray(_output(model, row), dtype=np.float32)

    output = _output(model, affine_graph.inputs((1, *shape)))
    return Converted(output, original, affine_graph.random_inputs(shape))
