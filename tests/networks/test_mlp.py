"""Compare networks with a forward pass written by hand, and test their files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import refusal

from paperlib.networks.mlp import MLP


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 99))
def test_forward(random_mlp, widths, seed):
    mlp = random_mlp(widths, "sin", seed)
    x = np.random.default_rng(seed).standard_normal((2, 3, widths[0]))
    y = x
    for w, b in zip(mlp.weights[:-1], mlp.biases):
        y = np.sin(np.einsum("jk,abk->abj", w, y) + b)
    y = np.einsum("jk,abk->abj", mlp.weights[-1], y) + mlp.biases[-1]
    expected = y[..., 0] if widths[-1] == 1 else y
    assert mlp(x).shape == expected.shape
    assert np.allclose(mlp(x), expected, rtol=0, atol=1e-13)
    assert (mlp.dim, mlp.outputs, mlp.depth) == (widths[0], widths[-1], len(widths) - 2)


def test_an_activation_for_each_layer(random_mlp):
    mlp = random_mlp([2, 3, 2, 1], ["tanh", "sin"])
    (w1, w2, w3), (b1, b2, b3) = mlp.weights, mlp.biases
    x = np.array([0.3, -0.8])
    assert np.isclose(
        mlp(x), (w3 @ np.sin(w2 @ np.tanh(w1 @ x + b1) + b2) + b3)[0], rtol=1e-14
    )
    assert random_mlp([2, 3, 2, 1], ["sin", "sin"]).activation == "sin"


def test_frozen_and_its_own():
    weight = np.ones((1, 2))
    mlp = MLP([weight], [[0.0]], "tanh")
    weight[0, 0] = 7.0
    assert mlp([1.0, 1.0]) == 2.0
    with pytest.raises(ValueError, match="read-only"):
        mlp.weights[0][0, 0] = 7.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([[[1.0, 2.0]], [[1.0, 2.0]]], [[0.0], [0.0]], "tanh"),
            r"weights\[1\]: shape \(1, 2\); must be \(units out, units in\), "
            "and take the 1 units before it",
        ),
        (  # the layout of Keras
            ([np.ones((3, 5)), np.ones((5, 1))], [np.ones(5), np.ones(1)], "tanh"),
            r"biases\[0\]: shape \(5,\); must be 3 long, as weights\[0\] is \(3, 5\), "
            r"\(units out, units in\)",
        ),
        (
            ([[[1.0, 2.0]]], [[0.0, 1.0]], "tanh"),
            r"biases\[0\]: shape \(2,\); must be 1 long",
        ),
        (
            ([[[1.0, 2.0]]], [[0.0], [0.0]], "tanh"),
            "biases: has 2 layers; must have 1, as weights",
        ),
        (
            ([[[1.0, np.nan]]], [[0.0]], "tanh"),
            r"weights\[0\]\[0, 1\] = nan: must be finite",
        ),
        (
            ([[[1j, 1.0]]], [[0.0]], "tanh"),
            r"weights\[0\]: dtype complex128; must be real",
        ),
        (
            ([[1.0, 1.0]], [[0.0]], "tanh"),
            r"weights\[0\]: shape \(2,\); must be \(units out, units in\)",
        ),
        (([[[1.0]]], [[0.0]], "thanh"), "activation = 'thanh': must be one of 'tanh'"),
        (
            ([[[1.0]]], [[0.0]], ["tanh"]),
            "activation: has 1 names; must have one, or one for each",
        ),
        (([], [], "tanh"), r"weights = \[\]: must be a list of arrays"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(refusal(message), match=message) as error:
        MLP(*arguments)
    assert "\n" not in str(error.value)


def test_wrong_input(random_mlp):
    with pytest.raises(
        ValueError, match=r"x: shape \(3,\); the last axis must be 2 long"
    ):
        random_mlp([2, 1])(np.ones(3))


@pytest.mark.parametrize(
    "activation", ["gelu", ("tanh", "leaky_relu(0.3)"), ("tanh*3 + linear*1", "sin")]
)
def test_save_load(random_mlp, tmp_path, activation):
    mlp = random_mlp([3, 4, 2, 2], activation)
    mlp.save(tmp_path / "net.npz")
    again = MLP.load(tmp_path / "net.npz")
    assert again.activation == mlp.activation
    assert all(
        np.array_equal(a, b)
        for a, b in zip(again.weights + again.biases, mlp.weights + mlp.biases)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_a_failed_save_leaves_the_old_file(random_mlp, tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    random_mlp([3, 1]).save(path)
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("numpy.savez_compressed", half)
    with pytest.raises(OSError, match="disk full"):
        random_mlp([5, 1]).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


@given(st.data())
def test_damaged_files_are_refused_in_one_line(random_mlp, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "net.npz"
    random_mlp([3, 2, 1]).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(
        ValueError,
        match="net.npz: (must be a .npz file|must be a network|has no array)",
    ) as error:
        MLP.load(path)
    assert "\n" not in str(error.value)


def test_foreign_and_missing_files(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "text.npz").write_text("hello")
    for name in ("other.npz", "pickled.npy", "text.npz"):
        with pytest.raises(
            ValueError, match=f"{name}: (must be a .npz file|has no array)"
        ):
            MLP.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        MLP.load(tmp_path / "none.npz")


def test_an_activation_must_be_a_name():
    with pytest.raises(TypeError, match="^activation = None: must be one of"):
        MLP([[[1.0]]], [[0.0]], None)
