"""Convert modules of PyTorch, of any class whose forward `torch.fx` can trace."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from paperlib.networks.importers import affine_graph
from paperlib.networks.importers.affine_graph import Converted, Node, Value

MAX_LENGTH = 512  # the longest input of a Conv1d layer that is tried


def evaluation_copy(module: Any) -> Any:
    """Return a copy of a module in double precision and evaluation mode, on the CPU.

    The copy lacks the wrappers of `torch.compile` and `torch.nn.DataParallel`. The
    module itself is not modified.
    """
    import torch

    # Remove the wrappers of a compiled module, and of one that several devices share
    while hasattr(module, "_orig_mod") or isinstance(module, torch.nn.DataParallel):
        module = module._orig_mod if hasattr(module, "_orig_mod") else module.module
    # deepcopy does not support attributes that are results of a computation
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed).to("cpu", torch.float64).eval()


def _shapes(module: Any) -> Iterator[tuple[int, ...]]:
    """Yield shapes that the input of a module may have, without the batch axis.

    First (in_features,) for each part of the module with an integer attribute
    `in_features`, such as a Linear layer. Then (in_channels, length) for each Conv1d
    layer, with all lengths from 1 to MAX_LENGTH. The parts are in the order of
    `module.modules()`.
    """
    import torch

    for part in module.modules():
        if isinstance(getattr(part, "in_features", None), int):
            yield (part.in_features,)
    for part in module.modules():
        if isinstance(part, torch.nn.Conv1d):
            for length in range(1, MAX_LENGTH + 1):
                yield part.in_channels, length


def _error(module: Any, shape: tuple[int, ...]) -> str | None:
    """Return the first line of the error that a module raises for an input, or None.

    The input has this shape, without the batch axis, and consists of zeros.
    """
    import torch

    try:
        module(torch.zeros((1, *shape), dtype=torch.float64))
    except Exception as error:  # a forward may raise any error
        return affine_graph.first_line(error)
    return None


def _shape(module: Any, example: Any) -> tuple[int, ...]:
    """Return the shape of the input of a module, without the batch axis.

    If `example` is given, which is an input with a batch axis, this is its shape
    without the first axis. Otherwise it is the first shape of `_shapes` for which the
    module raises no error.

    With an example, raise a ValueError if it has fewer than two axes, or if the module
    raises an error for an input of its shape. Without an example, raise a ValueError if
    there is no shape in `_shapes`, if the module raises an error for each of them, or
    if the shape is (channels, length) and the module also accepts (channels,
    length + 1).
    """
    if example is not None and np.ndim(example) < 2:
        raise ValueError(
            f"example: shape {np.shape(example)}; must have an axis for the batch, "
            "and one more"
        )
    reason = "has no Linear layer, so its number of inputs is unknown"
    for shape in _shapes(module) if example is None else [np.shape(example)[1:]]:
        error = _error(module, shape)
        if error is None:
            if example is not None or len(shape) == 1:
                return shape
            channels, length = shape
            if _error(module, (channels, length + 1)):
                return shape
            reason = "takes inputs of any length"
            break
        reason = f"takes no input of a shape that was tried ({error})"
    raise ValueError(f"module: {reason}; give an example of its input")


def _node(node: Any, interpreter: Any) -> Node:
    """Convert a node of a torch.fx graph to a `Node` of this package.

    The names of its inputs and its output are the nodes of torch.fx. `interpreter` is
    the torch.fx.Interpreter of the graph, which runs the operation on tensors.
    """
    import torch
    from torch.utils import _pytree

    layer: Any = None
    name = node.name
    kind = getattr(node.target, "__name__", node.target)
    if node.op == "call_module":
        layer, name = interpreter.fetch_attr(node.target), node.target
        kind = type(layer).__name__

    def function(*values: Any) -> list[Any]:
        if type(layer) is torch.nn.Linear and affine_graph.is_vector(values[0]):
            bias = 0.0 if layer.bias is None else layer.bias
            return [affine_graph.dense(layer.weight, values[0], bias)]
        # A result such as that of torch.split is a list of values
        leaves, structure = _pytree.tree_flatten(values)

        def operation(*arrays: Any) -> Any:
            tensors = [
                torch.tensor(each) if isinstance(each, np.ndarray) else each
                for each in arrays
            ]
            inputs = _pytree.tree_unflatten(tensors, structure)
            tensor_of = dict(zip(node.all_input_nodes, inputs)).get
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), tensor_of)
            return getattr(interpreter, node.op)(node.target, args, kwargs)

        return [affine_graph.applied(f"module: {name!r} ({kind})", operation, leaves)]

    return Node(node.all_input_nodes, [node], function)


def _output(traced: Any, value: Value) -> Any:
    """Return the output of a traced module, a Value or a constant, for an input.

    Raise a ValueError if the module has a second input without a default.
    """
    import torch

    interpreter = torch.fx.Interpreter(traced)
    results: dict[Any, Any] = {}
    nodes = []
    for node in traced.graph.nodes:
        if node.op != "placeholder":
            nodes.append(_node(node, interpreter))
        elif not results:
            results[node] = value
        elif node.args:
            results[node] = node.args[0]  # its default
        else:
            raise ValueError(
                f"module: takes a second input, {node.name!r}; must take one input"
            )
    return affine_graph.evaluate(nodes, results)[nodes[-1].outputs[0]]


def from_torch(module: Any, example: Any = None) -> Converted:
    """Convert a PyTorch module, for `MLP.from_torch`, which documents the errors."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"module: {type(module).__name__} given; must be a torch.nn.Module"
        )
    own = evaluation_copy(module)
    with torch.no_grad():
        shape = _shape(own, example)
        with affine_graph.one_line_errors(
            "module: its forward cannot be traced",
            "; must not depend on the values of its input",
        ):
            traced = torch.fx.symbolic_trace(own)
        output = _output(traced, affine_graph.inputs((1, *shape)))
    return Converted(
        output,
        lambda row: own(torch.tensor(row)).detach().numpy(),
        affine_graph.random_inputs(shape),
    )
