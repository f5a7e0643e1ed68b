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
from paperlib.networks.importers.affine_graph import Converted, Value, layers

__all__ = ["MLP"]

FORMAT = "paperlib.MLP 1"
SMALLER = "scale the inputs or the weights"
LAYOUT = {1: "(units out,)", 2: "(units out, units in)"}


def _parameters(name: str, values: Any, axes: int) -> tuple[Floats, ...]:
    """Return read-only float64 copies of the arrays, which must have `axes` axes."""
    allowed = "must be a list of arrays, one for each layer"
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{name}: {type(values).__name__} given; {allowed}")
    if not values:
        raise ValueError(f"{name} = {values}: {allowed}")
    arrays = []
    for layer, value in enumerate(values):
        array = validation.real_array(f"{name}[{layer}]", value)
        if array.ndim != axes:
            raise ValueError(
                f"{name}[{layer}]: shape {array.shape}; must be {LAYOUT[axes]}"
            )
        arrays.append(validation.frozen_copy(array))
    return tuple(arrays)


def _activation(activation: Any, biases: Sequence[Floats]) -> Any:
    """Return a single activation if all hidden layers have the same, otherwise a tuple.

    Raise a ValueError if the number of activations is not the number of hidden layers,
    or the counts of "tanh*8 + linear*3" do not add up to the units of a layer.
    """
    depth = len(biases) - 1
    names = (activation,) * max(1, depth)
    if type(activation) in (list, tuple):
        names = tuple(activation)
        if len(names) != depth:
            raise ValueError(
                f"activation: {len(names)} names; must be one, or one for each of the "
                f"{depth} hidden layers"
            )
    for layer, (name, bias) in enumerate(zip(names, biases), start=1):
        counted = sum(count or 0 for _, count in activations.groups(name))
        if counted not in (0, len(bias)):
            raise ValueError(
                f"activation = {validation.brief(name)}: {counted} neurons; "
                f"hidden layer {layer} has {len(bias)}"
            )
    return names[0] if len(set(names)) == 1 else names


def to_arrays(weights: Sequence, biases: Sequence) -> dict[str, np.ndarray]:
    """Return the arrays of the layers under their names in a file."""
    named = {f"weights_{layer}": weight for layer, weight in enumerate(weights)}
    return named | {f"biases_{layer}": bias for layer, bias in enumerate(biases)}


