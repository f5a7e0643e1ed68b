"""Multilayer perceptrons as plain arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.files import read_npz, write_npz
from paperlib._support.validation import Floats
from paperlib.networks import activations
from paperlib.networks.importers import keras, onnx, pytorch, sklearn
from paperlib.networks.importers.affine_graph import Converted, layers

__all__ = ["MLP"]

FORMAT = "paperlib.MLP 1"
SMALLER = "scale the inputs or the weights"
LAYOUT = {1: "(units out,)", 2: "(units out, units in)"}


def _parameters(name: str, values: Any, axes: int) -> tuple[Floats, ...]:
    """Return read-only float64 copies of the arrays, after a check that each has `axes` axes."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(
            f"{name}: {type(values).__name__} given; must be a list of arrays, one for each layer"
        )
    if not values:
        raise ValueError(
            f"{name} = {values}: must be a list of arrays, one for each layer"
        )
    arrays = [
        validation.frozen_copy(validation.real_array(f"{name}[{layer}]", value))
        for layer, value in enumerate(values)
    ]
    for layer, array in enumerate(arrays):
        if array.ndim != axes:
            raise ValueError(
                f"{name}[{layer}]: shape {array.shape}; must be {LAYOUT[axes]}"
            )
    return tuple(arrays)


def _activation(given: Any, biases: Sequence[Floats]) -> Any:
    """Check the activations of the hidden layers. Return a single one if all are the same."""
    depth, names = len(biases) - 1, given
    if type(given) not in (list, tuple):
        names = (given,) * max(1, depth)
    elif len(given) != depth:
        raise ValueError(
            f"activation: {len(given)} names; must be one, or one for each of the {depth} hidden layers"
        )
    for layer, name in enumerate(names):
        counted, units = (
            sum(count or 0 for _, count in activations.groups(name)),
            len(biases[layer]),
        )
        if counted and counted != units:
            raise ValueError(
                f"activation = {validation.brief(name)}: {counted} neurons; hidden layer {layer + 1} has {units}"
            )
    return names[0] if len(set(names)) == 1 else tuple(names)


def to_arrays(weights: Sequence, biases: Sequence) -> dict[str, np.ndarray]:
    """Return the arrays of the layers under their names in a file."""
    named = {f"weights_{layer}": weight for layer, weight in enumerate(weights)}
    return named | {f"biases_{layer}": bias for layer, bias in enumerate(biases)}


