"""Modules of PyTorch, of any class whose forward can be traced."""

import copy
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np

from paperlib._support.checks import Floats
from paperlib.networks import graph
from paperlib.networks.graph import Converted

__all__ = ["from_torch"]

LONGEST = 512  # inputs of a convolution that are tried


def _own(torch: Any, module: Any) -> Any:
    """A copy in double precision, in evaluation mode, on the CPU; the module itself stays as it is."""
    while isinstance(module, torch.nn.DataParallel) or hasattr(module, "_orig_mod"):
        module = module.module if isinstance(module, torch.nn.DataParallel) else module._orig_mod
    tensors = [value for part in module.modules() for value in vars(part).values() if isinstance(value, torch.Tensor)]
    computed = {id(value): value.detach().clone() for value in tensors if not value.is_leaf}  # which deepcopy refuses
    return copy.deepcopy(module, computed).to("cpu", torch.float64).eval()


def _shapes(torch: Any, module: Any, example: Any) -> Iterator[tuple[int, ...]]:
    """Shapes that the input may have, without the batch."""
    if example is not None:
        shape = tuple(np.shape(example))
        if len(shape) < 2:
            raise ValueError(f"example: shape {shape}; must have an axis for the batch, and one more")
        yield shape[1:]
        return
    for part in module.modules():
        if isinstance(getattr(part, "in_features", None), int):
            yield (part.in_features,)
    for part in module.modules():
        if isinstance(part, torch.nn.Conv1d):
            yield from ((part.in_channels, length) for length in range(1, LONGEST + 1))


def _shape(torch: Any, module: Any, example: Any) -> tuple[int, ...]:
    error = None
    for shape in _shapes(torch, module, example):
        error = _refusal(torch, module, shape)
        if error is None:
            if len(shape) == 2 and example is None and _refusal(torch, module, (shape[0], shape[1] + 1)) is None:
                raise ValueError("module: takes inputs of any length; give an example of its input")
            return shape
    if error is None:
        raise ValueError(
            "module: has no Linear layer, so its number of inputs is unknown; give an example of its input"
        )
    raise ValueError(
        f"module: takes no input of a shape that was tried ({graph.first_line(error)}); give an example of its input"
    )


def _refusal(torch: Any, module: Any, shape: tuple[int, ...]) -> Exception | None:
    try:
        module(torch.zeros((1, *shape), dtype=torch.float64))
    except Exception as error:  # whatever it raises, it does not take that
        return error
    return None


def _operation(torch: Any, kind: str, target: Any, given: Any) -> tuple[list[graph.Value], Callable[..., Any]]:
    """The values that a node is given, and what it does to arrays in their place."""
    from torch.utils import _pytree

    leaves, spec = _pytree.tree_flatten(given)

    def called(*arrays: Floats) -> Any:
        following = iter(arrays)
        filled = [_tensor(torch, next(following), leaf) if isinstance(leaf, graph.Value) else leaf for leaf in leaves]
        args, kwargs = _pytree.tree_unflatten(filled, spec)
        return getattr(args[0], target)(*args[1:], **kwargs) if kind == "call_method" else target(*args, **kwargs)

    return [leaf for leaf in leaves if isinstance(leaf, graph.Value)], called


def _tensor(torch: Any, array: Floats, value: graph.Value) -> Any:
    return torch.tensor(array).bool() if value.boolean else torch.tensor(array)


def _run(torch: Any, nodes: Any, module: Any, value: graph.Value) -> graph.Value:
    """The traced graph, on a value of the input, node by node."""
    known: dict[str, Any] = {}
    for node in nodes:
        if node.op == "placeholder":
            if known and not node.args:
                raise ValueError(f"module: takes more than one input, {node.name!r} too; must take one")
            known[node.name] = node.args[0] if known else value
            continue
        given = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: known[each.name])
        if node.op == "output":
            if not isinstance(given[0][0], graph.Value):
                raise ValueError(
                    "module: gives more than one output, or none that depends on its input; must give one tensor"
                )
            return given[0][0]
        if node.op == "get_attr":
            known[node.name] = attrgetter(node.target)(module)
            continue
        target = attrgetter(node.target)(module) if node.op == "call_module" else node.target
        values, called = _operation(torch, node.op, target, given)
        found = called(*(np.zeros(each.shape) for each in values))
        what = f"module: {node.target if node.op == 'call_module' else node.name!r} ({_named(target, node)})"
        several = isinstance(found, (tuple, list)) and any(isinstance(each, torch.Tensor) for each in found)

        def made(each: Any, operation: Callable[..., Any]) -> Any:
            if not values or not isinstance(each, torch.Tensor):
                return each
            return graph.applied(what, lambda *arrays: operation(*arrays).numpy(), values)

        if values and several:
            known[node.name] = tuple(made(each, graph.nth(called, place)) for place, each in enumerate(found))
        elif values and type(target) is torch.nn.Linear and len(values[0].shape) == 2:
            bias = np.zeros(target.out_features) if target.bias is None else target.bias.numpy()
            known[node.name] = graph.affine((1, target.out_features), [(target.weight.numpy(), values[0])], bias)
        else:
            known[node.name] = made(found, called)
    raise ValueError("module: gives nothing; must give one tensor")


def _named(target: Any, node: Any) -> str:
    return type(target).__name__ if node.op == "call_module" else getattr(target, "__name__", str(target))


def from_torch(module: Any, example: Any = None) -> Converted:
    """See `MLP.from_torch`."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module: {type(module).__name__} given; must be a torch.nn.Module")
    own = _own(torch, module)
    with torch.no_grad():
        shape = _shape(torch, own, example)
        try:
            traced = torch.fx.symbolic_trace(own)
        except Exception as error:  # a forward can fail in any way
            raise ValueError(
                f"module: its forward cannot be traced ({graph.first_line(error)}); must not ask what its input is"
            ) from None
        output = _run(torch, traced.graph.nodes, traced, graph.inputs((1, *shape)))
        x = np.random.default_rng(0).standard_normal((8, *shape))
        expected = np.stack([own(torch.tensor(row[None])).numpy().ravel() for row in x])  # a forward may count on one
    return Converted(*graph.layers(output), x, expected)