def from_arrays(
    arrays: Mapping[str, np.ndarray],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the weights and biases that `to_arrays` has named.

    Raise a KeyError if one is missing.
    """
    layers = range(sum(name.startswith("weights_") for name in arrays))
    weights = [arrays[f"weights_{layer}"] for layer in layers]
    return weights, [arrays[f"biases_{layer}"] for layer in layers]


@dataclass(frozen=True, eq=False, repr=False)
class MLP:
    """A multilayer perceptron with a linear output.

    z^l = W^l y^(l-1) + b^l, y^l = phi(z^l), y^0 = x, and the output is z^(L+1).

    Parameters
    ----------
    weights : list of array_like of float, each of shape (units out, units in)
        W^1 .. W^(L+1); L >= 0 hidden layers.
    biases : list of array_like of float, each of shape (units out,)
        The vectors b^1 .. b^(L+1).
    activation : str or sequence of str
        One phi for all hidden layers, or one for each; see
        `paperlib.activations.parse`. Neurons of a layer that have different ones are
        counted, "tanh*8 + linear*3": a linear neuron carries a number past a layer, as
        a skip does. A function that is not built in is an `activations.Custom`.

    Raises
    ------
    TypeError
        If an argument is not a list, or an array does not consist of real numbers.
    ValueError
        If an array is not finite, the shapes do not chain, or an activation is unknown.

    Examples
    --------
    >>> weights, biases = [[[1.0, -1.0], [2.0, 0.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.5]]
    >>> mlp = MLP(weights, biases, "tanh")
    >>> mlp
    MLP(2-2-1, tanh)
    >>> mlp([[0.0, 0.0], [1.0, 1.0]]).round(4)
    array([0.5  , 1.464])
    """

    weights: Sequence[Any]
    biases: Sequence[Any]
    activation: Any

    def __post_init__(self) -> None:
        """Check the arguments and store read-only copies."""
        weights = _parameters("weights", self.weights, 2)
        biases = _parameters("biases", self.biases, 1)
        if len(biases) != len(weights):
            raise ValueError(
                f"biases: {len(biases)} layers; weights has {len(weights)}"
            )
        units = weights[0].shape[1]
        for layer, (weight, bias) in enumerate(zip(weights, biases)):
            if weight.shape[1] != units:
                raise ValueError(
                    f"weights[{layer}]: shape {weight.shape}; must be {LAYOUT[2]}, and "
                    f"take the {units} units before it"
                )
            units = len(weight)
            if len(bias) != units:
                raise ValueError(
                    f"biases[{layer}]: shape {bias.shape}; must be {units} long, as "
                    f"weights[{layer}] is {weight.shape}, {LAYOUT[2]}"
                )
        activation = _activation(self.activation, biases)
        # The class is frozen
        vars(self).update(weights=weights, biases=biases, activation=activation)

    def __repr__(self) -> str:
        single = type(self.activation) is str
        names = dict.fromkeys([self.activation] if single else self.activations)
        units = "-".join(map(str, (self.dim, *map(len, self.biases))))
        return f"MLP({', '.join([units, *(getattr(n, 'name', n) for n in names)])})"

    @property
    def dim(self) -> int:
        """Number of inputs.

        Examples
        --------
        >>> MLP([[[1.0, 2.0, 3.0]]], [[0.0]], "tanh").dim
        3
        """
        return self.weights[0].shape[1]

    @property
    def outputs(self) -> int:
        """Number of outputs.

        Examples
        --------
        >>> MLP([[[1.0, 2.0, 3.0]]], [[0.0]], "tanh").outputs
        1
        """
        return len(self.biases[-1])

    @property
    def depth(self) -> int:
        """Number of hidden layers, L.

        Examples
        --------
        >>> MLP([[[1.0, 2.0, 3.0]]], [[0.0]], "tanh").depth
        0
        """
        return len(self.weights) - 1

    @property
    def activations(self) -> tuple[Any, ...]:
        """The activation of each hidden layer, a tuple of L names.

        Examples
        --------
        >>> MLP([[[1.0]], [[1.0]], [[1.0]]], [[0.0]] * 3, "tanh").activations
        ('tanh', 'tanh')
        """
        if type(self.activation) is tuple:
            return self.activation
        return (self.activation,) * self.depth

    def __call__(self, x: ArrayLike) -> Floats:
        """Return the output at x.

        Parameters
        ----------
        x : array_like of float, shape (..., dim)
            Inputs.

        Returns
        -------
        ndarray of float64, shape (...) for one output, otherwise (..., outputs)

        Raises
        ------
        TypeError
            If x does not consist of real numbers.
        ValueError
            If x is not finite or has another length, or an output overflows float64.

        Examples
        --------
        >>> mlp = MLP([[[1.0, 2.0]]], [[0.5]], "tanh")
        >>> mlp([[0.0, 0.0], [1.0, 1.0]])
        array([0.5, 3.5])
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
        """Convert a Keras model: sequential, functional, or of a class of its own.

        Parameters
        ----------
        model : keras.Model
            It has one input of fixed shape and one output. A model of its own class
            must have been called. The model does not change.

        Returns
        -------
        MLP
            The inputs are those of the model, flattened. Weights of float32 convert
            exactly.

        Raises
        ------
        TypeError
            If the argument is not a keras.Model.
        ValueError
            If an operation is neither affine nor an elementwise function that is
            supported. The message names the layer.

        Notes
        -----
        Every operation of the model's graph is evaluated at arrays. Affine maps, of any
        layers (Dense, Conv1D, BatchNormalization as in inference, Reshape, Concatenate,
        Add, ..), become one affine map. Elementwise functions are recognised by their
        values. See `docs/networks.md`.

        Examples
        --------
        >>> import keras
        >>> layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
        >>> MLP.from_keras(keras.Sequential([keras.Input((3,)), *layers]))
        MLP(3-4-1, tanh)
        """
        return cls._checked("model", keras.from_keras(model))

    @classmethod
    def from_torch(cls, module: Any, example: Any = None) -> "MLP":
        """Convert a PyTorch module, as in evaluation mode.

        Parameters
        ----------
        module : torch.nn.Module
            Its forward can be traced by `torch.fx`. The module, its mode, buffers and
            device do not change.
        example : array_like, shape (batch, ...), optional
            An input, for modules that do not begin with a Linear or Conv1d layer.

        Returns
        -------
        MLP
            Operations are converted as by `from_keras`. A nonlinear output becomes one
            more hidden layer, followed by the identity.

        Raises
        ------
        TypeError
            If the argument is not a torch.nn.Module.
        ValueError
            If the shape of the input is unknown, the forward cannot be traced, or an
            operation is not supported. The message names the node.

        Examples
        --------
        >>> from torch import nn  # doctest: +SKIP
        >>> layers = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)  # doctest: +SKIP
        >>> MLP.from_torch(nn.Sequential(*layers))  # doctest: +SKIP
        MLP(3-4-1, tanh)
        """
        return cls._checked("module", pytorch.from_torch(module, example))

    @classmethod
    def from_sklearn(cls, model: Any) -> "MLP":
        """Convert a perceptron of scikit-learn with the scalers around it.

        Parameters
        ----------
        model : MLPRegressor, or MLPClassifier of two classes, or a pipeline of one
            It must be fitted. The model does not change.

        Returns
        -------
        MLP
            It takes and returns the data's own units. The output of a classifier is the
            probability of the second class.

        Raises
        ------
        TypeError
            If the model is no perceptron.
        ValueError
            If it is not fitted, or a step is not supported. The message names the step.

        Warns
        -----
        UserWarning
            If a scaler clips. It is imported without its clipping, and the warning
            gives the inputs for which that is valid.

        Notes
        -----
        Scalers of a pipeline, and a ColumnTransformer of scalers, become part of the
        first layer. The transformer of a TransformedTargetRegressor becomes part of the
        last layer, or one more layer if it is a function such as exp.

        Examples
        --------
        >>> from sklearn.neural_network import MLPRegressor
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> model = MLPRegressor(hidden_layer_sizes=(4,), activation="tanh")
        >>> MLP.from_sklearn(model.partial_fit(x, x[:, 0]))
        MLP(1-4-1, tanh)
        """
        return cls._checked("model", sklearn.from_sklearn(model))

    @classmethod
    def from_onnx(cls, model: Any) -> "MLP":
        """Convert a model in ONNX. This needs the package onnx.

        Parameters
        ----------
        model : onnx.ModelProto, str or Path
            It has one input, of fixed shape past the first axis.

        Returns
        -------
        MLP
            Operations are converted as by `from_keras`, in double precision.

        Raises
        ------
        TypeError
            If the argument is no model and no path.
        FileNotFoundError
            If the path does not exist.
        ValueError
            If the file is not ONNX, or an operation is not supported. The message names
            the node.

        Examples
        --------
        >>> MLP.from_onnx("model.onnx")  # doctest: +SKIP
        MLP(3-4-1, tanh)
        """
        return cls._checked("model", onnx.from_onnx(model))

    @classmethod
    def _checked(cls, name: str, converted: Converted) -> "MLP":
        """Return the network after a comparison of its outputs with the original's."""
        if not isinstance(converted.output, Value):
            raise ValueError(
                f"{name}: must have one output, which depends on the input"
            )
        mlp = cls(*layers(converted.output))
        x = converted.inputs
        expected = np.array([np.ravel(converted.original(row[None])) for row in x])
        outputs = np.reshape(mlp(x.reshape(len(x), -1)), expected.shape)
        # NumPy has no finfo of types such as bfloat16
        precise = expected.dtype.kind == "f"
        relative = np.sqrt(np.finfo(expected.dtype).eps) if precise else 0.05
        allowed = relative * (1 + np.abs(outputs).max(axis=0))
        if not (np.abs(outputs - expected) <= allowed).all():
            raise ValueError(
                f"{name}: the converted network has other outputs; must apply the same "
                "operations to every input"
            )
        return mlp

    def save(self, path: str | Path) -> None:
        """Write the network to an .npz file without pickled objects, atomically.

        Parameters
        ----------
        path : str or Path
            The file. An existing file is replaced.

        Raises
        ------
        ValueError
            If an activation is an `activations.Custom`.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     MLP([[[2.0]]], [[1.0]], "tanh").save(f"{folder}/line.npz")
        ...     float(MLP.load(f"{folder}/line.npz")([3.0]))
        7.0
        """
        for activation in self.activations:
            if isinstance(activation, activations.Custom):
                raise ValueError(
                    f"activation = {activation.name!r}: cannot be saved; must be one "
                    "of activations.parse"
                )
        named = to_arrays(self.weights, self.biases)
        activation = np.array(self.activation)
        write_npz(path, format=np.array(FORMAT), activation=activation, **named)

    @classmethod
    def load(cls, path: str | Path) -> "MLP":
        """Return the network of a file that `save` has written.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        MLP

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged or contains something else.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     MLP([[[2.0]]], [[1.0]], "tanh").save(f"{folder}/line.npz")
        ...     MLP.load(f"{folder}/line.npz")
        MLP(1-1, tanh)
        """
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
    """Return the checked expansion point of a network, (..., dim), by default 0."""
    validation.instance("mlp", mlp, MLP)
    if at is None:
        return np.zeros(mlp.dim)
    return validation.real_array("at", at, last=mlp.dim)


def activation_derivatives(mlp: MLP, at: Floats, order: int) -> Iterator[Floats]:
    """Yield phi, phi', .., phi^(order) of each hidden layer at its pre-activations.

    Each has the shape (order + 1, ..., units).
    """
    y = at
    for layer, name in enumerate(mlp.activations):
        z = y @ mlp.weights[layer].T + mlp.biases[layer]
        phi = activations.of_layer(name, z, order, layer=layer + 1)
        yield phi
        y = phi[0]
