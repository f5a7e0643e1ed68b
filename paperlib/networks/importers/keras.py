"""Convert models of Keras: sequential, functional, and of any class after a call."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Node, Value

# Layers that are an affine map followed by an activation. In a recurrent layer the
# activation stands inside.
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
    """Return the keras.Function of a model for inputs of this shape without the batch.

    A model without a graph of its own is called on a symbolic input.
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
    finally:  # the call has added nodes to its layers
        for layer, inbound, outbound in counts:
            del layer._inbound_nodes[inbound:], layer._outbound_nodes[outbound:]


def _activation(operation: Any) -> Any:
    """Return the activation that follows the affine map of a layer, or None."""
    import keras

    if type(operation) in [getattr(keras.layers, name) for name in MAPS]:
        return operation.activation
    return None


def _double(layer: Any) -> Any:
    """Return the layer in double precision, without its activation.

    If it cannot be built again, return the layer itself.
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


def _results(node: Any, names: list[int], *values: Any) -> Sequence[Any]:
    """Return the outputs of a node for values in place of the tensors in `names`."""
    import keras

    operation = node.operation
    if isinstance(operation, keras.Model):
        if len(values) != 1:
            raise ValueError(
                f"model: {operation.name!r} within it has {len(values)} inputs; "
                "must have one"
            )
        return [_output(operation, values[0])]
    label = f"model: layer {operation.name!r} ({type(operation).__name__})"
    function, activation = operation, _activation(operation)
    if isinstance(operation, keras.Layer):
        function = _double(operation)
    training = getattr(operation, "_call_has_training_arg", False)
    mode = {"training": False} if training else {}

    def on_arrays(*arrays: Any) -> list[np.ndarray]:
        tensors = map(keras.ops.convert_to_tensor, arrays)
        args, kwargs = node.arguments.fill_in(dict(zip(names, tensors)))
        outputs = function(*args, **kwargs | mode)
        return [
            keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)
        ]

    def activated(z: np.ndarray) -> list[np.ndarray]:
        return [keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(z)))]

    if type(operation) is keras.layers.Dense and affine_graph.is_vector(values[0]):
        bias = keras.ops.convert_to_numpy(operation.bias) if operation.use_bias else 0.0
        results = [
            affine_graph.dense(
                keras.ops.convert_to_numpy(operation.kernel).T, values[0], bias
            )
        ]
    else:
        results = affine_graph.applied(label, on_arrays, values)
        if function is operation:
            return results
    if activation in (None, keras.activations.linear):
        return results
    return affine_graph.applied(f"{label}'s activation", activated, results)


def _nodes(graph: Any) -> Iterator[Node]:
    """Yield the nodes of a keras.Function. Names are the ids of symbolic tensors."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if not node.is_input:
                # An operation may take one tensor several times, as h * h does
                names = list(dict.fromkeys(map(id, node.arguments.keras_tensors)))
                outputs = [id(output) for output in node.outputs]
                yield Node(names, outputs, partial(_results, node, names))


def _output(model: Any, value: Value) -> Value:
    """Return the output of a model for a value as its input."""
    graph = _graph(model, value.shape[1:])
    results = affine_graph.evaluate(_nodes(graph), {id(graph.inputs[0]): value})
    output = results[id(graph.outputs[0])]
    if len(graph.outputs) == 1 and isinstance(output, Value):
        return output
    raise ValueError(
        f"model: {model.name!r} gives {len(graph.outputs)} outputs; must give one, "
        "which depends on the input"
    )


def _input_shape(model: Any) -> tuple[int, ...]:
    """Return the shape of the input, without the batch."""
    if getattr(model, "inputs", None):
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(
                f"model: {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
                "must be one of each"
            )
        return tuple(model.inputs[0].shape[1:])
    shape = (model.get_build_config() or {}).get("input_shape")
    if not model.built or not isinstance(shape, tuple):
        raise ValueError(
            f"model: {model.name!r} is not built; call it or give it an Input"
        )
    return shape[1:]


def from_keras(model: Any) -> Converted:
    """See `MLP.from_keras`."""
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(f"model: {type(model).__name__} given; must be a keras.Model")
    shape = _input_shape(model)
    if None in shape:
        raise ValueError(f"model: input of shape {shape}; must be fixed")

    def original(row: np.ndarray) -> np.ndarray:
        output = keras.tree.flatten(model(row, training=False))[0]
        return keras.ops.convert_to_numpy(output)

    output = _output(model, affine_graph.inputs((1, *shape)))
    return Converted(output, original, affine_graph.random_inputs(shape))
