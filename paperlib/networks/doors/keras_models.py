"""Models of Keras: sequential, functional, and of any class that has been called."""

from typing import Any

import numpy as np

from paperlib._support.checks import Floats
from paperlib.networks import graph
from paperlib.networks.graph import Converted, Value

__all__ = ["from_keras"]


def _functional(keras: Any, model: Any, shape: tuple[int, ...]) -> Any:
    """The model as a graph of operations; of one that has none of its own, what its `call` does to a symbol."""
    if isinstance(model, keras.Sequential) and model.built:
        return model._functional
    if hasattr(model, "_run_through_graph"):
        return model
    x = keras.Input(shape)
    layers = model._flatten_layers()
    counts = [(layer, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]
    try:
        return keras.Function(x, model.call(x))
    except Exception as error:
        raise ValueError(f"model: its call is no graph of Keras' own operations ({graph.first_line(error)})") from None
    finally:  # what calling it has noted down in its layers
        for layer, ins, outs in counts:
            del layer._inbound_nodes[ins:], layer._outbound_nodes[outs:]


def _activates(keras: Any, layer: Any) -> bool:
    """Whether it is an affine map and then its activation: of a recurrent layer that would be otherwise."""
    names = ("Dense", "EinsumDense", *(f"{kind}Conv{n}D" for kind in ("", "Depthwise", "Separable") for n in (1, 2, 3)))
    kinds = tuple(getattr(keras.layers, name) for name in names if hasattr(keras.layers, name))
    return type(layer) in kinds and callable(layer.activation)


def _double(keras: Any, layer: Any) -> Any:
    """The layer in double precision, without its activation; itself where it cannot be made anew."""
    try:
        options = layer.get_config() | {"dtype": "float64"}
        if _activates(keras, layer):
            options["activation"] = "linear"
        twin = type(layer).from_config(options)
        if layer.built and hasattr(layer, "_build_shapes_dict") and layer._build_shapes_dict:
            shapes = list(layer._build_shapes_dict.values())
            twin.build(shapes[0] if len(shapes) == 1 else shapes)
        twin.set_weights(layer.get_weights())
        if hasattr(twin, "finalize_state"):
            twin.finalize_state()  # what Normalization derives from its weights
    except Exception:  # a layer of one's own need not be made of its configuration
        return layer
    return twin


def _applied(keras: Any, operation: Any, args: tuple, kwargs: dict) -> Any:
    """What an operation of a model's graph makes of values."""
    leaves = keras.tree.flatten((args, kwargs))
    values = [leaf for leaf in leaves if isinstance(leaf, Value)]
    layer = isinstance(operation, keras.Layer)
    if isinstance(operation, keras.Model):
        if len(values) != 1:
            raise ValueError(f"model: {operation.name!r} within it has {len(values)} inputs; must have one")
        return _run(keras, operation, values[0])
    kwargs = {name: given for name, given in kwargs.items() if name not in ("training", "mask")}
    what = f"model: layer {operation.name!r} ({type(operation).__name__})"
    if type(operation) is keras.layers.Dense and len(values[0].shape) == 2:
        kernel = _array(keras, operation.kernel)
        bias = _array(keras, operation.bias) if operation.use_bias else np.zeros(kernel.shape[1])
        out = graph.affine((1, kernel.shape[1]), [(kernel.T, values[0])], bias)
    else:
        double = _double(keras, operation) if layer else operation

        def called(*arrays: Floats) -> Any:
            following = iter(arrays)

            def filled(leaf: Any) -> Any:
                if not isinstance(leaf, Value):
                    return leaf
                return keras.ops.convert_to_tensor(next(following), "bool" if leaf.boolean else "float64")

            given, named = keras.tree.map_structure(filled, (args, kwargs))
            mode = {"training": False} if getattr(double, "_call_has_training_arg", False) else {}
            return keras.tree.map_structure(keras.ops.convert_to_numpy, double(*given, **named, **mode))

        found = called(*(np.zeros(value.shape) for value in values))
        if isinstance(found, (list, tuple)):
            return [graph.applied(what, graph.nth(called, place), values) for place in range(len(found))]
        out = graph.applied(what, called, values)
        if double is operation:
            return out
    if not layer or not _activates(keras, operation) or operation.activation is keras.activations.linear:
        return out

    def activated(z: Floats) -> Floats:
        return _array(keras, operation.activation(keras.ops.convert_to_tensor(z, "float64")))

    return graph.applied(f"{what}'s activation", activated, [out])


def _array(keras: Any, value: Any) -> Floats:
    return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)


def _run(keras: Any, model: Any, value: Value) -> Value:
    function = _functional(keras, model, value.shape[1:])
    out = function._run_through_graph(value, lambda operation: lambda *a, **k: _applied(keras, operation, a, k))
    leaves = keras.tree.flatten(out)
    if len(leaves) == 1 and isinstance(leaves[0], Value):
        return leaves[0]
    raise ValueError(f"model: {model.name!r} gives more than one output; must give one")


def _shape(model: Any) -> tuple[int, ...]:
    if getattr(model, "inputs", None):
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(f"model: {len(model.inputs)} inputs and {len(model.outputs)} outputs; must be one of each")
        return tuple(model.inputs[0].shape[1:])
    built = getattr(model, "_build_shapes_dict", None) or {}
    if not model.built or len(built) != 1 or not isinstance(next(iter(built.values())), tuple):
        raise ValueError(f"model: {model.name!r} is not built; call it or give it an Input")
    return tuple(next(iter(built.values())))[1:]


def from_keras(model: Any) -> Converted:
    """See `MLP.from_keras`."""
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(f"model: {type(model).__name__} given; must be a keras.Model")
    shape = _shape(model)
    if None in shape:
        raise ValueError(f"model: input of shape {shape}; must be fixed")
    output = _run(keras, model, graph.inputs((1, *shape)))
    x = np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)
    expected = keras.tree.flatten(model(x, training=False))[0]
    return Converted(*graph.layers(output), x, keras.ops.convert_to_numpy(expected))
