"""Networks of Keras, PyTorch and scikit-learn as plain arrays.

Each framework's layers are put into three words: ("affine", W, b), ("scale", factor, shift) for each unit, and
("activation", name). What the words mean as one network is the same for all. An activation is recognised by its values,
not by its name; and what the original gives at a few points comes along, so that the whole network can be held against it
and a wrapped or mislabelled function cannot slip through.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from paperlib._support.checks import Floats
from paperlib.networks import activations

__all__ = ["Converted", "from_keras", "from_sklearn", "from_torch"]

PROBES = np.concatenate([[-40.0, -1.0], np.linspace(-6, 6, 49), [40.0]])


class Converted(NamedTuple):
    """Weights (out, in), biases and activations of a network, and what the original gives at a few inputs."""

    weights: list[Floats]
    biases: list[Floats]
    activations: list[str]
    inputs: np.ndarray
    outputs: np.ndarray


def _assemble(dim: int, words: Iterable[tuple]) -> tuple[list[Floats], list[Floats], list[str]]:
    """The layers that the words spell. A scale is folded into the affine map after it, or the last one."""
    weights: list[Floats] = []
    biases: list[Floats] = []
    names: list[str] = []
    factor, shift = np.ones(dim), np.zeros(dim)
    for kind, *values in words:
        open_layer = len(weights) > len(names)  # the last affine map still waits for its activation
        if kind == "scale":
            if open_layer:
                weights[-1], biases[-1] = values[0][:, None] * weights[-1], values[0] * biases[-1] + values[1]
            else:
                factor, shift = values[0] * factor, values[0] * shift + values[1]
            continue
        if kind == "affine":
            if values[0].shape[1] != len(factor):
                raise ValueError(
                    f"module: a layer takes {values[0].shape[1]} inputs; what is before it gives {len(factor)}"
                )
            if open_layer:
                names.append("linear")
            weights.append(values[0] * factor)
            biases.append(values[1] + values[0] @ shift)
        elif values[0] != "linear":
            if not open_layer:
                weights.append(np.diag(factor))
                biases.append(shift)
            names.append(values[0])
        factor, shift = np.ones(len(biases[-1])), np.zeros(len(biases[-1]))
    if len(weights) == len(names):
        weights.append(np.diag(factor))
        biases.append(shift)
    return weights, biases, names


def _recognise(function: Callable) -> str | None:
    """The activation with the values of `function` (array -> array), or None."""
    try:
        values = np.asarray(function(PROBES))
        if values.shape != PROBES.shape:
            return None
    except Exception:  # whatever it is, it is no function of one number
        return None
    # The shortest decimal of its own precision: 0.2, where a float32 made float64 would read 0.20000000298.
    floor, slope = (abs(float(str(-value))) for value in values[:2])
    names = [*activations.SMOOTH, *activations.PIECEWISE, f"leaky_relu({slope})", f"elu({floor})"]
    names += [f"celu({floor})"] * (floor > 0)
    for name in names:
        if np.allclose(values, activations.derivatives(name, PROBES, 0)[0], rtol=1e-5, atol=1e-6):
            return name
    return None


def _keras_words(keras: Any, model: Any, shape: tuple) -> Iterator[tuple]:
    """The words of a Keras model whose input has this shape."""
    layers = keras.layers
    noise = layers.Dropout, layers.GaussianDropout, layers.GaussianNoise
    silent = (layers.InputLayer, *noise, layers.ActivityRegularization)

    def array(value: Any) -> Floats:
        return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)

    def units(value: Any) -> Floats:
        return np.broadcast_to(array(value), (1, *shape)).ravel()

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _keras_words(keras, layer, shape)
            shape = layer.output_shape[1:]
        elif isinstance(layer, layers.Flatten):
            shape = (prod(shape),)
        elif isinstance(layer, layers.Rescaling):
            yield "scale", units(layer.scale), units(layer.offset)
        elif isinstance(layer, layers.Normalization) and not layer.invert:
            deviation = np.maximum(np.sqrt(units(layer.variance)), keras.backend.epsilon())
            yield "scale", 1 / deviation, -units(layer.mean) / deviation
        elif isinstance(layer, layers.Dense) and len(shape) == 1:
            kernel = array(layer.kernel)
            yield "affine", kernel.T, array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1])
            shape, function = kernel.shape[1:], layer.activation
            name = _recognise(lambda z: keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(z, "float32"))))
            if name is None:
                raise ValueError(f"model: layer {layer.name!r} has an activation that is none of ours, {function!r}")
            yield "activation", name
        elif not isinstance(layer, silent):
            call = layer
            name = None if layer.weights else _recognise(lambda z: keras.ops.convert_to_numpy(call(z[None]))[0])
            if name is None:
                what = f"layer {layer.name!r} ({type(layer).__name__}) on shape {tuple(shape)}"
                raise ValueError(f"model: {what} is no part of an MLP")
            yield "activation", name


def from_keras(model: Any) -> Converted:
    """See `MLP.from_keras`."""
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(f"model: {type(model).__name__} given; must be a keras.Model")
    if not getattr(model, "inputs", None):
        raise ValueError(f"model: {model.name!r} is not built; call it or give it an Input")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"model: {len(model.inputs)} inputs and {len(model.outputs)} outputs; must be one of each")
    shape = tuple(model.inputs[0].shape[1:])
    if None in shape:
        raise ValueError(f"model: input of shape {shape}; must be fixed")
    layers = _assemble(prod(shape), _keras_words(keras, model, shape))
    x = np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)
    return Converted(*layers, x, keras.ops.convert_to_numpy(model(x, training=False)))


def _torch_words(torch: Any, module: Any, path: str) -> Iterator[tuple]:
    nn = torch.nn
    if isinstance(module, nn.Sequential):
        for name, child in module._modules.items():  # named_children() tells of a module that stands twice only once
            yield from _torch_words(torch, child, f"{path}[{name}]")
    elif isinstance(module, nn.Linear):
        weight = module.weight.detach().cpu()
        bias = torch.zeros(len(weight)) if module.bias is None else module.bias.detach().cpu()
        yield "affine", weight.double().numpy(), bias.double().numpy()
    elif not isinstance(module, (nn.Identity, nn.Dropout, nn.Flatten)):
        trains = next(module.parameters(), None) is not None
        with torch.no_grad():
            name = None if trains else _recognise(lambda z: module(torch.tensor(z)).numpy())
        if name is None:
            raise ValueError(f"{path}: {module!r} is no part of an MLP".replace("\n", " "))
        yield "activation", name


def from_torch(module: Any) -> Converted:
    """See `MLP.from_torch`."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module: {type(module).__name__} given; must be a torch.nn.Module")
    words = list(_torch_words(torch, module, "module"))
    first = next((values[0] for kind, *values in words if kind == "affine"), None)
    if first is None:
        raise ValueError("module: has no Linear layer, so its number of inputs is unknown")
    x = np.random.default_rng(0).standard_normal((8, first.shape[1]))
    layers, training, kind = _assemble(first.shape[1], words), module.training, next(module.parameters()).dtype
    try:
        with torch.no_grad():
            expected = module.eval()(torch.tensor(x, dtype=kind)).double().numpy()
    finally:
        module.train(training)
    return Converted(*layers, x, expected if kind == torch.float64 else expected.astype(np.float32))


