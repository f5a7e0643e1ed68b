"""Networks of Keras, PyTorch and scikit-learn against what those libraries compute."""

import warnings

import numpy as np
import pytest
from oracles import refusal

from paperlib import taylor
from paperlib.networks.mlp import MLP


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras", reason="the conversion from Keras needs the [train] extra")


def predictions_agree(model, mlp, shape):
    x = np.random.default_rng(1).standard_normal((20, *shape)).astype(np.float32)
    expected = model.predict(x, verbose=0).reshape(20, -1)
    ours = mlp(x.reshape(20, -1)).reshape(20, -1)
    assert np.abs(ours - expected).max() <= 2e-6 * (1 + np.abs(expected).max())


KERAS_ACTIVATIONS = {
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
}
KERAS_ACTIVATIONS |= {
    "exponential": "exp",
    "linear": "linear",
    "relu": "relu",
    "elu": "elu",
    "leaky_relu": "leaky_relu(0.2)",
}


@pytest.mark.parametrize("name", KERAS_ACTIVATIONS)
def test_keras_activations(keras, name):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(6, name), keras.layers.Dense(4, name), keras.layers.Dense(2)]
    )
    mlp = MLP.from_keras(model)
    assert mlp.activation == KERAS_ACTIVATIONS[name]
    for layer, weight, bias in zip(model.layers, mlp.weights, mlp.biases):
        assert np.array_equal(weight, np.asarray(layer.kernel).T.astype(float))
        assert np.array_equal(bias, np.asarray(layer.bias).astype(float))
    predictions_agree(model, mlp, (5,))


def test_keras_layers_that_fold_away(keras):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    normalization = layers.Normalization(axis=-1)
    normalization.adapt(np.random.default_rng(0).normal(3, 2, (100, 4, 3)).astype(np.float32))
    x = keras.Input((4, 3))
    y = layers.Flatten()(normalization(layers.Rescaling(2.0, 1.0)(x)))
    y = layers.Dropout(0.5)(layers.Dense(8, "tanh")(y))
    y = layers.Rescaling(0.5, -1.0)(y)
    y = layers.LeakyReLU(negative_slope=0.3)(layers.Dense(7, use_bias=False)(y))
    y = layers.Activation("gelu")(layers.Dense(6)(y))
    y = layers.Rescaling(3.0, 0.25)(layers.Dense(2, "sigmoid")(y))
    mlp = MLP.from_keras(keras.Model(x, y))
    assert mlp.activation == ("tanh", "leaky_relu(0.3)", "gelu", "sigmoid")
    predictions_agree(keras.Model(x, y), mlp, (4, 3))


def test_a_keras_activation_before_the_first_dense_layer(keras):
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((3,)), layers.Rescaling(2.0, 1.0), layers.Activation("tanh"), layers.Dense(1)]
    )
    mlp = MLP.from_keras(model)
    assert mlp.activation == "tanh" and mlp.weights[0].shape == (3, 3)
    predictions_agree(model, mlp, (3,))


def test_keras_nested_and_wrapped(keras):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential([layers.Dense(4, lambda z: keras.activations.gelu(z, approximate=True))])
    model = keras.Sequential([keras.Input((3,)), inner, layers.Dense(1)])
    mlp = MLP.from_keras(model)
    assert mlp.activation == "gelu_tanh"
    predictions_agree(model, mlp, (3,))


