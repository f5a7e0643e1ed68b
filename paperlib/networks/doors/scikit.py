"""Estimators of scikit-learn: perceptrons, and the scalings around them."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from paperlib._support.checks import Floats
from paperlib.networks import graph
from paperlib.networks.graph import Converted, Value

__all__ = ["from_sklearn"]

NAMES = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "exp": "exp"}


def _fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise ValueError(f"model: {type(estimator).__name__} is not fitted") from None


def _nested(estimator: Any) -> Iterator[Any]:
    """What is given, and all within it; None and "passthrough" too, within which nothing is."""
    yield estimator
    for _, part, *_ in (*getattr(estimator, "transformers_", ()), *getattr(estimator, "steps", ())):
        yield from _nested(part)


def _framed(estimator: Any, rows: Floats) -> Any:
    """The rows as an estimator was fitted on them: with names, if it was."""
    if not hasattr(estimator, "feature_names_in_"):
        return rows
    import pandas

    return pandas.DataFrame(rows, columns=estimator.feature_names_in_)


def _scaled(step: Any, value: Value, inverse: bool = False) -> Value:
    """What a transformer makes of a value, or its inverse; without its clipping, of which a warning tells."""
    _fitted(step)
    own = copy.deepcopy(step)
    for part in _nested(own):
        if getattr(part, "clip", False):
            part.clip = False
            low, high = part.data_min_.tolist(), part.data_max_.tolist()
            warnings.warn(
                f"{type(part).__name__}(clip=True) is taken without its clipping: it holds for {low} <= x <= {high}",
                stacklevel=6,
            )
    function = own.inverse_transform if inverse else own.transform

    def called(x: Floats) -> Floats:
        try:
            found = function(_framed(own, x.reshape(1, -1)))
        except Exception as error:  # an encoder of categories, for one, refuses any other number
            raise ValueError(
                f"model: {type(step).__name__} takes no numbers of any size ({graph.first_line(error)})"
            ) from None
        return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float64).reshape(-1)

    return graph.applied(f"model: {type(step).__name__}", called, [value])


def _network(model: Any, value: Value) -> Value:
    if not hasattr(model, "coefs_"):
        raise ValueError(f"model: {type(model).__name__} is not fitted")
    if model.out_activation_ not in NAMES or (hasattr(model, "classes_") and model.n_outputs_ > 1):
        raise ValueError(f"model: its output goes through {model.out_activation_!r}; must have one or two classes")
    for layer, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        if layer:
            value = graph.neurons(value, [NAMES[model.activation]] * value.size)
        value = graph.affine((len(bias),), [(weight.T.astype(np.float64), value)], bias.astype(np.float64))
    return graph.neurons(value, [NAMES[model.out_activation_]] * value.size)


def _run(model: Any, value: Value) -> Value:
    """What an estimator predicts of a value, or what a pipeline of them does."""
    kind = type(model).__name__
    if kind == "Pipeline":
        *scalers, (_, last) = model.steps
        if _is_network(last) and not hasattr(last, "coefs_"):
            raise ValueError(f"model: {type(last).__name__} is not fitted")
        for _, step in scalers:
            if step is not None and step != "passthrough":
                value = _scaled(step, value)
        return _run(last, value)
    if kind == "TransformedTargetRegressor":
        _fitted(model)
        return _scaled(model.transformer_, _run(model.regressor_, value), inverse=True)
    if not _is_network(model):
        raise TypeError(f"model: {kind} given; must be a fitted sklearn.neural_network.MLPRegressor or MLPClassifier")
    return _network(model, value)


def _is_network(model: Any) -> bool:
    return hasattr(model, "predict") and hasattr(model, "hidden_layer_sizes")


def _at_typical_inputs(model: Any, features: int) -> Floats:
    """Inputs of the size that the first scaling expects: others would saturate the network."""
    x = np.random.default_rng(0).uniform(0, 1, (8, features))  # where MinMaxScaler is that
    first = model
    while hasattr(first, "regressor_") or hasattr(first, "steps"):
        first = first.regressor_ if hasattr(first, "regressor_") else first.steps[0][1]
    try:
        return np.asarray(first.inverse_transform(x), dtype=np.float64)
    except Exception:  # it has no inverse
        return x


def _last(model: Any) -> Any:
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    return model


def from_sklearn(model: Any) -> Converted:
    """See `MLP.from_sklearn`."""
    if not hasattr(model, "predict"):
        raise TypeError(f"model: {type(model).__name__} given; must be a fitted sklearn.neural_network.MLPRegressor")
    features = getattr(model, "n_features_in_", None) or len(getattr(_last(model), "coefs_", [[0]])[0])
    output = _run(model, graph.inputs((features,)))  # which says first if nothing is fitted
    x = _at_typical_inputs(model, features)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        rows = _framed(model, x)
        expected = model.predict_proba(rows)[:, 1:] if hasattr(_last(model), "classes_") else model.predict(rows)
    return Converted(*graph.layers(output), x, np.asarray(expected))
