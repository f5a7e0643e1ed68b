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


def _fitted(estimator: Any) -> None:
    """Raise a ValueError if an estimator is not fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise ValueError(f"model: {type(estimator).__name__} is not fitted") from None


def _nested(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and all its parts, among which may be None and "passthrough"."""
    yield estimator
    for _, part, *_ in (
        *getattr(estimator, "transformers_", ()),
        *getattr(estimator, "steps", ()),
    ):
        yield from _nested(part)


def _end(model: Any, place: int) -> Any:
    """Return the first step of nested pipelines, for place 0, or the last, for place -1."""
    while hasattr(model, "regressor_") or hasattr(model, "steps"):
        model = (
            model.regressor_ if hasattr(model, "regressor_") else model.steps[place][1]
        )
    return model


def _is_network(model: Any) -> bool:
    return hasattr(model, "predict") and hasattr(model, "hidden_layer_sizes")


def _framed(estimator: Any, rows: Floats) -> Any:
    """Return the rows as an estimator was fitted on them: with names of columns, if it was."""
    if not hasattr(estimator, "feature_names_in_"):
        return rows
    import pandas

    return pandas.DataFrame(rows, columns=estimator.feature_names_in_)


def _scaled(step: Any, value: Value, inverse: bool = False) -> Value:
    """Return the result of a transformer, or of its inverse. A transformer that clips does not clip here, and a warning says so."""
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
    name, function = (
        f"model: {type(step).__name__}",
        own.inverse_transform if inverse else own.transform,
    )

    def called(x: Floats) -> np.ndarray:
        # As an encoder of categories
        with affine_graph.refusing(f"{name} takes no numbers of any size"):
            found = function(_framed(own, x.reshape(1, -1)))
        return np.ravel(found.toarray() if hasattr(found, "toarray") else found)

    return affine_graph.applied(name, called, [value])


def _network(model: Any, value: Value) -> Value:
    """Return the output of a perceptron."""
    _fitted(model)
    if model.out_activation_ not in NAMES or (
        hasattr(model, "classes_") and model.n_outputs_ > 1
    ):
        raise ValueError(
            f"model: its output goes through {model.out_activation_!r}; must have one or two classes"
        )
    activations = [model.activation] * (len(model.coefs_) - 1) + [model.out_activation_]
    for weight, bias, activation in zip(
        model.coefs_, model.intercepts_, activations, strict=True
    ):
        value = affine_graph.neurons(
            affine_graph.dense(weight.T, value, bias), [NAMES[activation]] * len(bias)
        )
    return value


def _run(model: Any, value: Value) -> Value:
    """Return the prediction of an estimator or of a pipeline."""
    kind = type(model).__name__
    if kind == "Pipeline":
        *scalers, (_, last) = model.steps
        if _is_network(last):
            _fitted(last)
        for _, step in scalers:
            if step not in (None, "passthrough"):
                value = _scaled(step, value)
        return _run(last, value)
    if kind == "TransformedTargetRegressor":
        _fitted(model)
        return _scaled(model.transformer_, _run(model.regressor_, value), inverse=True)
    if not _is_network(model):
        raise TypeError(
            f"model: {kind} given; must be a fitted sklearn.neural_network.MLPRegressor or MLPClassifier"
        )
    return _network(model, value)


def _typical_inputs(model: Any, features: int) -> Floats:
    """Return inputs of the size that the first scaling expects: others would saturate the network."""
    # The range of MinMaxScaler
    x = np.random.default_rng(0).uniform(0, 1, (8, features))
    try:
        return np.asarray(_end(model, 0).inverse_transform(x), dtype=np.float64)
    except Exception:  # it has no inverse
        return x


def from_sklearn(model: Any) -> Converted:
    """See `MLP.from_sklearn`."""
    if not hasattr(model, "predict"):
        raise TypeError(
            f"model: {type(model).__name__} given; must be a fitted sklearn.neural_network.MLPRegressor"
        )
    last = _end(model, -1)
    features = getattr(model, "n_features_in_", None) or len(
        getattr(last, "coefs_", [[0]])[0]
    )
    # raises first if a part is not fitted
    output = _run(model, affine_graph.inputs((features,)))
    x = _typical_inputs(model, features)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        rows = _framed(model, x)
        expected = (
            model.predict_proba(rows)[:, 1:]
            if hasattr(last, "classes_")
            else model.predict(rows)
        )
    return Converted(output, x, np.asarray(expected))
