"""Multilayer perceptrons as plain arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paperlib.networks import activations
from paperlib._support.checks import real_array, told, within
from paperlib._support.files import read_npz, write_npz

__all__ = ["MLP"]

FORMAT = "paperlib.MLP 1"
LAYOUT = {1: "(units out,)", 2: "(units out, units in)"}


def _parameters(name, values, axes):
    """Read-only float64 copies, each with so many axes."""
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError(f"{name}: {type(values).__name__} given; must be a list of arrays, one for each layer")
    arrays = [np.array(real_array(f"{name}[{layer}]", value)) for layer, value in enumerate(values)]
    for layer, array in enumerate(arrays):
        if array.ndim != axes:
            raise ValueError(f"{name}[{layer}]: shape {array.shape}; must be {LAYOUT[axes]}")
        array.flags.writeable = False
    return tuple(arrays)


@dataclass(frozen=True, eq=False, repr=False)
class MLP:
    """A perceptron z^l = W^l y^(l-1) + b^l, y^l = phi(z^l), y^0 = x, whose output z^(L+1) is linear.

    Parameters
    ----------
    weights : list of array_like of float, each of shape (units out, units in)
        W^1 .. W^(L+1); L >= 0 hidden layers.
    biases : list of array_like of float, each of shape (units out,)
    activation : str or sequence of str
        One phi for all hidden layers, or one for each; see `paperlib.activations.parse`.

    Raises
    ------
    ValueError
        If a weight or bias is not real and finite, the shapes do not chain, or an activation is unknown.

    Examples
    --------
    >>> mlp = MLP([[[1.0, -1.0], [2.0, 0.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.5]], "tanh")
    >>> mlp
    MLP(2-2-1, tanh)
    >>> mlp([[0.0, 0.0], [1.0, 1.0]]).round(4)
    array([0.5  , 1.464])
    """

    weights: Sequence
    biases: Sequence
    activation: str | Sequence[str]

    def __post_init__(self):
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
        activation = self.activation
        if not isinstance(activation, str):
            if not isinstance(activation, (list, tuple)):
                activations.parse(activation)
            activation = tuple(activation)
            if len(activation) != len(weights) - 1:
                raise ValueError(
                    f"activation: {len(activation)} names; must be one, or one for each of the "
                    f"{len(weights) - 1} hidden layers"
                )
        for name in (activation,) if isinstance(activation, str) else activation:
            activations.parse(name)
        if not isinstance(activation, str) and len(set(activation)) == 1:
            activation = activation[0]
        for name, value in (("weights", weights), ("biases", biases), ("activation", activation)):
            object.__setattr__(self, name, value)

    def __repr__(self):
        names = self.activation if isinstance(self.activation, str) else ", ".join(self.activation)
        return f"MLP({'-'.join(map(str, (self.dim, *map(len, self.biases))))}, {names})"

    @property
    def dim(self):
        """Number of inputs."""
        return self.weights[0].shape[1]

    @property
    def outputs(self):
        """Number of outputs."""
        return len(self.biases[-1])

    @property
    def depth(self):
        """Number of hidden layers, L."""
        return len(self.weights) - 1

    @property
    def activations(self):
        """The activation of each hidden layer, a tuple of L names."""
        return (self.activation,) * self.depth if isinstance(self.activation, str) else self.activation

    def __call__(self, x):
        """Return the output at `x`.

        Parameters
        ----------
        x : array_like of float, shape (..., dim)

        Returns
        -------
        float64 or ndarray of float64, shape (...) for one output, (..., outputs) for several

        Raises
        ------
        ValueError
            If `x` is not real and finite, its last axis is not `dim` long, or the output is beyond the largest double.
        """
        y = real_array("x", x, last=self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            for weight, bias, phi in zip(self.weights, self.biases, self.activations):
                y = activations.of_layer(phi, y @ weight.T + bias, 0)[0]
            y = y @ self.weights[-1].T + self.biases[-1]
        within("x", y, "scale the inputs or the weights")
        return y[..., 0] if self.outputs == 1 else y

    @staticmethod
    def from_keras(model):
        """Convert a Keras model that is a chain of Dense layers.

        Parameters
        ----------
        model : keras.Model
            Sequential or functional, built. Input, Flatten, Dropout, activation layers, Rescaling and
            Normalization may stand between the Dense layers: the last two are folded into a neighbouring one.
            A nonlinear output becomes one more hidden layer, followed by the identity.

        Returns
        -------
        MLP
            In float64, to which float32 weights convert exactly.

        Raises
        ------
        ValueError
            If the model is not such a chain, naming the layer that is not.
        """
        from paperlib.networks import converters

        return converters.from_keras(model)

    @staticmethod
    def from_torch(module):
        """Convert a torch.nn.Sequential of Linear and activation modules.

        Parameters
        ----------
        module : torch.nn.Module
            Sequential (nested or not) or Linear. Flatten, Identity and Dropout may stand in between. A
            nonlinear output becomes one more hidden layer, followed by the identity.

        Returns
        -------
        MLP

        Raises
        ------
        ValueError
            If the module is not such a chain, naming the submodule that is not.
        """
        from paperlib.networks import converters

        return converters.from_torch(module)

    @staticmethod
    def from_sklearn(model):
        """Convert a fitted scikit-learn MLPRegressor, with the scalers around it.

        Parameters
        ----------
        model : sklearn.neural_network.MLPRegressor, Pipeline or TransformedTargetRegressor
            A pipeline's StandardScaler, RobustScaler, MinMaxScaler or MaxAbsScaler steps are folded into the first layer,
            and such a transformer of the target into the last: the network then takes and gives the data's own units.
            Its last step alone takes scaled inputs.

        Returns
        -------
        MLP

        Raises
        ------
        ValueError
            If there is no MLPRegressor in it, it is not fitted, or another step is not such a scaler, naming it.
        """
        from paperlib.networks import converters

        return converters.from_sklearn(model)

    def save(self, path):
        """Write the network to `path`, an .npz file without pickled objects.

        A file already there is replaced only when the new one is complete.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     MLP([[[2.0]]], [[1.0]], "tanh").save(f"{folder}/line.npz")
        ...     float(MLP.load(f"{folder}/line.npz")([3.0]))
        7.0
        """
        arrays = {f"weights_{layer}": weight for layer, weight in enumerate(self.weights)}
        arrays |= {f"biases_{layer}": bias for layer, bias in enumerate(self.biases)}
        write_npz(path, format=np.array(FORMAT), activation=np.array(self.activation), **arrays)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is corrupt, or something else.
        """
        stored = read_npz(path, ("format", "activation"))
        layers = range(sum(name.startswith("weights_") for name in stored))
        try:
            if stored["format"].tolist() != FORMAT:
                raise ValueError(f"format {told(stored['format'].tolist())}")
            weights, biases = ([stored[f"{part}_{layer}"] for layer in layers] for part in ("weights", "biases"))
            return cls(weights, biases, stored["activation"].tolist())
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: is not a network saved by MLP.save ({error})") from None
