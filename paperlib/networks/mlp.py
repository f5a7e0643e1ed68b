"""Represent multilayer perceptrons by the arrays of their weights and biases."""

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
    """Return read-only float64 copies of the arrays of an argument.

    `values` is the argument `name`, "weights" or "biases". It must be a list or tuple
    of finite real arrays with `axes` axes, one for each layer.
    """
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
    """Return the checked argument `activation` of an MLP with these biases.

    The result is a single activation if all hidden layers have the same one, otherwise
    a tuple with one activation for each hidden layer. Raise a ValueError if the number
    of activations is neither one nor the number of hidden layers, or if the counts of a
    name such as "tanh*8 + linear*3" do not add up to the neurons of its layer.
    """
    depth = len(biases) - 1
    names = (activation,) * max(1, depth)
    if type(activation) in (list, tuple):
        names = tuple(activation)
        if len(names) != depth:
            raise ValueError(
                f"activation: has {len(names)} names; must have one, or one for each "
                f"of the {depth} hidden layers"
            )
    for layer, (name, bias) in enumerate(zip(names, biases), start=1):
        counted = sum(count or 0 for _, count in activations.groups(name))
        if counted not in (0, len(bias)):
            raise ValueError(
                f"activation = {validation.brief(name)}: has {counted} neurons; must "
                f"have {len(bias)}, as hidden layer {layer}"
            )
    return names[0] if len(set(names)) == 1 else names


def to_arrays(weights: Sequence, biases: Sequence) -> dict[str, np.ndarray]:
    """Return a dict with the arrays weights_0, weights_1, .., biases_0, biases_1, ..

    The names are those of the arrays in an .npz file, and the numbers count the layers.
    """
    named = {f"weights_{layer}": weight for layer, weight in enumerate(weights)}
    return named | {f"biases_{layer}": bias for layer, bias in enumerate(biases)}


