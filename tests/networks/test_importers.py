"""Compare imported networks with the outputs of Keras, PyTorch, scikit-learn, ONNX."""

import math
import warnings

import models
import numpy as np
import pytest
from oracles import refusal

from paperlib import taylor
from paperlib.networks import activations
from paperlib.networks.importers import affine_graph, pytorch
from paperlib.networks.mlp import MLP


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip(
        "keras", reason="the conversion from Keras needs the [train] extra"
    )


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
    "relu": "relu",
    "elu": "elu",
    "leaky_relu": "leaky_relu(0.2)",
}


@pytest.mark.parametrize("name", KERAS_ACTIVATIONS)
def test_keras_activations(keras, name):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, name),
            keras.layers.Dense(4, name),
            keras.layers.Dense(2),
        ]
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
    normalization.adapt(
        np.random.default_rng(0).normal(3, 2, (100, 4, 3)).astype(np.float32)
    )
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
        [
            keras.Input((3,)),
            layers.Rescaling(2.0, 1.0),
            layers.Activation("tanh"),
            layers.Dense(1),
        ]
    )
    mlp = MLP.from_keras(model)
    assert mlp.activation == "tanh" and mlp.weights[0].shape == (3, 3)
    predictions_agree(model, mlp, (3,))


def test_keras_nested_and_wrapped(keras):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Dense(4, lambda z: keras.activations.gelu(z, approximate=True))]
    )
    model = keras.Sequential([keras.Input((3,)), inner, layers.Dense(1)])
    mlp = MLP.from_keras(model)
    assert mlp.activation == "gelu_tanh"
    predictions_agree(model, mlp, (3,))


def test_keras_refusals(keras):
    layers, x = keras.layers, keras.Input((3,))
    dense = layers.Dense(3, "tanh", name="twice")

    class Foreign(keras.Model):
        def call(self, x):
            return np.asarray(x)

    foreign = Foreign()
    foreign.built, foreign._build_shapes_dict = True, {"input_shape": (1, 3)}
    cases = {
        "layer 'soft' .Dense.'s activation is neither affine nor elementwise": (
            keras.Sequential([x, layers.Dense(3, "softmax", name="soft")])
        ),
        "layer 'six' .Dense.'s activation is an elementwise function that is not "
        "supported": keras.Sequential([x, layers.Dense(3, "relu6", name="six")]),
        "layer 'norm' .LayerNorm.* is neither affine nor elementwise": keras.Sequential(
            [x, layers.LayerNormalization(name="norm")]
        ),
        "its call must be a graph of Keras' own operations": foreign,
        "1 inputs and 2 outputs": keras.Model(x, [dense(x), x]),
        "2 inputs and 1 outputs": keras.Model([x, keras.Input((3,))], dense(x)),
        r"the input has shape \(None,\) past its first axis; every length must be fixed": keras.Sequential(
            [keras.Input((None,)), layers.Activation("tanh")]
        ),
        "is not built": keras.Sequential([layers.Dense(2)]),
        "int given": 3,
    }
    for message, model in cases.items():
        with pytest.raises(refusal(message), match=message):
            MLP.from_keras(model)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip(
        "torch", reason="the conversion from PyTorch needs torch"
    )


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
    module = (
        nn.Sequential(*parts, nn.Sequential(nn.Identity(), nn.Linear(6, 2, bias=False)))
        .double()
        .eval()
    )
    mlp = MLP.from_torch(module)
    assert mlp.activation == tuple(smooth)
    x = torch.randn(9, 6, dtype=torch.float64)
    assert np.allclose(mlp(x.numpy()), module(x).detach().numpy(), rtol=0, atol=1e-14)
    assert MLP.from_torch(nn.Linear(3, 2)).depth == 0
    with pytest.raises(TypeError, match="dict given"):
        MLP.from_torch({})
    with pytest.raises(ValueError, match="takes no input of a shape that was tried"):
        MLP.from_torch(
            nn.Sequential(
                nn.Unflatten(1, (1, 8)),
                nn.Conv1d(1, 4, 3),
                nn.Flatten(),
                nn.Linear(24, 1),
            )
        )

    class Pair(nn.Module):
        def forward(self, x, y):
            return x + y

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(x), x

    with pytest.raises(ValueError, match="takes no input of a shape"):
        MLP.from_torch(Pair(), np.zeros((1, 3)))
    with pytest.raises(
        ValueError,
        match="^module: returns a sequence of 2 arrays; must return one array$",
    ):
        MLP.from_torch(Both())


