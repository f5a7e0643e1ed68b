"""Define models of each framework, both supported and unsupported by the importers.

`python tests/helpers/models.py` writes the tables of docs/networks.md. The tables of
frameworks that are not installed stay as they are. Each model is made by a function of
its framework's module, so that frameworks that are not installed are not imported. The
function may also return an example input beside the model.
"""

import importlib
import importlib.util
import warnings
from pathlib import Path

import numpy as np

from paperlib.networks.mlp import MLP

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def _two_layers(torch):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(3, 5), torch.nn.Linear(5, 2)

        def forward(self, x):
            return self.last(torch.tanh(self.first(x)))

    return Two()


def _wrapped(torch, scale=1):
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(
                torch.nn.Linear(3, 4), torch.nn.SiLU(), torch.nn.Linear(4, 1)
            )

        def forward(self, x):
            return scale * self.net(x).squeeze(-1)

    return Wrapped()


def _residual(torch):
    class Residual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = (
                torch.nn.Linear(3, 5),
                torch.nn.Linear(5, 5),
                torch.nn.Linear(8, 1),
            )

        def forward(self, x):
            h = torch.tanh(self.first(x))
            h = h + torch.nn.functional.silu(self.second(h))
            return self.last(torch.cat([h, x], dim=-1)) + 2 * x[:, :1]

    return Residual()


def _siren(torch, layers=2):
    class Sine(torch.nn.Module):
        def forward(self, x):
            return torch.sin(30 * x)

    parts = [torch.nn.Linear(2, 8), Sine()]
    for _ in range(layers - 1):
        parts += [torch.nn.Linear(8, 8), Sine()]
    return torch.nn.Sequential(*parts, torch.nn.Linear(8, 1))


def _by_hand(torch):
    class Hand(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1)

        def forward(self, x):
            z = self.first(x)
            return self.last(z * torch.sigmoid(z) + 0.5 * torch.nn.functional.relu(-z))

    return Hand()


def _with_statistics(torch):
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4),
        torch.nn.BatchNorm1d(4),
        torch.nn.Tanh(),
        torch.nn.Linear(4, 1),
    )
    module(3 * torch.randn(20, 3) + 1)
    return module


def _weight_norm(torch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.nn.Sequential(
            torch.nn.utils.weight_norm(torch.nn.Linear(3, 4)),
            torch.nn.Tanh(),
            torch.nn.Linear(4, 1),
        )
    module(torch.randn(2, 3))
    module[0].weight_g.data *= 2
    return module


def _spectral_norm(torch):
    first = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 4))
    return torch.nn.Sequential(first, torch.nn.Tanh(), torch.nn.Linear(4, 1)).train()


def _one_dropout_evaluated(torch):
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4),
        torch.nn.Dropout(),
        torch.nn.Tanh(),
        torch.nn.Linear(4, 1),
    ).train()
    module[1].eval()
    return module


def _prelu(torch):
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.PReLU(4), torch.nn.Linear(4, 1)
    )
    module[1].weight.data = torch.tensor([0.1, 0.2, 0.3, 0.25])
    return module


def _every_activation(torch):
    nn = torch.nn
    parts = []
    for each in (
        nn.Mish(),
        nn.SELU(),
        nn.Softsign(),
        nn.LogSigmoid(),
        nn.Tanhshrink(),
        nn.Softplus(beta=2),
        nn.GELU("tanh"),
        nn.CELU(0.7),
    ):
        parts += [nn.Linear(3, 3), each]
    return nn.Sequential(*parts, nn.Linear(3, 1))


def _values_decide(torch):
    class Decides(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 1)

        def forward(self, x):
            return self.linear(x) if x.sum() > 0 else -self.linear(x)

    return Decides()


def _attention(torch):
    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(x) * torch.softmax(x, dim=-1)

    return Attention()