def from_arrays(
    arrays: Mapping[str, np.ndarray],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the weights and biases that `to_arrays` has named. Raise a KeyError if one is missing."""
    layers = range(sum(name.startswith("weights_") for name in arrays))
    return [arrays[f"weights_{layer}"] for layer in layers], [
        arrays[f"biases_{layer}"] for layer in layers
    ]


@dataclass(frozen=True, eq=False, repr=False)
class MLP:
    """A perceptron z^l = W^l y^(l-1) + b^l, y^l = phi(z^l), y^0 = x, whose output z^(L+1) is linear.

    A ValueError if an array is not finite, the shapes do not chain, or an activation is
    unknown.

    Parameters
    ----------
    weights : list of array_like of float, each of shape (units out, units in)
        W^1 .. W^(L+1); L >= 0 hidden layers.
    biases : list of array_like of float, each of shape (units out,)
    activation : str or sequence of str
        One phi for all hidden layers, or one for each; see
        `paperlib.activations.parse`. Neurons of a layer that have different ones are
        counted, "tanh*8 + linear*3": a linear neuron carries a number past a layer, as
        a skip does. A function that is not built in is an `activations.Custom`.

    Examples
    --------
    >>> mlp = MLP([[[1.0, -1.0], [2.0, 0.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.5]], "tanh")
    >>> mlp
    MLP(2-2-1, tanh)
    >>> mlp([[0.0, 0.0], [1.0, 1.0]]).round(4)
    array([0.5  , 1.464])
    """

    weights: Sequence[Any]
    biases: Sequence[Any]
    activation: Any

    def __post_init__(self) -> None:
        weights, biases = (
            _parameters("weights", self.weights, 2),
            _parameters("biases", self.biases, 1),
        )
        if len(biases) != len(weights):
            raise ValueError(
                f"biases: {len(biases)} layers; weights has {len(weights)}"
            )
        units = weights[0].shape[1]
        for layer, (weight, bias) in enumerate(zip(weights, biases)):
            if weight.shape[1] != units:
                raise ValueError(
                    f"weights[{layer}]: shape {weight.shape}; must be {LAYOUT[2]}, and take the {units} units before it"
                )
            units = len(weight)
            if len(bias) != units:
                raise ValueError(
                    f"biases[{layer}]: shape {bias.shape}; must be {units} long, as weights[{layer}] is "
                    f"{weight.shape}, {LAYOUT[2]}"
                )
        activation = _activation(self.activation, biases)
        # The class is frozen
        vars(self).update(weights=weights, biases=biases, activation=activation)

    def __repr__(self) -> str:
        names = dict.fromkeys(
            [self.activation] if type(self.activation) is str else self.activations
        )
        units = "-".join(map(str, (self.dim, *map(len, self.biases))))
        return f"MLP({', '.join([units, *(getattr(name, 'name', name) for name in names)])})"

    @property
    def dim(self) -> int:
        """Number of inputs."""
        return self.weights[0].shape[1]

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return len(self.biases[-1])

    @property
    def depth(self) -> int:
        """Number of hidden layers, L."""
        return len(self.weights) - 1

    @property
    def activations(self) -> tuple[Any, ...]:
        """The activation of each hidden layer, a tuple of L names."""
        return (
            self.activation
            if type(self.activation) is tuple
            else (self.activation,) * self.depth
        )

    def __call__(self, x: ArrayLike) -> Floats:
        """The output at x (..., dim): shape (...) for one output, (..., outputs) for several.

        Beyond the largest double it is a ValueError.
        """
        y = validation.real_array("x", x, last=self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            for weight, bias, phi in zip(self.weights, self.biases, self.activations):
                y = activations.of_layer(phi, y @ weight.T + bias, 0)[0]
            y = y @ self.weights[-1].T + self.biases[-1]
        validation.representable("x", y, SMALLER)
        return y[..., 0] if self.outputs == 1 else y

    @classmethod
    def from_keras(cls, model: Any) -> "MLP":
        """Convert a Keras model: sequential, functional with skips, or of a class of its own that has been called.

        Whatever its graph is made of is tried: affine maps, of whatever layers (Dense, Conv1D, BatchNormalization as in
        inference, Reshape, Concatenate, Add, ..), are folded together, functions of single numbers are recognised by their
        values. The inputs are those of the model, flattened. Weights of float32 convert exactly. The model stays as it is.
        An operation that is neither raises a ValueError that names the layer.
        """
        return cls._agreeing("model", keras.from_keras(model))

    @classmethod
    def from_torch(cls, module: Any, example: Any = None) -> "MLP":
        """Convert a PyTorch module of any class whose forward `torch.fx` can trace, as in evaluation mode.

        Read as `from_keras` reads models; a nonlinear output becomes one more hidden layer, followed by the identity. `example`
        is an input, with its batch axis, for modules that begin with no Linear or Conv1d layer. The module itself, its mode,
        buffers and device, stays as it is. Any other network raises a TypeError or a ValueError that names the node.
        """
        return cls._agreeing("module", pytorch.from_torch(module, example))

    @classmethod
    def from_sklearn(cls, model: Any) -> "MLP":
        """Convert a fitted scikit-learn MLPRegressor, or MLPClassifier of two classes, with the scalers around it.

        A pipeline's scalers, and a ColumnTransformer of them, are folded into the first layer, and the transformer of a
        TransformedTargetRegressor into the last, or into one more if it is a function such as exp: the network then takes and
        gives the data's own units. A classifier's network gives the probability of the second class. A scaler that clips is
        taken without its clipping, and a warning states the inputs for which that is valid. Any other model, or one that is not
        fitted, raises a TypeError or a ValueError that names the step.
        """
        return cls._agreeing("model", sklearn.from_sklearn(model))

    @classmethod
    def from_onnx(cls, model: Any) -> "MLP":
        """Convert a model in ONNX, an `onnx.ModelProto` or a path; needs onnx.

        It has one input, of fixed shape past the first axis, and is read as `from_keras` reads models, in double precision.
        Any other network raises a TypeError or a ValueError that names the node.
        """
        return cls._agreeing("model", onnx.from_onnx(model))

    @classmethod
    def _agreeing(cls, name: str, found: Converted) -> "MLP":
        """Return the network after a check that its outputs are those of the original."""
        mlp, count = cls(*layers(found.output)), len(found.inputs)
        ours = np.asarray(
            mlp(found.inputs.reshape(count, -1).astype(np.float64))
        ).reshape(count, -1)
        rounding = (
            np.sqrt(np.finfo(found.outputs.dtype).eps)
            if found.outputs.dtype.kind == "f"
            else 0.05
        )
        differences = np.abs(ours - found.outputs.reshape(count, -1))
        if not (differences <= rounding * (1 + np.abs(ours).max(axis=0))).all():
            raise ValueError(
                f"{name}: what was read of it does not give its output; must do the same to every input"
            )
        return mlp

    def save(self, path: str | Path) -> None:
        """Write the network to `path`, an .npz file without pickled objects, atomically.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     MLP([[[2.0]]], [[1.0]], "tanh").save(f"{folder}/line.npz")
        ...     float(MLP.load(f"{folder}/line.npz")([3.0]))
        7.0
        """
        custom = [
            name.name
            for name in self.activations
            if isinstance(name, activations.Custom)
        ]
        if custom:
            raise ValueError(
                f"activation = {custom[0]!r}: was handed in as a function; must have a name of ours to be saved"
            )
        named = to_arrays(self.weights, self.biases)
        write_npz(
            path, format=np.array(FORMAT), activation=np.array(self.activation), **named
        )

    @classmethod
    def load(cls, path: str | Path) -> "MLP":
        """Read what `save` wrote; a FileNotFoundError or, of a file that is damaged or something else, a ValueError."""
        stored = read_npz(path, ("format", "activation"))
        try:
            if stored["format"].tolist() != FORMAT:
                raise ValueError(
                    f"format {validation.brief(stored['format'].tolist())}"
                )
            return cls(*from_arrays(stored), stored["activation"].tolist())
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path}: is not a network saved by MLP.save ({error})"
            ) from None


def expansion_point(mlp: Any, at: ArrayLike | None) -> Floats:
    """Where a network is expanded, (..., dim): the origin if `at` is None; of arguments that are not checked."""
    validation.instance("mlp", mlp, MLP)
    return (
        np.zeros(mlp.dim)
        if at is None
        else validation.real_array("at", at, last=mlp.dim)
    )


def activation_derivatives(mlp: MLP, at: Floats, order: int) -> Iterator[Floats]:
    """phi, phi', .., phi^(order) at each hidden layer's pre-activations; (order + 1, ..., units) each."""
    y = at
    for number, (weight, bias, name) in enumerate(
        zip(mlp.weights, mlp.biases, mlp.activations), start=1
    ):
        phi = activations.of_layer(name, y @ weight.T + bias, order, layer=number)
        yield phi
        y = phi[0]
