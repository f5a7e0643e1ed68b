"""Convert models in ONNX, by ONNX' own reference operators in double precision."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Value

REALS = (1, 10, 11, 16)  # TensorProto's float, float16, double and bfloat16


def _double(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _evaluated(
    what: str, node: Any, opsets: dict[str, int], names: list[str], *arrays: Any
) -> list[np.ndarray]:
    """Return the outputs of a node. `names` are those of its inputs."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type == "Cast" and any(
        each.name == "to" and each.i in REALS for each in node.attribute
    ):
        return [np.asarray(array, dtype=np.float64) for array in arrays]
    with affine_graph.refusing(f"{what} cannot be evaluated"):
        # some operators depend on them
        kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
        inputs = [
            helper.make_tensor_value_info(*each, None) for each in zip(names, kinds)
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        alone = helper.make_graph([node], "node", inputs, outputs)
        found = ReferenceEvaluator(alone, opsets=opsets).run(
            None, dict(zip(names, arrays))
        )
    return [_double(np.asarray(each)) for each in found]


def _run(model: Any, x: Any) -> Any:
    """Return the output of a model for a value or an array as its input."""
    from onnx import numpy_helper

    opsets = {each.domain: each.version for each in model.opset_import}
    known: dict[str, Any] = {each.name: x for each in model.graph.input}
    known |= {
        each.name: _double(numpy_helper.to_array(each))
        for each in model.graph.initializer
    }
    for node in model.graph.node:
        what = f"model: node {node.name or node.output[0]!r} ({node.op_type})"
        names = [name for name in dict.fromkeys(node.input) if name]
        try:
            given = [known[name] for name in names]
        except KeyError as error:
            raise ValueError(f"{what} takes {error}, which is not there") from None
        if node.op_type in ("Shape", "Size"):  # the same for all inputs of one shape
            given = [np.zeros(each.shape) for each in given]
        found = affine_graph.applied(
            what, partial(_evaluated, what, node, opsets, names), given
        )
        known |= zip(node.output, found)
    return known[model.graph.output[0].name]


def _loaded(path: str | os.PathLike) -> Any:
    import onnx

    if not Path(path).is_file():
        raise FileNotFoundError(f"model = {str(path)!r}: no such file")
    try:
        return onnx.load(path)
    except Exception:
        raise ValueError(f"model = {str(path)!r}: is no ONNX file") from None


def from_onnx(model: Any) -> Converted:
    """See `MLP.from_onnx`."""
    import onnx

    if isinstance(model, (str, os.PathLike)):
        model = _loaded(model)
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(
            f"model: {type(model).__name__} given; must be a path or an onnx.ModelProto"
        )
    stored = {each.name for each in model.graph.initializer}
    free = [each for each in model.graph.input if each.name not in stored]
    if len(free) != 1 or len(model.graph.output) != 1:
        raise ValueError(
            f"model: {len(free)} inputs and {len(model.graph.output)} outputs; must be one of each"
        )
    shape = tuple(each.dim_value for each in free[0].type.tensor_type.shape.dim)[1:]
    if not shape or not all(shape):
        raise ValueError(
            f"model: input of shape {shape}; must be fixed past its first axis"
        )
    output = _run(model, affine_graph.inputs((1, *shape)))
    if not isinstance(output, Value):
        raise ValueError("model: its output does not depend on its input")
    x = np.random.default_rng(0).standard_normal((8, *shape))
    expected = np.concatenate([np.asarray(_run(model, row[None])) for row in x])
    # Compared in single precision, because some operators hold constants in it.
    return Converted(output, x, expected.astype(np.float32))