def _pinn(torch):
    sizes = [2, 20, 20, 20, 20, 1]
    layers = [torch.nn.Linear(i, o) for i, o in zip(sizes, sizes[1:])]

    class Pinn(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList(layers)

        def forward(self, x):
            x = 2 * (x - 0.5) / 1.5 - 1  # scaled by its bounds
            for layer in self.layers[:-1]:
                x = torch.tanh(layer(x))
            return self.layers[-1](x)

    return Pinn()


def _tabular(torch):
    """Normalisation, blocks and a head, after Gorishniy et al."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.drop = torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.1)
            self.up, self.down = torch.nn.Linear(6, 9), torch.nn.Linear(9, 6)

        def forward(self, x):
            return x + self.down(
                self.drop(torch.nn.functional.gelu(self.up(self.norm(x))))
            )

    return torch.nn.Sequential(
        torch.nn.Linear(5, 6),
        Block(),
        Block(),
        torch.nn.BatchNorm1d(6),
        torch.nn.SiLU(),
        torch.nn.Linear(6, 1),
    )


def _potential(torch):
    """Sum the energies of three atoms, each computed by the same network."""

    class Potential(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.atom = torch.nn.Sequential(
                torch.nn.Linear(4, 6), torch.nn.Softplus(), torch.nn.Linear(6, 1)
            )

        def forward(self, x):
            return self.atom(x.reshape(-1, 3, 4)).sum(dim=1)

    return Potential()


def _dense_net(torch):
    class Dense(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = torch.nn.ModuleList(
                torch.nn.Linear(3 + 4 * k, 4) for k in range(3)
            )
            self.head = torch.nn.Linear(15, 1)

        def forward(self, x):
            for step in self.steps:
                x = torch.cat([x, torch.nn.functional.elu(step(x))], dim=1)
            return self.head(x)

    return Dense()


def _fourier(torch):
    class Features(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("frequencies", torch.randn(2, 6))
            self.net = torch.nn.Sequential(
                torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
            )

        def forward(self, x):
            turned = 2 * torch.pi * x @ self.frequencies
            return self.net(torch.cat([torch.sin(turned), torch.cos(turned)], dim=-1))

    return Features()


def _stack(torch, sizes, activation, last=()):
    parts = []
    for i, o in zip(sizes, sizes[1:]):
        parts += [torch.nn.Linear(i, o), activation]
    return torch.nn.Sequential(*parts[:-1], *last)


def _highway(torch):
    class Highway(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.change = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x):
            gate = torch.sigmoid(self.gate(x))
            return gate * torch.tanh(self.change(x)) + (1 - gate) * x

    return Highway()


def _ritz(torch):
    class Ritz(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = (
                torch.nn.Linear(2, 4),
                torch.nn.Linear(4, 4),
                torch.nn.Linear(4, 1),
            )

        def forward(self, x):
            h = torch.nn.functional.pad(x, (0, 2))
            h = torch.relu(self.second(torch.relu(self.first(x)) ** 3)) ** 3 + h
            return self.last(h)

    return Ritz()


TORCH = {
    "class with two Linear and tanh in `forward`": _two_layers,
    "class that wraps a `Sequential`": _wrapped,
    "the same, scaled in its `forward`": lambda torch: _wrapped(torch, scale=2.5),
    "`torch.compile(m)`": lambda torch: torch.compile(_two_layers(torch)),
    "`nn.DataParallel(m)`": lambda torch: torch.nn.DataParallel(_two_layers(torch)),
    "residual and dense skips, slices": _residual,
    "activations put together by hand, `z * sigmoid(z)`": _by_hand,
    "`BatchNorm1d`, as in evaluation": _with_statistics,
    "`PReLU`, a slope for each neuron": _prelu,
    "`Conv1d` on 8 inputs": lambda torch: torch.nn.Sequential(
        torch.nn.Conv1d(1, 4, 3),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(24, 1),
    ),
    "the same behind an `Unflatten`, with `example=`": lambda torch: (
        torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, 8)),
            torch.nn.Conv1d(1, 4, 3),
            torch.nn.Tanh(),
            torch.nn.Flatten(),
            torch.nn.Linear(24, 1),
        ),
        np.zeros((1, 8)),
    ),
    "sin(30 z), as SIREN has it": _siren,
    "old `weight_norm`, changed since the last call": _weight_norm,
    "`parametrizations.spectral_norm`, in training mode": _spectral_norm,
    "training mode with one Dropout in evaluation mode": _one_dropout_evaluated,
    "bfloat16": lambda torch: _two_layers(torch).to(torch.bfloat16),
    "mish, selu, softsign, log-sigmoid, tanhshrink, softplus(2), ..": _every_activation,
    "a physics-informed network, inputs scaled by its bounds": _pinn,
    "a SIREN of five layers": lambda torch: _siren(torch, 5),
    "a residual network for tables": _tabular,
    "a potential-energy surface, summed over atoms, with `example=`": lambda torch: (
        _potential(torch),
        np.zeros((1, 12)),
    ),
    "densely connected layers": _dense_net,
    "a DeepONet's branch": lambda torch: torch.nn.Sequential(
        torch.nn.Linear(10, 12),
        torch.nn.ReLU(),
        torch.nn.Linear(12, 12),
        torch.nn.ReLU(),
        torch.nn.Linear(12, 4),
    ),
    "an equation of state, log-sigmoid at its output": lambda torch: (
        torch.nn.Sequential(
            torch.nn.Linear(2, 6),
            torch.nn.Tanh(),
            torch.nn.Linear(6, 1),
            torch.nn.LogSigmoid(),
        )
    ),
    "Fourier features, sin and cos of fixed projections": lambda torch: (
        _fourier(torch),
        np.zeros((1, 2)),
    ),
    "ANI's atomic networks, celu(0.1)": lambda torch: _stack(
        torch, [10, 8, 6, 4, 1], torch.nn.CELU(0.1)
    ),
    "parton distributions, 2-5-3-8 of sigmoids": lambda torch: _stack(
        torch, [2, 5, 3, 8], torch.nn.Sigmoid()
    ),
    "a Q-network": lambda torch: _stack(torch, [4, 16, 16, 2], torch.nn.ReLU()),
    "a policy's mean": lambda torch: _stack(
        torch, [6, 16, 16, 3], torch.nn.Tanh(), (torch.nn.Tanh(),)
    ),
    "a Hamiltonian network": lambda torch: _stack(
        torch, [2, 20, 20, 1], torch.nn.Tanh()
    ),
    "a Lagrangian network": lambda torch: _stack(
        torch, [4, 20, 20, 1], torch.nn.Softplus()
    ),
    "self-normalising, with AlphaDropout": lambda torch: torch.nn.Sequential(
        torch.nn.Linear(5, 8),
        torch.nn.SELU(),
        torch.nn.AlphaDropout(0.1),
        torch.nn.Linear(8, 1),
    ),
    "dilated causal convolutions": lambda torch: (
        torch.nn.Sequential(
            torch.nn.ConstantPad1d((2, 0), 0.0),
            torch.nn.Conv1d(1, 2, 2, dilation=2),
            torch.nn.Tanh(),
            torch.nn.Flatten(),
            torch.nn.Linear(12, 1),
        ),
        np.zeros((1, 1, 6)),
    ),
    "an encoder": lambda torch: _stack(torch, [12, 8, 4, 2], torch.nn.LeakyReLU(0.2)),
    "average pooling": lambda torch: (
        torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, 8)),
            torch.nn.AvgPool1d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(4, 3),
            torch.nn.Tanh(),
        ),
        np.zeros((1, 8)),
    ),
}
TORCH_REFUSED = {
    "LayerNorm": lambda torch: torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1)
    ),
    "Softmax": lambda torch: torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Softmax(dim=-1)
    ),
    "max pooling": lambda torch: (
        torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, 8)),
            torch.nn.MaxPool1d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(4, 1),
        ),
        np.zeros((1, 8)),
    ),
    "a product of values that depend on the inputs, as in attention": _attention,
    "a highway network": _highway,
    "the deep Ritz method's cubed ReLU": _ritz,
    "an LSTM": lambda torch: (
        torch.nn.LSTM(3, 2, batch_first=True),
        np.zeros((1, 4, 3)),
    ),
    "an activation that is not supported": lambda torch: torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Hardswish(), torch.nn.Linear(4, 1)
    ),
    "a `forward` that depends on the values of its input": _values_decide,
    "no layer that has the number of inputs": lambda torch: torch.nn.Sequential(
        torch.nn.Tanh()
    ),
}


def _keras_subclass(keras):
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)

        def call(self, x):
            return self.last(self.first(x)) + keras.ops.sum(x, axis=-1, keepdims=True)

    model = Mine()
    model(np.zeros((2, 3), np.float32))
    return model


def _keras_chain(*names):
    """Return a function that builds layers from their names and arguments."""

    def build(keras):
        x = y = keras.Input((3,))
        for name, *given in names:
            y = getattr(keras.layers, name)(*given)(y)
        return keras.Model(x, y)

    return build


def _keras_joined(how, sizes=(3, 2)):
    def build(keras):
        x = keras.Input((3,))
        h = keras.layers.Dense(sizes[0], "tanh")(x)
        return keras.Model(
            x, keras.layers.Dense(sizes[1])(getattr(keras.layers, how)()([h, x]))
        )

    return build


def _keras_norm(keras):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Dense(1),
        ]
    )
    random = np.random.default_rng(0)
    for weight in model.layers[1].weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def _keras_einsum(keras):
    x = keras.Input((3,))
    y = keras.layers.EinsumDense(
        "ab,bc->ac", output_shape=4, bias_axes="c", activation="gelu"
    )(x)
    return keras.Model(x, keras.layers.Dense(1)(y))


def _keras_conv(keras):
    x = keras.Input((8, 1))
    y = keras.layers.Flatten()(keras.layers.Conv1D(4, 3, activation="tanh")(x))
    return keras.Model(x, keras.layers.Dense(1)(y))


def _keras_twice(keras):
    x, dense = keras.Input((3,)), keras.layers.Dense(3, "tanh")
    return keras.Model(x, dense(dense(x)))


def _keras_within(keras):
    x = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "silu")])
    return keras.Model(x, keras.layers.Dense(1)(inner(x)) + _keras_subclass(keras)(x))


def _keras_prelu(keras):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4),
            keras.layers.PReLU(),
            keras.layers.Dense(1),
        ]
    )
    model.layers[1].set_weights([np.array([0.1, 0.2, 0.3, 0.25])])
    return model


KERAS = {
    "subclassed, called once": _keras_subclass,
    "Dense(tanh) added to the input": _keras_joined("Add"),
    "the same, concatenated": _keras_joined("Concatenate"),
    "Dense-BatchNormalization-Activation-Dense": _keras_norm,
    "Reshape((-1,)) before Dense": _keras_chain(
        ("Reshape", (-1,)), ("Dense", 4, "mish"), ("Dense", 1)
    ),
    "EinsumDense": _keras_einsum,
    "Conv1D on 8 inputs": _keras_conv,
    "one layer twice": _keras_twice,
    "models within models": _keras_within,
    "PReLU": _keras_prelu,
    "selu, softsign, log_sigmoid, tanh_shrink, squareplus": _keras_chain(
        *(
            ("Dense", 3, name)
            for name in ("selu", "softsign", "log_sigmoid", "tanh_shrink", "squareplus")
        ),
        ("Dense", 1),
    ),
    "Rescaling, Dropout, Dense(sigmoid) at the output": _keras_chain(
        ("Rescaling", 2.0, 1.0), ("Dropout", 0.5), ("Dense", 2, "sigmoid")
    ),
}
KERAS_REFUSED = {
    "LayerNormalization": _keras_chain(
        ("Dense", 3), ("LayerNormalization",), ("Dense", 1)
    ),
    "softmax": _keras_chain(("Dense", 3, "softmax")),
    "Multiply": _keras_joined("Multiply"),
    "relu6": _keras_chain(("Dense", 3, "relu6"), ("Dense", 1)),
}


def _fitted(sklearn, model, frame=False):
    random = np.random.default_rng(0)
    x = random.normal([0, 5, 1], [1, 10, 0.1], (60, 3))
    y = np.exp(0.3 * x[:, 0] + 0.05 * x[:, 1])
    if frame:
        x = importlib.import_module("pandas").DataFrame(x, columns=["a", "b", "c"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few iterations are not meant to converge
        return model.fit(x, y > 1.5 if hasattr(model, "predict_proba") else y)


def _regressor(**options):
    from sklearn.neural_network import MLPRegressor

    return MLPRegressor(
        hidden_layer_sizes=(5,),
        activation="tanh",
        max_iter=30,
        random_state=0,
        **options,
    )


def _piped(*steps, frame=False):
    def build(sklearn):
        from sklearn import pipeline

        return _fitted(
            sklearn,
            pipeline.make_pipeline(*(step(sklearn) for step in steps), _regressor()),
            frame,
        )

    return build


def _logarithmic(sklearn):
    from sklearn import compose, pipeline, preprocessing

    inner = pipeline.make_pipeline(preprocessing.StandardScaler(), _regressor())
    return _fitted(
        sklearn,
        compose.TransformedTargetRegressor(inner, func=np.log, inverse_func=np.exp),
    )


def _columns(sklearn):
    from sklearn import compose, preprocessing

    return compose.ColumnTransformer(
        [
            ("scaled", preprocessing.StandardScaler(), ["a", "b"]),
            ("rest", "passthrough", ["c"]),
        ]
    )


def _classifier(sklearn):
    from sklearn.neural_network import MLPClassifier

    return _fitted(
        sklearn,
        MLPClassifier(
            hidden_layer_sizes=(5,), activation="tanh", max_iter=30, random_state=0
        ),
    )


def _preprocessing(name, **options):
    return lambda sklearn: getattr(
        importlib.import_module("sklearn.preprocessing"), name
    )(**options)


SKLEARN = {
    "`MLPRegressor`": lambda sklearn: _fitted(sklearn, _regressor()),
    '`MLPRegressor(loss="poisson")`': lambda sklearn: _fitted(
        sklearn, _regressor(loss="poisson")
    ),
    "`MLPClassifier` of two classes: the probability of the second": _classifier,
    "`TransformedTargetRegressor(func=np.log, inverse_func=np.exp)`": _logarithmic,
    "`ColumnTransformer` of scalers and passthrough, on named columns": _piped(
        _columns, frame=True
    ),
    "`MinMaxScaler(clip=True)`, with a warning about its range": _piped(
        _preprocessing("MinMaxScaler", clip=True)
    ),
}
SKLEARN_REFUSED = {
    "`PolynomialFeatures`": _piped(_preprocessing("PolynomialFeatures", degree=2))
}

IMPORTERS = {
    "PyTorch": ("torch", MLP.from_torch, TORCH, TORCH_REFUSED),
    "Keras": ("keras", MLP.from_keras, KERAS, KERAS_REFUSED),
    "scikit-learn": ("sklearn", MLP.from_sklearn, SKLEARN, SKLEARN_REFUSED),
}


def model_of(build, framework):
    """Return a model made from seeded random numbers, and its example input or None."""
    if hasattr(framework, "manual_seed"):
        framework.manual_seed(0)
    if hasattr(framework, "utils") and hasattr(framework.utils, "set_random_seed"):
        framework.utils.set_random_seed(0)
        framework.utils.clear_session()  # so that layers are numbered from one
    built = build(framework)
    return built if isinstance(built, tuple) else (built, None)


def imported(importer, model, example):
    """Return the network of a model. Warnings of the importer are ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importer(model) if example is None else importer(model, example)


def section(name):
    """Return the section of the page about a framework, which must be installed."""
    package, importer, supported, unsupported = IMPORTERS[name]
    framework = importlib.import_module(package)
    lines = [f"## {name}", "", "| model | imported as |", "|---|---|"]
    for label, build in supported.items():
        mlp = imported(importer, *model_of(build, framework))
        lines.append(f"| {label} | `{mlp}` |")
    lines += ["", "| not supported | message |", "|---|---|"]
    for label, build in unsupported.items():
        try:
            imported(importer, *model_of(build, framework))
        except ValueError as error:
            lines.append(f"| {label} | {str(error).replace('|', ' ')} |")
    return "\n".join(lines)


def page():
    """Return the page with new sections of the frameworks that are installed.

    The sections of the other frameworks are returned as they are in the file.
    """
    prose, *stored = PAGE.read_text("utf-8").rstrip().split("\n\n## ")
    stored_sections = {text.split("\n")[0]: f"## {text}" for text in stored}
    sections = [prose]
    for name, (package, *_) in IMPORTERS.items():
        installed = importlib.util.find_spec(package)
        sections.append(section(name) if installed else stored_sections[name])
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
