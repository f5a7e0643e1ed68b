"""Convert estimators of scikit-learn: perceptrons, and the scalings around them."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from paperlib._support.validation import Floats
from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Value

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
    """Yield the steps of nested pipelines in the order in which they are applied.

    The parts of a ColumnTransformer follow it. A part may be None or "passthrough".
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
    """Return the rows as a table if the estimator was fitted on named columns."""
    if not hasattr(estimator, "feature_names_in_"):
        return rows
    import pandas

    return pandas.DataFrame(rows, columns=estimator.feature_names_in_)


def _transformed(step: Any, value: Value, inverse: bool = False) -> Value:
    """Return the result of a transformer, or of its inverse.

    A transformer that clips is used without its clipping, and a warning gives the
    inputs for which that is valid.
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
        # An encoder of categories returns a sparse matrix
        return np.ravel(rows.toarray() if hasattr(rows, "toarray") else rows)

    return affine_graph.applied(f"model: {type(step).__name__}", operation, [value])


def _perceptron(model: Any, value: Value) -> Value:
    """Return the output of an MLPRegressor or MLPClassifier."""
    _check_fitted(model)
    several_classes = hasattr(model, "classes_") and model.n_outputs_ > 1
    if model.out_activation_ not in NAMES or several_classes:
        raise ValueError(
            f"model: its output goes through {model.out_activation_!r}; "
            "must have one or two classes"
        )
    for layer, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_), 2):
        last = layer == model.n_layers_
        name = NAMES[model.out_activation_ if last else model.activation]
        z = affine_graph.dense(weight.T, value, bias)
        value = affine_graph.neurons(z, [name] * len(bias))
    return value


def _output(model: Any, value: Value) -> Value:
    """Return the prediction of an estimator or of a pipeline."""
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
    """Return inputs of the size that the first scaling expects.

    Others would saturate the network.
    """
    # Steps that do nothing do not have the number of inputs
    scaled = [part for part in _parts(model) if hasattr(part, "n_features_in_")]
    features = scaled[0].n_features_in_ if scaled else 1
    # The range of MinMaxScaler
    x = np.random.default_rng(0).uniform(0, 1, (8, features))
    try:
        return np.asarray(scaled[0].inverse_transform(x), dtype=np.float64)
    except Exception:  # it has no inverse
        return x


def from_sklearn(model: Any) -> Converted:
    """See `MLP.from_sklearn`."""
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
