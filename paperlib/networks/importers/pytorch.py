"""Convert modules of PyTorch, of any class whose forward can be traced."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Value

LONGEST = 512  # the longest input that is tried for a convolution


def _own(module: Any) -> Any:
    """Return a copy in double precision, in evaluation mode, on the CPU. The module itself does not change."""
    import torch

    while isinstance(module, torch.nn.DataParallel) or hasattr(module, "_orig_mod"):
        module = getattr(
            module, "_orig_mod" if hasattr(module, "_orig_mod") else "module"
        )
    tensors = [
        value
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor)
    ]
    # Which deepcopy refuses
    computed = {
        id(value): value.detach().clone() for value in tensors if not value.is_leaf
    }
    return copy.deepcopy(module, computed).to("cpu", torch.float64).eval()


def _shapes(module: Any) -> Iterator[tuple[int, ...]]:
    """Yield shapes that the input may have, without the batch."""
    import torch

    for part in module.modules():
        if isinstance(getattr(part, "in_features", None), int):
            yield (part.in_features,)
    for part in module.modules():
        if isinstance(part, torch.nn.Conv1d):
            yield from ((part.in_channels, length) for length in range(1, LONGEST + 1))


def _shape(module: Any, example: Any) -> tuple[int, ...]:
    """Return the shape of the input, without the batch: that of the example, or the first that the module takes."""
    if example is None:
        shapes = _shapes(module)
    elif np.ndim(example) > 1:
        shapes = iter([np.shape(example)[1:]])
    else:
        raise ValueError(
            f"example: shape {np.shape(example)}; must have an axis for the batch, and one more"
        )
    error = None
    for shape in shapes:
        error = _refusal(module, shape)
        if error is None:
            if (
                len(shape) == 2
                and example is None
                and _refusal(module, (shape[0], shape[1] + 1)) is None
            ):
                raise ValueError(
                    "module: takes inputs of any length; give an example of its input"
                )
            return shape
    if error is None:
        raise ValueError(
            "module: has no Linear layer, so its number of inputs is unknown; give an example of its input"
        )
    raise ValueError(
        f"module: takes no input of a shape that was tried ({affine_graph.first_line(error)}); give an example of its input"
    )


def _refusal(module: Any, shape: tuple[int, ...]) -> Exception | None:
    """Return the error that the module raises for an input of this shape, or None."""
    import torch

    try:
        module(torch.zeros((1, *shape), dtype=torch.float64))
    except Exception as error:  # a forward may raise any error
        return error
    return None


def _run(traced: Any, value: Value) -> Any:
    """Return the output of a traced module for a value as its input."""
    import torch
    from torch.utils import _pytree

    class Reader(torch.fx.Interpreter):
        """Execute the nodes of a module on values in place of tensors."""

        def run_node(self, node: Any) -> Any:
            leaves, spec = _pytree.tree_flatten(self.fetch_args_kwargs_from_env(node))
            name, kind = node.name, getattr(node.target, "__name__", str(node.target))
            if node.op == "call_module":
                part = self.fetch_attr(node.target)
                name, kind = node.target, type(part).__name__
                if (
                    type(part) is torch.nn.Linear
                    and isinstance(leaves[0], Value)
                    and len(leaves[0].shape) == 2
                ):
                    return affine_graph.dense(
                        part.weight, leaves[0], 0.0 if part.bias is None else part.bias
                    )

            def operation(*filled: Any) -> Any:
                tensors = [
                    torch.tensor(leaf) if isinstance(leaf, np.ndarray) else leaf
                    for leaf in filled
                ]
                return getattr(self, node.op)(
                    node.target, *_pytree.tree_unflatten(tensors, spec)
                )

            return affine_graph.applied(f"module: {name!r} ({kind})", operation, leaves)

    reader = Reader(traced)
    reader.extra_traceback = False  # an error keeps its message
    return reader.run(value)


def from_torch(module: Any, example: Any = None) -> Converted:
    """See `MLP.from_torch`."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"module: {type(module).__name__} given; must be a torch.nn.Module"
        )
    own = _own(module)
    with torch.no_grad():
        shape = _shape(own, example)
        with affine_graph.refusing(
            "module: its forward cannot be traced", "; must not ask what its input is"
        ):
            traced = torch.fx.symbolic_trace(own)
        _, *others = (node for node in traced.graph.nodes if node.op == "placeholder")
        for node in others:
            if not node.args:
                raise ValueError(
                    f"module: takes more than one input, {node.name!r} too; must take one"
                )
        output = _run(traced, affine_graph.inputs((1, *shape)))
        if not isinstance(output, Value):
            raise ValueError(
                "module: gives more than one output, or none that depends on its input; must give one tensor"
            )
        x = np.random.default_rng(0).standard_normal((8, *shape))
        # A batch of one, as traced
        expected = np.stack([own(torch.tensor(row[None])).numpy().ravel() for row in x])
    return Converted(output, x, expected)