def test_keras_refusals(keras):
    layers, x = keras.layers, keras.Input((3,))
    dense = layers.Dense(3, "tanh", name="twice")
    cases = {
        "layer 'sum' .Add": keras.Model(x, layers.Add(name="sum")([dense(x), x])),
        "plain chain": keras.Model(x, dense(dense(x))),
        "layer 'soft' has an activation": keras.Sequential([x, layers.Dense(3, "softmax", name="soft")]),
        "layer 'six' has an activation": keras.Sequential([x, layers.Dense(3, "relu6", name="six")]),
        "layer 'norm' .BatchNorm": keras.Sequential([x, layers.BatchNormalization(name="norm")]),
        "layer 'flat' .Dense. on shape .3, 3.": keras.Sequential([keras.Input((3, 3)), layers.Dense(2, name="flat")]),
        "layer 'sum' has an activation": keras.Sequential([x, layers.Dense(3, keras.ops.sum, name="sum")]),
        "2 inputs and 1 outputs": keras.Model([x, keras.Input((3,))], dense(x)),
        r"input of shape \(None,\)": keras.Sequential([keras.Input((None,)), layers.Activation("tanh")]),
        "is not built": keras.Sequential([layers.Dense(2)]),
        "int given": 3,
    }
    for message, model in cases.items():
        with pytest.raises(refusal(message), match=message):
            MLP.from_keras(model)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="the conversion from PyTorch needs torch")


def test_torch(torch):
    torch.manual_seed(0)
    nn = torch.nn
    smooth = {
        "tanh": nn.Tanh(),
        "sigmoid": nn.Sigmoid(),
        "softplus": nn.Softplus(),
        "gelu": nn.GELU(),
        "silu": nn.SiLU(),
    }
    smooth |= {
        "gelu_tanh": nn.GELU(approximate="tanh"),
        "relu": nn.ReLU(),
        "elu(0.7)": nn.ELU(0.7),
        "celu(0.7)": nn.CELU(0.7),
    }
    smooth |= {"leaky_relu": nn.LeakyReLU()}
    parts = [nn.Flatten()]
    for part in smooth.values():
        parts += [nn.Linear(6, 6), part, nn.Dropout()]
    module = nn.Sequential(*parts, nn.Sequential(nn.Identity(), nn.Linear(6, 2, bias=False))).double().eval()
    mlp = MLP.from_torch(module)
    assert mlp.activation == tuple(smooth)
    x = torch.randn(9, 6, dtype=torch.float64)
    assert np.allclose(mlp(x.numpy()), module(x).detach().numpy(), rtol=0, atol=1e-14)
    assert MLP.from_torch(nn.Linear(3, 2)).depth == 0
    for message, bad in {
        r"module\[1\]: BatchNorm1d": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)),
        r"module\[1\]\[0\]: Softmax": nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Softmax(dim=-1))),
        "no Linear layer": nn.Sequential(nn.Tanh()),
        "dict given": {},
    }.items():
        with pytest.raises(ValueError, match=message):
            MLP.from_torch(bad)


def test_a_torch_module_that_stands_twice():
    torch = pytest.importorskip("torch", reason="PyTorch is not in the lock: it is gigabytes")
    linear, tanh = [torch.nn.Linear(3, 3, dtype=torch.float64) for _ in range(3)], torch.nn.Tanh()
    module = torch.nn.Sequential(linear[0], tanh, linear[1], tanh, linear[2])
    mlp = MLP.from_torch(module)
    x = np.random.default_rng(0).standard_normal((4, 3))
    with torch.no_grad():
        np.testing.assert_allclose(mlp(x), module(torch.tensor(x)).numpy(), rtol=1e-13)


