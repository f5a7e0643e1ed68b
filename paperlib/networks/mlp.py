"""Multilayer perceptrons as plain arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib._support.files import read_npz, write_npz
from paperlib.networks import activations, converters

__all__ = ["MLP"]

FORMAT = "paperlib.MLP 1"
LAYOUT = {1: "(units out,)", 2: "(units out, units in)"}


def _parameters(name: str, values: Any, axes: int) -> tuple[Floats, ...]:
    """Read-only float64 copies, each with so many axes."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{name}: {type(values).__name__} given; must be a list of arrays, one for each layer")
    if not values:
        raise ValueError(f"{name} = {values}: must be a list of arrays, one for each layer")
    arrays = [np.array(checks.real_array(f"{name}[{layer}]", value)) for layer, value in enumerate(values)]
    for layer, array in enumerate(arrays):
        if array.ndim != axes:
            raise ValueError(f"{name}[{layer}]: shape {array.shape}; must be {LAYOUT[axes]}")
        array.flags.writeable = False
    return tuple(arrays)


def to_arrays(weights: Sequence, biases: Sequence) -> dict[str, np.ndarray]:
    """Layers under the names that they have in a file."""
    named = {f"weights_{layer}": weight for layer, weight in enumerate(weights)}
    return named | {f"biases_{layer}": bias for layer, bias in enumerate(biases)}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases of what `to_arrays` has named; a KeyError where one is missing."""
    layers = range(sum(name.startswith("weights_") for name in arrays))
    return [arrays[f"weights_{layer}"] for layer in layers], [arrays[f"biases_{layer}"] for layer in layers]


@dataclass(frozen=True, eq=False, repr=False)
class MLP:
    """A perceptron z^l = W^l y^(l-1) + b^l, y^l = phi(z^l), y^0 = x, whose output z^(L+1) is linear.

    A ValueError if an array is not finite, the shapes do not chain, or an activation is unknown.

    Parameters
    ----------
    weights : list of array_like of float, each of shape (units out, units in)
        W^1 .. W^(L+1); L >= 0 hidden layers.
    biases : list of array_like of float, each of shape (units out,)
    activation : str or sequence of str
        One phi for all hidden layers, or one for each; see `paperlib.activations.parse`.

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
    activation: str | Sequence[str]

    def __post_init__(self) -> None:
        weights, biases = _parameters("weights", self.weights, 2), _parameters("biases", self.biases, 1)
        if len(biases) != len(weights):
            raise ValueError(f"biases: {len(biases)} layers; weights has {len(weights)}")
        for layer, (weight, bias) in enumerate(zip(weights, biases)):
            if layer and weight.shape[1] != len(weights[layer - 1]):
                units = len(weights[layer - 1])
                raise ValueError(
                    f"weights[{layer}]: shape {weight.shape}; must be {LAYOUT[2]}, and take the {units} units before it"
                )
            if len(bias) != len(weight):
                raise ValueError(
                    f"biases[{layer}]: shape {bias.shape}; must be {len(weight)} long, as weights[{layer}] is "
                    f"{weight.shape}, {LAYOUT[2]}"
                )
        one = not isinstance(self.activation, (list, tuple))
        names: Any = (self.activation,) if one else tuple(self.activation)
        if not one and len(names) != len(weights) - 1:
            raise ValueError(
                f"activation: {len(names)} names; must be one, or one for each of the {len(weights) - 1} hidden layers"
            )
        for name in names:
            activations.parse(name)
        activation = names[0] if len(set(names)) == 1 else names
        for name, value in (("weights", weights), ("biases", biases), ("activation", activation)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        names = self.activation if isinstance(self.activation, str) else ", ".join(self.activation)
        return f"MLP({'-'.join(map(str, (self.dim, *map(len, self.biases))))}, {names})"

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
    def activations(self) -> tuple[str, ...]:
        """The activation of each hidden layer, a tuple of L names."""
        return (self.activation,) * self.depth if isinstance(self.activation, str) else tuple(self.activation)

    def __call__(self, x: ArrayLike) -> Floats:
        """The output at x (..., dim): shape (...) for one output, (..., outputs) for several.

        Beyond the largest double it is a ValueError.
        """
        y = checks.real_array("x", x, last=self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            for weight, bias, phi in zip(self.weights, self.biases, self.activations):
                y = activations.of_layer(phi, y @ weight.T + bias, 0)[0]
            y = y @ self.weights[-1].T + self.biases[-1]
        checks.representable("x", y, "scale the inputs or the weights")
        return y[..., 0] if self.outputs == 1 else y

    @classmethod
    def from_keras(cls, model: Any) -> "MLP":
        """Convert a Keras model that is a chain of Dense layers.

        The model is Sequential or functional, and built. Input, Flatten, Dropout, activation layers, Rescaling and
        Normalization may stand between the Dense layers: the last two are folded into a neighbouring one. A nonlinear
        output becomes one more hidden layer, followed by the identity. Weights of float32 convert exactly. What is no
        such chain is a TypeError or a ValueError that names the layer.
        """
        return cls._agreeing("model", converters.from_keras(model))

    @classmethod
    def from_torch(cls, module: Any) -> "MLP":
        """Convert a torch.nn.Sequential of Linear and activation modules.

        Sequential, nested or not, or one Linear. Flatten, Identity and Dropout may stand in between. A nonlinear output
        becomes one more hidden layer, followed by the identity. What is no such chain is a TypeError or a ValueError
        that names the submodule.
        """
        return cls._agreeing("module", converters.from_torch(module))

    @classmethod
    def from_sklearn(cls, model: Any) -> "MLP":
        """Convert a fitted scikit-learn MLPRegressor, with the scalers around it.

        A pipeline's StandardScaler, RobustScaler, MinMaxScaler or MaxAbsScaler steps are folded into the first layer,
        and such a transformer of a TransformedTargetRegressor into the last: the network then takes and gives the
        data's own units. A pipeline's last step alone takes scaled inputs. What is no such regressor, or not fitted, is
        a TypeError or a ValueError that names the step.
        """
        return cls._agreeing("model", converters.from_sklearn(model))

    @classmethod
    def _agreeing(cls, name: str, found: converters.Converted) -> "MLP":
        """The network, if it gives what the original gives."""
        mlp, count = cls(found.weights, found.biases, found.activations), len(found.inputs)
        ours = np.asarray(mlp(found.inputs.reshape(count, -1).astype(np.float64))).reshape(count, -1)
        rounding = np.sqrt(np.finfo(found.outputs.dtype).eps) if found.outputs.dtype.kind == "f" else 0.05
        if np.abs(ours - found.outputs.reshape(count, -1)).max() > rounding * (1 + np.abs(ours).max()):
            raise ValueError(f"{name}: its layers, one after the other, do not give its output; must be a plain chain")
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
        named = to_arrays(self.weights, self.biases)
        write_npz(path, format=np.array(FORMAT), activation=np.array(self.activation), **named)

    @classmethod
    def load(cls, path: str | Path) -> "MLP":
        """Read what `save` wrote; a FileNotFoundError or, of a file that is damaged or something else, a ValueError."""
        stored = read_npz(path, ("format", "activation"))
        try:
            if stored["format"].tolist() != FORMAT:
                raise ValueError(f"format {checks.brief(stored['format'].tolist())}")
            return cls(*from_arrays(stored), stored["activation"].tolist())
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: is not a network saved by MLP.save ({error})") from None


def centre(mlp: Any, at: ArrayLike | None) -> Floats:
    """Where a network is expanded, (..., dim): the origin if `at` is None; of arguments that are not checked."""
    checks.instance("mlp", mlp, MLP)
    return np.zeros(mlp.dim) if at is None else checks.real_array("at", at, last=mlp.dim)


def phis(mlp: MLP, at: Floats, order: int) -> Iterator[Floats]:
    """phi, phi', .., phi^(order) at each hidden layer's pre-activations; (order + 1, ..., units) each."""
    y = at
    for number, (weight, bias, name) in enumerate(zip(mlp.weights, mlp.biases, mlp.activations), start=1):
        phi = activations.of_layer(name, y @ weight.T + bias, order, layer=number)
        yield phi
        y = phi[0]
