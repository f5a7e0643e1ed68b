"""Convert multilayer perceptrons of scikit-learn, with the scalers around them."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from paperlib._support.validation import Floats
from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Value

# The names of activations in scikit-learn, and in paperlib
NAMES = {
    "identity": "linear",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "exp": "exp",
}


def _check_fitted(estimator: Any) -> None:
    """Raise a ValueError if an estimator is not fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise ValueError(f"model: {type(estimator).__name__} is not fitted") from None


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield the parts of an estimator in the order of their use.

    These are the steps of a pipeline, also of a pipeline inside a pipeline, and the
    estimator itself if it is not a pipeline. A ColumnTransformer is followed by its own
    transformers, and a TransformedTargetRegressor is replaced by its regressor. Some
    items may be None or "passthrough".
    """
    if hasattr(estimator, "regressor_"):
        yield from _parts(estimator.regressor_)
        return
    if not hasattr(estimator, "steps"):
        yield estimator
    transformers = getattr(estimator, "transformers_", ())
    for _, part, *_ in (*getattr(estimator, "steps", ()), *transformers):
        yield from _parts(part)


def _framed(estimator: Any, rows: Floats) -> Any:
    """Return inputs in the form that an estimator expects.

    `rows` has the shape (n, features). The result is a pandas.DataFrame if the
    estimator was fitted on named columns, otherwise `rows` itself.
    """
    if not hasattr(estimator, "feature_names_in_"):
        return rows
    import pandas

    return pandas.DataFrame(rows, columns=estimator.feature_names_in_)


def _transformed(step: Any, value: Value, inverse: bool = False) -> Value:
    """Return the Value that a transformer, or its inverse, computes from a Value.

    If the transformer clips its result, the clipping is omitted, and a warning gives
    the inputs for which it has no effect. Raise a ValueError if the transformer is not
    fitted, or is neither affine nor elementwise.
    """
    _check_fitted(step)
    own = copy.deepcopy(step)
    for part in _parts(own):
        if getattr(part, "clip", False):
            part.clip = False
            low, high = part.data_min_.tolist(), part.data_max_.tolist()
            warnings.warn(
                f"{type(part).__name__}(clip=True) is imported without its clipping: "
                f"the network is valid for {low} <= x <= {high}",
                stacklevel=6,
            )
    function = own.inverse_transform if inverse else own.transform

    def operation(x: Floats) -> np.ndarray:
        rows = function(_framed(own, x.reshape(1, -1)))
        # Some transformers, such as OneHotEncoder, return a sparse matrix
        return np.ravel(rows.toarray() if hasattr(rows, "toarray") else rows)

    return affine_graph.applied(f"model: {type(step).__name__}", operation, [value])


def _perceptron(model: Any, value: Value) -> Value:
    """Return the output of an MLPRegressor or MLPClassifier for the input `value`.

    For a classifier, this is the probability of the second of its two classes. Raise a
    ValueError if the model is not fitted, or is a classifier with more than two classes
    or with several labels for each input.
    """
    _check_fitted(model)
    several_classes = hasattr(model, "classes_") and model.n_outputs_ > 1
    if model.out_activation_ not in NAMES or several_classes:
        raise ValueError(
            f"model: its output has the activation {model.out_activation_!r}; "
            "must have one or two classes"
        )
    for layer, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_), 2):
        last = layer == model.n_layers_
        name = NAMES[model.out_activation_ if last else model.activation]
        z = affine_graph.dense(weight.T, value, bias)
        value = affine_graph.neurons(z, [name] * len(bias))
    return value


def _output(model: Any, value: Value) -> Value:
    """Return the prediction of an estimator or a pipeline for the input `value`.

    Raise a TypeError if it contains no multilayer perceptron.
    """
    kind = type(model).__name__
    if kind == "Pipeline":
        *transformers, (_, last) = model.steps
        for _, step in transformers:
            if step not in (None, "passthrough"):
                value = _transformed(step, value)
        return _output(last, value)
    if kind == "TransformedTargetRegressor":
        _check_fitted(model)
        prediction = _output(model.regressor_, value)
        return _transformed(model.transformer_, prediction, inverse=True)
    if not hasattr(model, "hidden_layer_sizes"):
        raise TypeError(
            f"model: {kind} given; "
            "must be a fitted sklearn.neural_network.MLPRegressor or MLPClassifier"
        )
    return _perceptron(model, value)


def _typical_inputs(model: Any) -> Floats:
    """Return eight inputs of the size that the first scaler expects.

    Inputs of another size would saturate the network, and their outputs would hide
    errors. They are scaled from 0 to 1, the range of a MinMaxScaler, and transformed
    back by the inverse of the scaler. If it has no inverse, they are from 0 to 1.
    """
    # Steps that do nothing lack the attribute with the number of inputs
    scaled = [part for part in _parts(model) if hasattr(part, "n_features_in_")]
    features = scaled[0].n_features_in_ if scaled else 1
    x = np.random.default_rng(0).uniform(0, 1, (8, features))
    try:
        return np.asarray(scaled[0].inverse_transform(x), dtype=np.float64)
    except Exception:  # it has no inverse
        return x


def from_sklearn(model: Any) -> Converted:
    """Convert an estimator, for `MLP.from_sklearn`, which documents the errors."""
    x = _typical_inputs(model)
    output = _output(model, affine_graph.inputs(x.shape[1:]))

    def original(row: Floats) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            rows = _framed(model, row)
            if hasattr(model, "predict_proba"):
                return model.predict_proba(rows)[:, 1:]
            return model.predict(rows)

    return Converted(output, original, x)
