"""Models in ONNX, from a file or as they are, by ONNX' own reference operators in double precision."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support.checks import Floats
from paperlib.networks import graph
from paperlib.networks.graph import Converted, Value

__all__ = ["from_onnx"]


def _double(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _alone(onnx: Any, model: Any, node: Any, given: dict[str, Any]) -> Any:
    """A model of one node."""
    kinds = {"f": onnx.TensorProto.DOUBLE, "i": onnx.TensorProto.INT64, "b": onnx.TensorProto.BOOL}

    def described(name: str, array: Any) -> Any:
        kind = ("b" if array.boolean else "f") if isinstance(array, Value) else array.dtype.kind
        return onnx.helper.make_tensor_value_info(name, kinds.get(kind, onnx.TensorProto.DOUBLE), array.shape)

    ins = [described(name, array) for name, array in given.items()]
    outs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output]
    alone = onnx.helper.make_model(onnx.helper.make_graph([node], "node", ins, outs), opset_imports=model.opset_import)
    return onnx.shape_inference.infer_shapes(alone)


def _operation(onnx: Any, model: Any, node: Any, given: dict[str, Any]) -> Callable[..., list[Floats]]:
    """What a node does to arrays in the place of the values that it is given."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(_alone(onnx, model, node, given))
    values = {name: each for name, each in given.items() if isinstance(each, Value)}

    def called(*arrays: Floats) -> list[Floats]:
        filled = (array.astype(bool) if value.boolean else array for value, array in zip(values.values(), arrays))
        found = evaluator.run(None, given | dict(zip(values, filled, strict=True)))
        return [_double(np.asarray(each)) for each in found]

    return called


def _run(onnx: Any, model: Any, x: Any) -> Any:
    """What the model's graph makes of its input, a value or an array."""
    known: dict[str, Any] = {each.name: _double(onnx.numpy_helper.to_array(each)) for each in model.graph.initializer}
    known |= {each.name: x for each in model.graph.input if each.name not in known}
    for node in model.graph.node:
        missing = [name for name in node.input if name and name not in known]
        if missing:
            raise ValueError(
                f"model: node {node.name or node.output[0]!r} ({node.op_type}) takes {missing[0]!r}, which is not there"
            )
        given = {name: known[name] for name in dict.fromkeys(node.input) if name}
        values = [each for each in given.values() if isinstance(each, Value)]
        wide = node.op_type == "Cast" and any(
            attribute.name == "to" and attribute.i in (1, 10, 11, 16) for attribute in node.attribute
        )
        if wide:  # between real numbers of other sizes
            only = given[node.input[0]]
            known[node.output[0]] = only if isinstance(only, Value) else np.asarray(only, dtype=np.float64)
            continue
        what = f"model: node {node.name or node.output[0]!r} ({node.op_type})"
        try:
            called = _operation(onnx, model, node, given)
            found = called(*(np.zeros(each.shape) for each in values))
        except Exception as error:  # whatever an operator raises
            raise ValueError(f"{what} cannot be evaluated ({graph.first_line(error)})") from None
        for place, name in enumerate(node.output):
            constant = not values or node.op_type in ("Shape", "Size")
            known[name] = found[place] if constant else graph.applied(what, graph.nth(called, place), values)
    return known[model.graph.output[0].name]


def from_onnx(model: Any) -> Converted:
    """See `MLP.from_onnx`."""
    import onnx

    if isinstance(model, (str, os.PathLike)):
        if not Path(model).is_file():
            raise FileNotFoundError(f"model = {str(model)!r}: no such file")
        try:
            model = onnx.load(model)
        except Exception:
            raise ValueError(f"model = {str(model)!r}: is no ONNX file") from None
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"model: {type(model).__name__} given; must be a path or an onnx.ModelProto")
    stored = {each.name for each in model.graph.initializer}
    free = [each for each in model.graph.input if each.name not in stored]
    if len(free) != 1 or len(model.graph.output) != 1:
        raise ValueError(f"model: {len(free)} inputs and {len(model.graph.output)} outputs; must be one of each")
    shape = tuple(each.dim_value for each in free[0].type.tensor_type.shape.dim)[1:]
    if not shape or not all(shape):
        raise ValueError(f"model: input of shape {shape}; must be fixed past its first axis")
    output = _run(onnx, model, graph.inputs((1, *shape)))
    if not isinstance(output, Value):
        raise ValueError("model: its output does not depend on its input")
    x = np.random.default_rng(0).standard_normal((8, *shape))
    expected = np.concatenate([np.asarray(_run(onnx, model, row[None])) for row in x])
    # Held to single precision: some operators hold constants of it.
    return Converted(*graph.layers(output), x, expected.astype(np.float32))