def from_arrays(
    arrays: Mapping[str, np.ndarray],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the arrays weights_0, weights_1, .. and biases_0, biases_1, .. as lists.

    The two lists are the weights and the biases that `to_arrays` received. Arrays of
    other names are ignored. Raise a KeyError if an array is missing.
    """
    layers = range(sum(name.startswith("weights_") for name in arrays))
    weights = [arrays[f"weights_{layer}"] for layer in layers]
    return weights, [arrays[f"biases_{layer}"] for layer in layers]


@dataclass(frozen=True, eq=False, repr=False)
class MLP:
    """A multilayer perceptron with L hidden layers and a linear output layer.

    With the inputs y^0 = x, layer l computes the pre-activations z^l = W^l y^(l-1) +
    b^l. The weights W^l are a matrix, and the biases b^l a vector. A hidden layer
    passes y^l = phi(z^l) to the next layer, where phi is its activation, applied to
    each neuron. The output of the network is z^(L+1).

    Parameters
    ----------
    weights : list of array_like of float, each of shape (units out, units in)
        The matrices W^1, .., W^(L+1), where L >= 0.
    biases : list of array_like of float, each of shape (units out,)
        The vectors b^1, .., b^(L+1).
    activation : str or Custom, or a sequence of them
        The activation phi of all hidden layers, or a sequence with the activation of
        each. `paperlib.activations.parse` lists the names, for example "tanh" or
        "elu(0.5)". If the neurons of a layer have different activations, their names
        with the numbers of neurons, in the order of the neurons: "tanh*8 + linear*3". A
        function that is not built in is a `paperlib.activations.Custom`.

    Raises
    ------
    TypeError
        If an argument is not a list, or an array does not consist of real numbers.
    ValueError
        If an array is not finite, the units out of a layer are not the units in of the
        next, the biases do not fit the weights, or an activation is unknown.

    Examples
    --------
    A network of two inputs, one hidden layer of two neurons, and one output, evaluated
    at two inputs:

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
                f"biases: has {len(biases)} layers; must have {len(weights)}, as "
                "weights"
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
        """Return the output of the network at x.

        Parameters
        ----------
        x : array_like of float, shape (..., dim)
            Inputs. The last axis has the length `dim`.

        Returns
        -------
        ndarray of float64
            The output at each input, shape (...) if the network has one output,
            otherwise shape (..., outputs).

        Raises
        ------
        TypeError
            If x does not consist of real numbers.
        ValueError
            If x is not finite, its last axis has another length than `dim`, or an
            output overflows float64.

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
        """Convert a Keras model: sequential, functional, or of the user's own class.

        Parameters
        ----------
        model : keras.Model
            A model with one input tensor of fixed shape, apart from the batch axis, and
            one output tensor. A model of the user's own class must have been called
            once. The model is not modified.

        Returns
        -------
        MLP
            A network with the same outputs. Its inputs are the entries of the model's
            input tensor, flattened. The weights of Dense layers convert exactly, and
            those of other layers up to rounding errors of float64.

        Raises
        ------
        TypeError
            If the argument is not a keras.Model.
        ValueError
            If an operation is neither affine nor an elementwise function that is
            supported. The message names the layer.

        Notes
        -----
        The importer evaluates each operation of the model's graph at arrays of numbers,
        to find whether it is affine or elementwise. Adjacent affine operations, such as
        Dense, Conv1D, BatchNormalization (as in inference), Reshape, Concatenate or
        Add, become one affine map. An elementwise function is compared with the values
        of all activations that paperlib supports. At the end, the outputs of the
        network and of the model are compared at eight inputs. `docs/networks.md` lists
        what is supported.

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
            A module with one input and one output, whose forward `torch.fx` can trace.
            The module, its mode, buffers and device are not modified.
        example : array_like, shape (batch, ...), optional
            An example of the input. Only its shape is used. It is needed if the shape
            cannot be inferred from the Linear and Conv1d layers of the module.

        Returns
        -------
        MLP
            A network with the same outputs. Its inputs are the entries of the module's
            input, flattened without the batch axis. If the module ends with an
            activation, it becomes a hidden layer, followed by the identity as the
            linear output.

        Raises
        ------
        TypeError
            If the argument is not a torch.nn.Module.
        ValueError
            If the shape of the input cannot be inferred, the forward cannot be traced,
            or an operation is neither affine nor an elementwise function that is
            supported. The message then names the node of the graph.

        Notes
        -----
        As in `from_keras`, the importer evaluates each operation of the traced graph at
        arrays of numbers, to find whether it is affine or elementwise.

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
        """Convert a multilayer perceptron of scikit-learn with the scalers around it.

        Parameters
        ----------
        model : estimator of scikit-learn
            A fitted MLPRegressor or MLPClassifier, or a fitted Pipeline or
            TransformedTargetRegressor that contains one. A classifier must have two
            classes. The model is not modified.

        Returns
        -------
        MLP
            A network that takes unscaled inputs, as `model.predict` does, and returns
            the unscaled prediction. The output for a classifier is the probability of
            its second class.

        Raises
        ------
        TypeError
            If the model is not a multilayer perceptron.
        ValueError
            If the model is not fitted, or a step of the pipeline is not supported. The
            message names the step.

        Warns
        -----
        UserWarning
            If a scaler clips its result to a range. The clipping is omitted in the
            network, and the warning gives the inputs for which it has no effect.

        Notes
        -----
        The scalers of a pipeline, also those in a ColumnTransformer, become part of the
        first layer. The transformer of a TransformedTargetRegressor becomes part of the
        last layer, or another layer if it is a function such as exp.

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
        """Convert a model in the format ONNX. This needs the package onnx.

        Parameters
        ----------
        model : onnx.ModelProto, str or Path
            A model, or the path of its file. It must have one output, and one input
            whose shape is fixed, apart from the first axis, which is the batch.

        Returns
        -------
        MLP
            A network with the same outputs. Its inputs are the entries of the model's
            input, flattened without the batch axis.

        Raises
        ------
        TypeError
            If the argument is neither a model nor a path.
        FileNotFoundError
            If the path does not exist.
        ValueError
            If the file is not ONNX, the model has several inputs or outputs, or an
            operation is neither affine nor an elementwise function that is supported.
            The message then names the node of the graph.

        Notes
        -----
        As in `from_keras`, the importer evaluates each operation at arrays of numbers,
        to find whether it is affine or elementwise. It uses the reference operators of
        the package onnx in double precision.

        Examples
        --------
        >>> MLP.from_onnx("model.onnx")  # doctest: +SKIP
        MLP(3-4-1, tanh)
        """
        return cls._checked("model", onnx.from_onnx(model))

    @classmethod
    def _checked(cls, name: str, converted: Converted) -> "MLP":
        """Return a network that an importer has read, after a comparison of outputs.

        `name` is the importer's argument, for messages. Raise a ValueError if the
        original returns several arrays, if its output does not depend on its input, or
        if the outputs of the network and of the original differ at the inputs in
        `converted`. Each output may differ by t (1 + m), where m is the largest
        magnitude of this output of the network at these inputs. If the original's
        outputs have one of NumPy's floating-point types, with the machine precision
        eps, t is sqrt(eps), otherwise 0.05.
        """
        output = converted.output
        if isinstance(output, (list, tuple)):
            raise ValueError(
                f"{name}: returns a sequence of {len(output)} arrays; must return one "
                "array"
            )
        if not isinstance(output, Value):
            raise ValueError(
                f"{name}: the output does not depend on the input; must depend on it"
            )
        mlp = cls(*layers(output))
        x = converted.inputs
        expected = np.array([np.ravel(converted.original(row[None])) for row in x])
        outputs = np.reshape(mlp(x.reshape(len(x), -1)), expected.shape)
        # np.finfo does not support types such as bfloat16
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
        """Write the network to an .npz file that contains no pickled objects.

        Parameters
        ----------
        path : str or Path
            The file. An existing file is replaced when the new one is complete.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If an activation is a `paperlib.activations.Custom`.

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
        """Read a network from a file that `MLP.save` has written.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        MLP
            The network, with the same weights, biases and activations.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged or was not written by `MLP.save`.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     MLP([[[2.0]]], [[1.0]], "tanh").save(f"{folder}/line.npz")
        ...     MLP.load(f"{folder}/line.npz")
        MLP(1-1, tanh)
        """
        stored = read_npz(path, ("format", "activation"))
        if (found := stored["format"].tolist()) != FORMAT:
            raise ValueError(
                f"{path}: must be a network saved by MLP.save, with format "
                f"{FORMAT!r}; has {validation.brief(found)}"
            )
        try:
            return cls(*from_arrays(stored), stored["activation"].tolist())
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path}: must be a network saved by MLP.save ({error})"
            ) from None


def expansion_point(mlp: Any, at: ArrayLike | None) -> Floats:
    """Return the inputs `at` about which a network is expanded, after checks.

    `at` must be finite and have the shape (..., dim). It is a vector of zeros, shape
    (dim,), if it is None. Raise an error if `mlp` is not an MLP.
    """
    validation.instance("mlp", mlp, MLP)
    if at is None:
        return np.zeros(mlp.dim)
    return validation.real_array("at", at, last=mlp.dim)


def activation_derivatives(mlp: MLP, at: Floats, order: int) -> Iterator[Floats]:
    """Yield the value and the derivatives of each hidden layer's activation phi.

    They are evaluated at the layer's pre-activations for the network inputs `at`, shape
    (..., dim). Each array holds phi, phi', .., phi^(order) along its first axis, and
    has the shape (order + 1, ..., units), where units is the number of neurons. The
    arguments are not checked. Raise a ValueError if `order` is at least 2 and a
    neuron's pre-activation is 0 where its activation has a kink.
    """
    y = at
    for layer, name in enumerate(mlp.activations):
        z = y @ mlp.weights[layer].T + mlp.biases[layer]
        phi = activations.of_layer(name, z, order, layer=layer + 1)
        yield phi
        y = phi[0]