def test_a_torch_module_that_is_used_twice():
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not in the lock, because it has gigabytes"
    )
    linear, tanh = (
        [torch.nn.Linear(3, 3, dtype=torch.float64) for _ in range(3)],
        torch.nn.Tanh(),
    )
    module = torch.nn.Sequential(linear[0], tanh, linear[1], tanh, linear[2])
    mlp = MLP.from_torch(module)
    x = np.random.default_rng(0).standard_normal((4, 3))
    with torch.no_grad():
        np.testing.assert_allclose(mlp(x), module(torch.tensor(x)).numpy(), rtol=1e-13)


def test_a_torch_module_with_a_forward_of_its_own():
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not in the lock, because it has gigabytes"
    )

    class Doubled(torch.nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    module = Doubled(torch.nn.Linear(2, 1, dtype=torch.float64))
    with torch.no_grad():
        np.testing.assert_allclose(
            MLP.from_torch(module)([1.0, 2.0]),
            module(torch.tensor([1.0, 2.0], dtype=torch.float64))[0],
        )


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_sklearn(activation, outputs):
    neural_network = pytest.importorskip(
        "sklearn.neural_network", reason="scikit-learn is in the [test] extra"
    )
    random = np.random.default_rng(0)
    x, y = random.standard_normal((40, 3)), random.standard_normal((40, outputs))
    model = neural_network.MLPRegressor(
        hidden_layer_sizes=(5, 4), activation=activation, max_iter=3, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three iterations are not meant to converge
        model.fit(x, y if outputs > 1 else y[:, 0])
    np.testing.assert_allclose(
        MLP.from_sklearn(model)(x), model.predict(x), rtol=1e-12, atol=1e-14
    )


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
    sklearn = pytest.importorskip(
        "sklearn", reason="scikit-learn is in the [test] extra"
    )
    from sklearn import compose, neural_network, pipeline, preprocessing

    random = np.random.default_rng(0)
    # One is constant
    x = np.array([0.1, 90.0, -3.0]) + np.array(
        [0.01, 20.0, 0.0]
    ) * random.standard_normal((60, 3))
    y = 150 + 7 * np.tanh(x[:, 1] - 90)
    network = neural_network.MLPRegressor(
        hidden_layer_sizes=(5,), activation="tanh", solver="lbfgs", random_state=0
    )
    scale = getattr(preprocessing, scaler)
    inner = pipeline.make_pipeline(scale(**options), None, network)
    model = compose.TransformedTargetRegressor(inner, transformer=scale(**options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        model.fit(x, y)
    mlp = MLP.from_sklearn(model)
    np.testing.assert_allclose(mlp(x), model.predict(x), rtol=1e-10)
    # The chain rule: a derivative in the data's units is one in scaled units over each
    # unit.
    first, last = model.regressor_[0], MLP.from_sklearn(model.regressor_[-1])
    units, of_y = (
        (
            step.inverse_transform(np.ones((1, n)))
            - step.inverse_transform(np.zeros((1, n)))
        )[0]
        for step, n in ((first, 3), (model.transformer_, 1))
    )
    scaled = taylor.derivative_tensor(last, 2, first.transform(x[:4])).full()
    raw = taylor.derivative_tensor(mlp, 2, x[:4]).full()
    expected = of_y * scaled / np.multiply.outer(units, units)[..., None]
    np.testing.assert_allclose(
        raw, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max()
    )


def test_sklearn_fitted_on_named_columns():
    pandas = pytest.importorskip("pandas")
    neural_network = pytest.importorskip(
        "sklearn.neural_network", reason="scikit-learn is in the [test] extra"
    )
    x = np.random.default_rng(0).standard_normal((40, 2))
    model = neural_network.MLPRegressor(
        hidden_layer_sizes=(4,), activation="tanh", random_state=0
    )
    frame = pandas.DataFrame(x, columns=["one", "two"])
    model.partial_fit(frame, x[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mlp = MLP.from_sklearn(model)
    np.testing.assert_allclose(mlp(x), model.predict(frame), rtol=1e-12)


def test_unsupported_sklearn_estimators():
    neural_network = pytest.importorskip(
        "sklearn.neural_network", reason="scikit-learn is in the [test] extra"
    )
    from sklearn import compose, linear_model, pipeline, preprocessing

    x = np.random.default_rng(0).standard_normal((20, 2))
    fitted = neural_network.MLPRegressor(
        hidden_layer_sizes=(3,), random_state=0
    ).partial_fit(x, x[:, 0])
    for model, message in (
        (neural_network.MLPRegressor(), "MLPRegressor is not fitted"),
        (
            pipeline.make_pipeline(neural_network.MLPRegressor()),
            "MLPRegressor is not fitted",
        ),
        (
            compose.TransformedTargetRegressor(),
            "TransformedTargetRegressor is not fitted",
        ),
        (
            pipeline.make_pipeline(preprocessing.StandardScaler(), fitted),
            "StandardScaler is not fitted",
        ),
        (
            pipeline.make_pipeline(preprocessing.Normalizer().fit(x), fitted),
            "Normalizer is neither affine nor elementwise",
        ),
        (linear_model.LinearRegression().fit(x, x[:, 0]), "LinearRegression given"),
        (3, "int given"),
    ):
        with pytest.raises(refusal(message), match=f"^model: {message}"):
            MLP.from_sklearn(model)
    classes = neural_network.MLPClassifier(hidden_layer_sizes=(2,), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classes.fit(np.eye(4), [0, 1, 2, 1])
    with pytest.raises(
        ValueError,
        match="^model: its output has the activation 'softmax'; must have one or two classes",
    ):
        MLP.from_sklearn(classes)


def test_a_scaler_that_clips_is_imported_without_its_clipping_and_warns():
    neural_network = pytest.importorskip(
        "sklearn.neural_network", reason="scikit-learn is in the [test] extra"
    )
    from sklearn import pipeline, preprocessing

    x = np.random.default_rng(0).uniform(-1, 1, (30, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = neural_network.MLPRegressor(
            hidden_layer_sizes=(4,), activation="tanh", max_iter=5, random_state=0
        )
        model = pipeline.make_pipeline(
            preprocessing.MinMaxScaler(clip=True), network
        ).fit(x, x[:, 0])
    with pytest.warns(
        UserWarning,
        match=r"^MinMaxScaler\(clip=True\) is imported without its clipping: "
        r"the network is valid for \[.*\] <= x <= \[",
    ):
        mlp = MLP.from_sklearn(model)
    np.testing.assert_allclose(mlp(x), model.predict(x), rtol=1e-10)
    assert model[0].clip  # the user's own still does


@pytest.mark.parametrize("name", models.TORCH)
def test_torch_modules_that_people_write(torch, name):
    module, example = models.model_of(models.TORCH[name], torch)
    modes = [part.training for part in module.modules()]
    before = {key: value.clone() for key, value in module.state_dict().items()}
    mlp = models.imported(MLP.from_torch, module, example)
    assert modes == [part.training for part in module.modules()]
    assert all(
        torch.equal(value, before[key]) for key, value in module.state_dict().items()
    )
    own = pytorch.evaluation_copy(module)
    shape = (
        (1, mlp.dim) if "Conv1d` on" in name or "convolutions" in name else (mlp.dim,)
    )
    x = torch.tensor(0.3 * np.random.default_rng(1).standard_normal((6, *shape)))
    with torch.no_grad():
        ours, theirs = (
            mlp(x.numpy().reshape(6, -1)).reshape(6, -1),
            own(x).numpy().reshape(6, -1),
        )
    # PyTorch differentiates celu with an alpha of single precision; a slope of single
    # precision is taken as the decimal that it stands for; and 30 to the fifth makes
    # more of any rounding.
    known = {"celu(0.1)": 1e-7, "PReLU": 1e-8, "SIREN": 1e-9}
    rounding = next((size for word, size in known.items() if word in name), 1e-12)
    assert np.abs(ours - theirs).max() < rounding * (1 + np.abs(theirs).max())
    nested = lambda at: own(at[None]).reshape(-1)[0]  # noqa: E731
    for order in range(1, 5 if mlp.dim < 9 else 3):
        nested = torch.func.jacfwd(nested)
        full = nested(x[0]).detach().numpy().reshape((mlp.dim,) * order)
        got = taylor.derivative_tensor(mlp, order, x[0].numpy().ravel()).full()
        got = got[..., 0] if mlp.outputs > 1 else got
        assert np.abs(got - full).max() < max(1e-9, 10 * rounding) * max(
            np.abs(full).max(), 1e-3
        ), order


@pytest.mark.parametrize("name", models.TORCH_REFUSED)
def test_unsupported_torch_modules(torch, name):
    with pytest.raises(ValueError, match="^module: ") as caught:
        models.imported(
            MLP.from_torch, *models.model_of(models.TORCH_REFUSED[name], torch)
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", models.KERAS)
def test_keras_models_that_people_write(keras, name):
    model, _ = models.model_of(models.KERAS[name], keras)
    nodes = [
        (len(layer._inbound_nodes), len(layer._outbound_nodes))
        for layer in model.layers
    ]
    before = [np.array(weight) for weight in model.get_weights()]
    mlp = MLP.from_keras(model)
    assert nodes == [
        (len(layer._inbound_nodes), len(layer._outbound_nodes))
        for layer in model.layers
    ]
    assert all(
        np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)
    )
    shape = (8, 1) if "Conv1D" in name else (mlp.dim,)
    predictions_agree(model, mlp, shape)
    if "softsign" in name:
        return  # TensorFlow has no second derivative of it
    tf = pytest.importorskip("tensorflow")
    at, v = (
        tf.constant(
            0.3 * np.random.default_rng(k).standard_normal((1, *shape)), tf.float32
        )
        for k in (1, 2)
    )
    along = taylor.directional_derivatives(
        mlp, 4, v.numpy().ravel(), at.numpy().ravel()
    ).reshape(-1, 5)

    def differentiated(function):
        def slope(t):
            with tf.GradientTape() as tape:
                tape.watch(t)
                y = function(t)
            found = tape.gradient(y, t)
            return tf.zeros(()) if found is None else found

        return slope

    for output in range(mlp.outputs):
        nested = lambda t: model(at + t * v)[0, output]  # noqa: B023, E731
        for order in range(1, 5):
            nested = differentiated(nested)
            assert abs(
                along[output, order] - nested(tf.zeros(())).numpy()
            ) < 1e-4 * max(1, np.abs(along).max()), order


@pytest.mark.parametrize("name", models.KERAS_REFUSED)
def test_unsupported_keras_models(keras, name):
    with pytest.raises(ValueError, match="^model: layer ") as caught:
        MLP.from_keras(models.model_of(models.KERAS_REFUSED[name], keras)[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", models.SKLEARN)
def test_estimators_that_people_write(name):
    sklearn = pytest.importorskip(
        "sklearn", reason="scikit-learn is in the [test] extra"
    )
    model, _ = models.model_of(models.SKLEARN[name], sklearn)
    mlp = models.imported(MLP.from_sklearn, model, None)
    x = np.random.default_rng(5).normal([0, 5, 1], [0.5, 5, 0.05], (20, 3))
    given = x
    if hasattr(model, "feature_names_in_"):
        given = pytest.importorskip("pandas").DataFrame(
            x, columns=model.feature_names_in_
        )
    expected = (
        model.predict_proba(given)[:, 1]
        if hasattr(model, "predict_proba")
        else model.predict(given)
    )
    np.testing.assert_allclose(mlp(x), expected, rtol=1e-10)


@pytest.mark.parametrize(
    "name",
    [
        "residual and dense skips, slices",
        "activations put together by hand, `z * sigmoid(z)`",
        "`BatchNorm1d`, as in evaluation",
        "`PReLU`, a slope for each neuron",
        "`Conv1d` on 8 inputs",
        "a residual network for tables",
    ],
)
def test_onnx(torch, tmp_path, name):
    onnx = pytest.importorskip("onnx", reason="needs the [onnx] extra")
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not in the lock"
    )
    module, _ = models.model_of(models.TORCH[name], torch)
    mlp = MLP.from_torch(module)
    shape = (1, mlp.dim) if "Conv1d" in name else (mlp.dim,)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.zeros((1, *shape)),),
            path,
            dynamo=False,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
    x = np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    theirs = runtime.InferenceSession(path).run(None, {"x": x})[0].reshape(5, -1)
    for model in (path, str(path), onnx.load(path)):
        again = MLP.from_onnx(model)
        assert np.abs(again(x.reshape(5, -1)).reshape(5, -1) - theirs).max() < 1e-5 * (
            1 + np.abs(theirs).max()
        )


def test_unsupported_onnx_models(tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs the [onnx] extra")
    (tmp_path / "a.onnx").write_bytes(b"no such thing" * 9)
    info, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT

    def model(*shape):
        node = onnx.helper.make_node("Softmax", ["x"], ["y"], name="soft")
        return onnx.helper.make_model(
            onnx.helper.make_graph(
                [node], "g", [info("x", kind, shape)], [info("y", kind, shape)]
            )
        )

    for given, error, message in (
        (tmp_path / "no.onnx", FileNotFoundError, "no such file"),
        (tmp_path / "a.onnx", ValueError, "must be an ONNX file"),
        (3, TypeError, "int given; must be a path or an onnx.ModelProto"),
        (
            model("n", "m"),
            ValueError,
            "past its first axis; every length must be fixed",
        ),
        (
            model("n", 3),
            ValueError,
            "node 'soft' .Softmax. is neither affine nor elementwise",
        ),
    ):
        with pytest.raises(error, match=message):
            MLP.from_onnx(given)


@pytest.mark.parametrize("name", models.IMPORTERS)
def test_the_page_shows_the_results(name):
    pytest.importorskip(models.IMPORTERS[name][0])
    assert models.section(name) in models.PAGE.read_text(), (
        "python tests/helpers/models.py"
    )


def test_a_custom_activation_expands_and_is_not_saved(tmp_path):
    cosine = activations.Custom(
        "cosine",
        lambda z, order: np.stack(
            [np.cos(z + k * np.pi / 2) / math.factorial(k) for k in range(order + 1)]
        ),
    )
    random = np.random.default_rng(0)
    weights, biases = (
        [random.standard_normal((4, 3)), random.standard_normal((1, 4))],
        [random.standard_normal(4), np.zeros(1)],
    )
    mlp, sine = (
        MLP(weights, biases, cosine),
        MLP(weights, [biases[0] + np.pi / 2, biases[1]], "sin"),
    )
    for order in range(5):
        ours, theirs = (
            taylor.derivative_tensor(network, order).packed for network in (mlp, sine)
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-13)
    assert repr(mlp) == "MLP(3-4-1, cosine)"
    with pytest.raises(
        ValueError,
        match="activation = 'cosine': cannot be saved; must be one of activ",
    ):
        mlp.save(tmp_path / "a.npz")


def layers_of(operation, shape=(1, 4)):
    """Return the layers of a network that consists of one operation on its input."""
    return affine_graph.layers(
        affine_graph.applied("it", operation, [affine_graph.inputs(shape)])
    )


def refused(operation, shape=(1, 4)):
    with pytest.raises(ValueError, match="^it is ") as caught:
        layers_of(operation, shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4)])
@pytest.mark.parametrize(
    "bound",
    [
        lambda x, b: np.clip(x, -b, b),
        lambda x, b: np.clip(x, 0, b),
        lambda x, b: np.minimum(x, b),
        lambda x, b: np.where(abs(x) < b / 1e4, 0, x),
        lambda x, b: np.where(x > b / 1e4, x, 0),
    ],
)
@pytest.mark.parametrize("size", [0.5, 45.0, 70.0, 2e3, 1e5])
def test_a_kink_is_seen_wherever_it_is(bound, size, shape):
    """A clamp is neither affine nor a ReLU, wherever its kinks are."""
    refused(lambda x: bound(x, size), shape)


def test_an_operation_that_returns_its_argument():
    weights, _, names = layers_of(lambda x: x)
    assert not names and np.array_equal(weights[0], np.eye(4))


def test_a_small_output_is_compared_with_its_own_size():
    refused(lambda x: np.stack([1e9 * x[0], np.tanh(x[0])], axis=-1))


def test_a_function_of_all_elements_is_not_elementwise():
    refused(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), (1, 3, 2))
    refused(lambda x: x - x.mean() + np.tanh(x))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (
            lambda z: np.where(
                z > 0,
                2.5 * np.expm1(np.minimum(z, 0) / 2.5) + z,
                2.5 * np.expm1(np.minimum(z, 0) / 2.5),
            ),
            "celu(2.5)",
        ),
        (lambda z: np.logaddexp(0, z / 3) * 3, f"softplus({1 / 3})"),
        (lambda z: np.log(1 + np.exp(z)), "softplus"),
        (lambda z: (z + np.sqrt(z * z + 4)) / 2, "squareplus"),
        (lambda z: np.where(z > 0, z, -0.5 * z), "leaky_relu(-0.5)"),
        (np.abs, "leaky_relu(-1.0)"),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 4)])
def test_functions_are_recognised_by_their_values(function, name, shape):
    _, _, (found,) = layers_of(function, shape)
    (expected,) = activations.parse(name)[1:]
    assert found.split("(")[0] == name.split("(")[0]
    assert expected is None or activations.parse(found)[1] == pytest.approx(
        expected, rel=1e-12
    )


def test_masks_and_sums_of_functions_by_hand(torch):
    class Hand(torch.nn.Module):
        def __init__(self, function):
            super().__init__()
            self.first, self.last, self.function = (
                torch.nn.Linear(3, 4),
                torch.nn.Linear(4, 1),
                function,
            )

        def forward(self, x):
            return self.last(self.function(self.first(x)))

    cubic = 0.044715
    for function, name in (
        (lambda z: torch.where(z > 0, z, 0.1 * z), "leaky_relu(0.1)"),
        (lambda z: z * (z > 0), "relu"),
        (lambda z: z.masked_fill(z < 0, 0.0), "relu"),
        (
            lambda z: (
                0.5 * z * (1 + torch.tanh((2 / math.pi) ** 0.5 * (z + cubic * z**3)))
            ),
            "gelu_tanh",
        ),
        (lambda z: torch.cat(z.chunk(2, dim=1), dim=1), None),
        (
            lambda z: (
                torch.stack(torch.tanh(z).split(2, dim=1), dim=0)
                .sum(dim=0)
                .repeat(1, 2)
            ),
            "tanh",
        ),
    ):
        module = Hand(function).double()
        mlp = MLP.from_torch(module)
        assert mlp.activation == (name if name else ())
        x = torch.randn(5, 3, dtype=torch.float64)
        with torch.no_grad():
            theirs = np.array([module(row[None]).item() for row in x])
        np.testing.assert_allclose(mlp(x.numpy()), theirs, atol=1e-12)


def test_torch_shapes_that_need_an_example(torch):
    pooled = torch.nn.Sequential(
        torch.nn.Conv1d(1, 2, 3),
        torch.nn.AdaptiveAvgPool1d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(2, 1),
    )
    with pytest.raises(ValueError, match="takes inputs of any length; give an example"):
        MLP.from_torch(pooled)
    assert MLP.from_torch(pooled, np.zeros((1, 1, 9))).dim == 9
    with pytest.raises(
        ValueError, match=r"example: shape \(3,\); must have an axis for the batch"
    ):
        MLP.from_torch(torch.nn.Linear(3, 1), np.zeros(3))


def test_a_recurrent_layer_is_not_an_affine_map_and_its_activation(keras):
    model = keras.Sequential(
        [keras.Input((3, 2)), keras.layers.SimpleRNN(4), keras.layers.Dense(1)]
    )
    with pytest.raises(ValueError, match="SimpleRNN"):
        MLP.from_keras(model)


def test_keras_outputs_in_a_list_and_splits(keras):
    x = keras.Input((4,))
    halves = keras.ops.split(keras.layers.Dense(4, "tanh")(x), 2, axis=-1)
    model = keras.Model([x], [keras.layers.Dense(1)(halves[0]) + halves[1][:, :1]])
    predicted = model.predict(np.ones((2, 4), np.float32), verbose=0)[0]
    np.testing.assert_allclose(
        MLP.from_keras(model)(np.ones((2, 4))), np.ravel(predicted)[0], rtol=1e-5
    )


def test_estimators_whose_steps_do_nothing():
    neural_network = pytest.importorskip(
        "sklearn.neural_network", reason="scikit-learn is in the [test] extra"
    )
    from sklearn import compose, pipeline, preprocessing

    x = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = neural_network.MLPRegressor(
            hidden_layer_sizes=(4,), activation="tanh", max_iter=5, random_state=0
        )
        nothing = pipeline.Pipeline(
            [("a", None), ("b", "passthrough"), ("c", network)]
        ).fit(x, x[:, 0])
        same = pipeline.make_pipeline(preprocessing.FunctionTransformer(), network).fit(
            x, x[:, 0]
        )
        target = compose.TransformedTargetRegressor(network).fit(x, x[:, 0])
        labels = neural_network.MLPClassifier(hidden_layer_sizes=(2,), max_iter=1).fit(
            x, (x > 0).astype(int)
        )
        inner = pipeline.make_pipeline(
            preprocessing.MinMaxScaler(clip=True), preprocessing.StandardScaler()
        )
        clipped = pipeline.make_pipeline(inner, network).fit(x, x[:, 0])
        for model in (nothing, same, target, clipped):
            np.testing.assert_allclose(
                MLP.from_sklearn(model)(x), model.predict(x), rtol=1e-9
            )
        with pytest.raises(ValueError, match="must have one or two classes"):
            MLP.from_sklearn(labels)


def test_a_step_that_fails_without_a_message_is_one_line():
    neural_network = pytest.importorskip(
        "sklearn.neural_network", reason="scikit-learn is in the [test] extra"
    )
    from sklearn import pipeline, preprocessing

    def picky(x):
        if np.asarray(x).shape[0] == 1:
            raise ArithmeticError
        return x

    x = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = neural_network.MLPRegressor(hidden_layer_sizes=(2,), max_iter=2)
        model = pipeline.make_pipeline(
            preprocessing.FunctionTransformer(picky), network
        ).fit(x, x[:, 0])
    with pytest.raises(
        ValueError,
        match=r"^model: FunctionTransformer cannot be evaluated \(ArithmeticError\)$",
    ):
        MLP.from_sklearn(model)
