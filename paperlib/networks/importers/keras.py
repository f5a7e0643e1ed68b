"""Convert models of Keras: sequential, functional, and of any class that has been called."""

from typing import Any

import numpy as np

from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Value

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


def _functional(model: Any, shape: tuple[int, ...]) -> Any:
    """Return the model as a graph of operations. A model without a graph of its own is called on a symbolic input."""
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return model._functional
    if hasattr(model, "_run_through_graph"):
        return model
    x = keras.Input(shape)
    counts = [
        (each, len(each._inbound_nodes), len(each._outbound_nodes))
        for each in model._flatten_layers()
    ]
    try:
        with affine_graph.refusing(
            "model: its call is no graph of Keras' own operations"
        ):
            return keras.Function(x, model.call(x))
    finally:  # the call has added nodes to its layers
        for layer, ins, outs in counts:
            del layer._inbound_nodes[ins:], layer._outbound_nodes[outs:]


def _activation(operation: Any) -> Any:
    """Return the activation that follows the affine map of a layer, or None."""
    import keras

    kind = type(operation)
    if kind.__name__ in MAPS and kind is getattr(keras.layers, kind.__name__, None):
        return operation.activation if callable(operation.activation) else None
    return None


def _double(layer: Any) -> Any:
    """Return the layer in double precision, without its activation, or the layer itself if it cannot be made again."""
    try:
        options = layer.get_config() | {"dtype": "float64"}
        if _activation(layer):
            options["activation"] = "linear"
        twin = type(layer).from_config(options)
        if layer.built and getattr(layer, "_build_shapes_dict", None):
            shapes = list(layer._build_shapes_dict.values())
            twin.build(shapes[0] if len(shapes) == 1 else shapes)
        twin.set_weights(layer.get_weights())
        if hasattr(twin, "finalize_state"):
            twin.finalize_state()  # Normalization derives its scaling from its weights
    except Exception:  # a user's own layer may need more than its configuration
        return layer
    return twin


def _applied(operation: Any, args: tuple, kwargs: dict) -> Any:
    """Return the result of an operation of a model's graph on values."""
    import keras

    given = (
        args,
        {
            name: each
            for name, each in kwargs.items()
            if name not in ("training", "mask")
        },
    )
    values = [leaf for leaf in keras.tree.flatten(given) if isinstance(leaf, Value)]
    if isinstance(operation, keras.Model):
        if len(values) != 1:
            raise ValueError(
                f"model: {operation.name!r} within it has {len(values)} inputs; must have one"
            )
        return _run(operation, values[0])
    what = f"model: layer {operation.name!r} ({type(operation).__name__})"
    if type(operation) is keras.layers.Dense and len(values[0].shape) == 2:
        bias = _array(operation.bias) if operation.use_bias else 0.0
        out = affine_graph.dense(_array(operation.kernel).T, values[0], bias)
    else:
        double = _double(operation) if isinstance(operation, keras.Layer) else operation
        out = _called(what, double, given)
        if double is operation:
            return out
    activation = _activation(operation)
    if activation in (None, keras.activations.linear):
        return out
    return _called(f"{what}'s activation", activation, ([out], {}))


def _called(what: str, function: Any, given: tuple[Any, dict]) -> Any:
    """Return the result of a function of Keras tensors for values in their place. `given` are its arguments, also by name."""
    import keras

    leaves = keras.tree.flatten(given)
    mode = (
        {"training": False}
        if getattr(function, "_call_has_training_arg", False)
        else {}
    )

    def operation(*filled: Any) -> Any:
        tensors = [
            keras.ops.convert_to_tensor(each) if isinstance(leaf, Value) else each
            for leaf, each in zip(leaves, filled)
        ]
        args, kwargs = keras.tree.pack_sequence_as(given, tensors)
        return keras.tree.map_structure(_array, function(*args, **kwargs, **mode))

    return affine_graph.applied(what, operation, leaves)


def _array(tensor: Any) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(tensor)


def _run(model: Any, value: Value) -> Value:
    """Return the output of a model for a value as its input."""
    import keras

    function = _functional(model, value.shape[1:])
    out = function._run_through_graph(
        value,
        lambda operation: lambda *args, **kwargs: _applied(operation, args, kwargs),
    )
    leaves = keras.tree.flatten(out)
    if len(leaves) == 1 and isinstance(leaves[0], Value):
        return leaves[0]
    raise ValueError(f"model: {model.name!r} gives more than one output; must give one")


def _shape(model: Any) -> tuple[int, ...]:
    """Return the shape of the input, without the batch."""
    if getattr(model, "inputs", None):
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(
                f"model: {len(model.inputs)} inputs and {len(model.outputs)} outputs; must be one of each"
            )
        return tuple(model.inputs[0].shape[1:])
    built = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if not model.built or len(built) != 1 or not isinstance(built[0], tuple):
        raise ValueError(
            f"model: {model.name!r} is not built; call it or give it an Input"
        )
    return built[0][1:]


def from_keras(model: Any) -> Converted:
    """See `MLP.from_keras`."""
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(f"model: {type(model).__name__} given; must be a keras.Model")
    shape = _shape(model)
    if None in shape:
        raise ValueError(f"model: input of shape {shape}; must be fixed")
    output = _run(model, affine_graph.inputs((1, *shape)))
    x = np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)
    expected = keras.tree.flatten(model(x, training=False))[0]
    return Converted(output, x, _array(expected))
