"""Convert models of Keras: sequential, functional, and of the user's own classes.

A model of the user's own class must have been called once, because its graph is
recorded by a call.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Node, Value

# The classes of layers that are an affine map followed by their attribute `activation`.
# A recurrent layer is not in the list, because it applies its activation in each step.
MAPS = (
    "Dense",
    "EinsumDense",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
)


def _graph(model: Any, shape: tuple[int, ...]) -> Any:
    """Return the graph of a model, a keras.Function.

    `shape` is the shape of the input without the batch axis. A model of the user's own
    class, or a sequential model that is not built, has no graph and is called on a
    symbolic input of this shape. Raise a ValueError if the call raises an error.
    """
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return model._functional
    if isinstance(model, keras.Function):
        return model
    x = keras.Input(shape)
    counts = [
        (each, len(each._inbound_nodes), len(each._outbound_nodes))
        for each in model._flatten_layers()
    ]
    try:
        with affine_graph.one_line_errors(
            "model: its call must be a graph of Keras' own operations"
        ):
            return keras.Function(x, model.call(x))
    finally:  # remove the nodes that the call has added to the model's layers
        for layer, inbound, outbound in counts:
            del layer._inbound_nodes[inbound:], layer._outbound_nodes[outbound:]


def _activation(operation: Any) -> Any:
    """Return the activation of a layer of MAPS, or None for other operations.

    A class derived from one of MAPS is another operation.
    """
    import keras

    if type(operation) in [getattr(keras.layers, name) for name in MAPS]:
        return operation.activation
    return None


def _double(layer: Any) -> Any:
    """Return a copy of a layer in double precision.

    The copy of a layer of MAPS has no activation. If a copy cannot be made, the layer
    itself is returned, and so is an operation that is not a layer.
    """
    try:
        options = layer.get_config() | {"dtype": "float64"}
        if _activation(layer):
            options["activation"] = "linear"
        twin = type(layer).from_config(options)
        twin.build_from_config(layer.get_build_config())
        twin.set_weights(layer.get_weights())
        if hasattr(twin, "finalize_state"):
            twin.finalize_state()  # Normalization derives its scaling from its weights
    except Exception:  # a user's own layer may need more than its configuration
        return layer
    return twin


def _arrays(tensors: Any) -> list[np.ndarray]:
    """Return all tensors of a nested structure as a list of NumPy arrays.

    For a single tensor, the list has one array.
    """
    import keras

    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(tensors)]


def _node(node: Any) -> Node:
    """Convert a node of a Keras graph to a `Node` of this package.

    The names of its inputs and outputs are the ids of Keras' symbolic tensors.
    """
    import keras

    operation = node.operation
    # An operation may take one tensor several times, as h * h does
    names = list(dict.fromkeys(map(id, node.arguments.keras_tensors)))

    def on_arrays(layer: Any, *arrays: Any) -> list[np.ndarray]:
        tensors = map(keras.ops.convert_to_tensor, arrays)
        args, kwargs = node.arguments.fill_in(dict(zip(names, tensors)))
        if getattr(layer, "_call_has_training_arg", False):
            kwargs = kwargs | {"training": False}
        return _arrays(layer(*args, **kwargs))

    def function(*values: Any) -> Sequence[Any]:
        if isinstance(operation, keras.Model):
            return [_output(operation, *values)]
        label = f"model: layer {operation.name!r} ({type(operation).__name__})"
        if type(operation) is keras.layers.Dense and affine_graph.is_vector(values[0]):
            (kernel,) = _arrays(operation.kernel)
            bias = _arrays(operation.bias)[0] if operation.use_bias else 0.0
            results: Sequence[Any] = [affine_graph.dense(kernel.T, values[0], bias)]
        else:
            layer = _double(operation)
            results = affine_graph.applied(label, partial(on_arrays, layer), values)
            if layer is operation:
                return results
        activation = _activation(operation)
        if activation in (None, keras.activations.linear):
            return results
        return affine_graph.applied(
            f"{label}'s activation",
            lambda z: _arrays(activation(keras.ops.convert_to_tensor(z))),
            results,
        )

    return Node(names, [id(output) for output in node.outputs], function)


def _output(model: Any, value: Value, *others: Any) -> Any:
    """Return the output of a model, a Value or a constant, for the input `value`.

    `others` are further inputs. Raise a ValueError if there are any, or if the model
    has several outputs.
    """
    if others:
        raise ValueError(
            f"model: the inner model {model.name!r} has {1 + len(others)} inputs; "
            "must have one"
        )
    graph = _graph(model, value.shape[1:])
    if len(graph.outputs) != 1:
        raise ValueError(
            f"model: {model.name!r} has {len(graph.outputs)} outputs; must have one"
        )
    nodes = [
        _node(node)
        for depth in sorted(graph._nodes_by_depth, reverse=True)
        for node in graph._nodes_by_depth[depth]
        if not node.is_input
    ]
    results = affine_graph.evaluate(nodes, {id(graph.inputs[0]): value})
    return results[id(graph.outputs[0])]


def _input_shape(model: Any) -> tuple[int, ...]:
    """Return the shape of a model's input, without the batch axis.

    Raise a ValueError if the model has several inputs or outputs, or is not built.
    """
    if getattr(model, "inputs", None):
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(
                f"model: has {len(model.inputs)} inputs and {len(model.outputs)} "
                "outputs; must have one of each"
            )
        return tuple(model.inputs[0].shape[1:])
    shape = (model.get_build_config() or {}).get("input_shape")
    if not model.built or not isinstance(shape, tuple):
        raise ValueError(
            f"model: {model.name!r} is not built; call it or give it an Input"
        )
    return shape[1:]


def from_keras(model: Any) -> Converted:
    """Convert a Keras model, for `MLP.from_keras`, which documents the errors."""
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(f"model: {type(model).__name__} given; must be a keras.Model")
    shape = _input_shape(model)
    if None in shape:
        raise ValueError(
            f"model: the input has shape {shape} past its first axis; every length "
            "must be fixed"
        )

    def original(row: np.ndarray) -> np.ndarray:
        return _arrays(model(row, training=False))[0]

    output = _output(model, affine_graph.inputs((1, *shape)))
    return Converted(output, original, affine_graph.random_inputs(shape))