SKLEARN_NAMES = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


def _sklearn_units(step: Any) -> tuple:
    """Centre and width of a fitted scaler z = (x - centre)/width, each of shape (features,)."""
    kind = type(step).__name__
    if kind not in ("StandardScaler", "RobustScaler", "MinMaxScaler", "MaxAbsScaler"):
        raise ValueError(f"model: {kind} is no scaling of each feature; must be StandardScaler or one like it")
    if not hasattr(step, "n_features_in_"):
        raise ValueError(f"model: {kind} is not fitted")
    if kind == "MinMaxScaler":
        return -step.min_ / step.scale_, 1 / step.scale_
    centre = step.center_ if kind == "RobustScaler" else step.mean_ if getattr(step, "with_mean", False) else None
    zero, one = np.zeros(step.n_features_in_), np.ones(step.n_features_in_)
    return zero if centre is None else centre, one if step.scale_ is None else step.scale_


def _sklearn_words(model: Any) -> Iterator[tuple]:
    """The words of an MLPRegressor, of a pipeline that ends in one, or of a regressor of a scaled target."""
    kind = type(model).__name__
    if kind == "Pipeline":
        *scalers, (_, last) = model.steps
        words = list(_sklearn_words(last))  # says first if nothing is fitted
        for _, step in scalers:
            if step is not None and step != "passthrough":
                centre, width = _sklearn_units(step)
                yield "scale", 1 / width, -centre / width
        yield from words
    elif kind == "TransformedTargetRegressor" and hasattr(model, "regressor_"):
        yield from _sklearn_words(model.regressor_)
        centre, width = _sklearn_units(model.transformer_)
        yield "scale", width, centre
    elif kind in ("MLPRegressor", "TransformedTargetRegressor") and not hasattr(model, "n_features_in_"):
        raise ValueError(f"model: {kind} is not fitted")
    elif not hasattr(model, "predict") or not hasattr(model, "out_activation_"):
        raise TypeError(f"model: {kind} given; must be a fitted sklearn.neural_network.MLPRegressor")
    elif model.out_activation_ != "identity":
        raise ValueError(f"model: its output goes through {model.out_activation_!r}; must be an MLPRegressor")
    else:
        for layer, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            if layer:
                yield "activation", SKLEARN_NAMES[model.activation]
            yield "affine", weight.T.astype(np.float64), bias.astype(np.float64)


def from_sklearn(model: Any) -> Converted:
    """See `MLP.from_sklearn`."""
    words = list(_sklearn_words(model))
    first = next(number for number, (kind, *_) in enumerate(words) if kind == "affine")
    x = np.random.default_rng(0).standard_normal((8, model.n_features_in_))
    for _, factor, shift in reversed(words[:first]):  # in the units of the inputs: others would saturate the network
        x = (x - shift) / factor
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        expected = model.predict(x)
    return Converted(*_assemble(model.n_features_in_, words), x, np.asarray(expected))