def test_a_torch_module_with_a_forward_of_its_own():
    torch = pytest.importorskip("torch", reason="PyTorch is not in the lock: it is gigabytes")

    class Doubled(torch.nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(ValueError, match="^module: its layers, one after the other, do not give its output"):
        MLP.from_torch(Doubled(torch.nn.Linear(2, 1)))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_sklearn(activation, outputs):
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is in the [test] extra")
    random = np.random.default_rng(0)
    x, y = random.standard_normal((40, 3)), random.standard_normal((40, outputs))
    model = neural_network.MLPRegressor(hidden_layer_sizes=(5, 4), activation=activation, max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three iterations are not meant to converge
        model.fit(x, y if outputs > 1 else y[:, 0])
    np.testing.assert_allclose(MLP.from_sklearn(model)(x), model.predict(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("scaler", "options"),
    [
        ("StandardScaler", {}),
        ("StandardScaler", {"with_mean": False}),
        ("StandardScaler", {"with_std": False}),
        ("RobustScaler", {}),
        ("RobustScaler", {"with_centering": False, "with_scaling": False}),
        ("MinMaxScaler", {}),
        ("MaxAbsScaler", {}),
    ],
)
def test_sklearn_scalers_are_folded_in(scaler, options):
    sklearn = pytest.importorskip("sklearn", reason="scikit-learn is in the [test] extra")
    from sklearn import compose, neural_network, pipeline, preprocessing

    random = np.random.default_rng(0)
    x = np.array([0.1, 90.0, -3.0]) + np.array([0.01, 20.0, 0.0]) * random.standard_normal((60, 3))  # one is constant
    y = 150 + 7 * np.tanh(x[:, 1] - 90)
    network = neural_network.MLPRegressor(hidden_layer_sizes=(5,), activation="tanh", solver="lbfgs", random_state=0)
    scale = getattr(preprocessing, scaler)
    inner = pipeline.make_pipeline(scale(**options), None, network)
    model = compose.TransformedTargetRegressor(inner, transformer=scale(**options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        model.fit(x, y)
    mlp = MLP.from_sklearn(model)
    np.testing.assert_allclose(mlp(x), model.predict(x), rtol=1e-10)
    # The chain rule: a derivative in the data's units is one in scaled units over each unit.
    first, last = model.regressor_[0], MLP.from_sklearn(model.regressor_[-1])
    units, of_y = (
        (step.inverse_transform(np.ones((1, n))) - step.inverse_transform(np.zeros((1, n))))[0]
        for step, n in ((first, 3), (model.transformer_, 1))
    )
    scaled = taylor.derivative_tensor(last, 2, first.transform(x[:4])).full()
    raw = taylor.derivative_tensor(mlp, 2, x[:4]).full()
    expected = of_y * scaled / np.multiply.outer(units, units)[..., None]
    np.testing.assert_allclose(raw, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_sklearn_fitted_on_named_columns():
    pandas = pytest.importorskip("pandas")
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is in the [test] extra")
    x = np.random.default_rng(0).standard_normal((40, 2))
    model = neural_network.MLPRegressor(hidden_layer_sizes=(4,), activation="tanh", random_state=0)
    frame = pandas.DataFrame(x, columns=["one", "two"])
    model.partial_fit(frame, x[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mlp = MLP.from_sklearn(model)
    np.testing.assert_allclose(mlp(x), model.predict(frame), rtol=1e-12)


def test_what_is_no_sklearn_regressor():
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is in the [test] extra")
    from sklearn import compose, pipeline, preprocessing

    x = np.random.default_rng(0).standard_normal((20, 2))
    fitted = neural_network.MLPRegressor(hidden_layer_sizes=(3,), random_state=0).partial_fit(x, x[:, 0])
    for model, message in (
        (neural_network.MLPRegressor(), "MLPRegressor is not fitted"),
        (pipeline.make_pipeline(neural_network.MLPRegressor()), "MLPRegressor is not fitted"),
        (compose.TransformedTargetRegressor(), "TransformedTargetRegressor is not fitted"),
        (pipeline.make_pipeline(preprocessing.StandardScaler(), fitted), "StandardScaler is not fitted"),
        (pipeline.make_pipeline(preprocessing.PolynomialFeatures(), fitted), "PolynomialFeatures is no scaling"),
        (pipeline.make_pipeline(preprocessing.MinMaxScaler(clip=True).fit(x), fitted), "its layers, one after"),
        (3, "int given"),
    ):
        with pytest.raises(refusal(message), match=f"^model: {message}"):
            MLP.from_sklearn(model)
    classes = neural_network.MLPClassifier(hidden_layer_sizes=(2,), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classes.fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="^model: its output goes through 'logistic'"):
        MLP.from_sklearn(classes)
