"""operator, shapes of its inputs -> shapes of its results.

An operator without a rule here is refused. Each rule bounds memory and time before the graph is
run: there are no loops, and where a number in the graph decides a shape, the graph must hold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from vaewatch.scoring.intake.call import MOST_AXES, Call, Shape, Value
from vaewatch.scoring.intake.graph import BOOL, FLOAT, INT64, INTEGERS, TYPES, Tensor
from vaewatch.scoring.intake.wire import refused

Rule = Callable[[Call], tuple[Value, ...]]


def results(call: Call) -> tuple[Value, ...]:
    """Return the results of a node.

    Raises:
        ArtifactError: the operator is not one of OPERATORS, or its inputs do not fit.
    """
    operator = call.node.operator
    if operator not in OPERATORS:
        raise refused(f"must use operators of arithmetic alone, got '{operator}'")
    try:
        values = OPERATORS[operator](call)
        if any(len(v.shape) > MOST_AXES or min(v.shape, default=0) < 0 for v in values):
            raise ValueError
        return values
    except (IndexError, ValueError, TypeError, ZeroDivisionError):
        raise refused(f"must give '{operator}' inputs that fit, but does not") from None


def _same(call: Call) -> tuple[Value, ...]:
    return (replace(call.value(0), tensor=None, work=0),)


def _cast(call: Call) -> tuple[Value, ...]:
    to = call.number("to", 0)
    if to not in TYPES:
        raise refused(f"must cast to a number, got type {to}")
    return (call.value(0).of(call.value(0).shape, to),)


def _elementwise(call: Call) -> tuple[Value, ...]:
    shape = np.broadcast_shapes(*(value.shape for value in call.given))
    return (call.value(0).of(shape),)


def _divided(call: Call) -> tuple[Value, ...]:
    """The processor stops a process that divides integers by 0."""
    by = call.value(1)
    if by.dtype in INTEGERS and (by.tensor is None or not (by.tensor.ints() > 0).all()):
        raise refused("must divide integers by constants above 0, but does not")
    return _elementwise(call)


def _compared(call: Call) -> tuple[Value, ...]:
    return tuple(replace(value, dtype=BOOL) for value in _elementwise(call))


def _where(call: Call) -> tuple[Value, ...]:
    return (call.value(1).of(_elementwise(call)[0].shape),)


def _product(a: Shape, b: Shape) -> Value:
    """Matrices, or stacks of these."""
    *left, rows, inner = (1, *a) if len(a) == 1 else a
    *right, other, columns = (*b, 1) if len(b) == 1 else b
    if inner != other:
        raise ValueError
    outer = np.broadcast_shapes(tuple(left), tuple(right))
    shape = (*outer, *([rows] if len(a) > 1 else []), *([columns] if len(b) > 1 else []))
    return Value(shape, FLOAT, work=math.prod(outer) * rows * inner * columns)


def _matmul(call: Call) -> tuple[Value, ...]:
    product = _product(call.value(0).shape, call.value(1).shape)
    return (replace(product, dtype=call.value(0).dtype),)


def _gemm(call: Call) -> tuple[Value, ...]:
    (m, k), (l, n) = call.value(0).shape, call.value(1).shape
    a = (k, m) if call.number("transA", 0) else (m, k)
    b = (n, l) if call.number("transB", 0) else (l, n)
    product = replace(_product(a, b), dtype=call.value(0).dtype)
    if len(call.given) > 2 and np.broadcast_shapes(call.value(2).shape, product.shape) != (
        product.shape
    ):
        raise ValueError
    return (product,)


def _concat(call: Call) -> tuple[Value, ...]:
    first = list(call.value(0).shape)
    axis = _axis(call.number("axis", 0), len(first))
    for value in call.given[1:]:
        if [*value.shape[:axis], *value.shape[axis + 1 :]] != [*first[:axis], *first[axis + 1 :]]:
            raise ValueError
    first[axis] = sum(value.shape[axis] for value in call.given)
    return (call.value(0).of(first),)


def _reshape(call: Call) -> tuple[Value, ...]:
    x, wanted = call.value(0), call.value(1).ints()
    if not call.number("allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    if wanted.count(-1) == 1:
        wanted[wanted.index(-1)] = x.size // -math.prod(wanted)
    if math.prod(wanted) != x.size:
        raise ValueError
    return (x.of(wanted),)


def _transpose(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    order = call.node.attributes.get("perm") or range(len(x.shape))[::-1]
    if sorted(order) != list(range(len(x.shape))):
        raise ValueError
    return (x.of([x.shape[i] for i in order]),)


def _gather(call: Call) -> tuple[Value, ...]:
    x, at, axis = _taken(call)
    return (x.of([*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]]),)


def _gather_elements(call: Call) -> tuple[Value, ...]:
    x, at, _ = _taken(call)
    return (x.of(at.shape),)


def _taken(call: Call) -> tuple[Value, Value, int]:
    """Return values, places and their axis."""
    x, at, axis = call.value(0), call.value(1), call.number("axis", 0)
    _require_places(at, x.shape[axis])
    return x, at, _axis(axis, len(x.shape))


def _require_places(at: Value, *sizes: int) -> None:
    """Check places that the graph holds; ONNX Runtime refuses computed ones that do not fit."""
    if at.tensor is not None:
        places = at.tensor.ints().reshape(-1, len(sizes))
        if ((places < np.negative(sizes)) | (places >= sizes)).any():
            raise ValueError


def _gather_nd(call: Call) -> tuple[Value, ...]:
    x, at = call.value(0), call.value(1)
    batch, depth = call.number("batch_dims", 0), at.shape[-1]
    if not 0 <= batch < len(at.shape) or not 0 < depth <= len(x.shape) - batch:
        raise ValueError
    _require_places(at, *x.shape[batch : batch + depth])
    return (x.of([*at.shape[:-1], *x.shape[batch + depth :]]),)


def _place(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    axis = _axis(call.number("axis", 0), len(x.shape))
    return (x.of(_without(x.shape, [axis], call.number("keepdims", 1)), INT64),)


def _top(call: Call) -> tuple[Value, ...]:
    x, (k,) = call.value(0), call.value(1).ints()
    axis = _axis(call.number("axis", -1), len(x.shape))
    if not 0 < k <= x.shape[axis]:
        raise ValueError
    shape = [*x.shape[:axis], k, *x.shape[axis + 1 :]]
    return x.of(shape), x.of(shape, INT64)


def _reduced(call: Call) -> tuple[Value, ...]:
    x, axes = call.value(0), call.ints(1)
    if not axes and call.number("noop_with_empty_axes", 0):
        return (x.of(x.shape),)
    found = [_axis(axis, len(x.shape)) for axis in axes or range(len(x.shape))]
    return (x.of(_without(x.shape, found, call.number("keepdims", 1))),)


def _pad(call: Call) -> tuple[Value, ...]:
    x, pads = call.value(0), call.value(1).ints()
    found = [_axis(axis, len(x.shape)) for axis in call.ints(3) or range(len(x.shape))]
    shape, half = list(x.shape), len(found)
    for axis, before, after in zip(found, pads[:half], pads[half:], strict=True):
        shape[axis] += before + after
    return (x.of(shape),)


def _unsqueeze(call: Call) -> tuple[Value, ...]:
    x, axes = call.value(0), call.value(1).ints()
    rank = len(x.shape) + len(axes)
    places, sizes = {_axis(axis, rank) for axis in axes}, iter(x.shape)
    if len(places) != len(axes):
        raise ValueError
    return (x.of([1 if i in places else next(sizes) for i in range(rank)]),)


def _squeeze(call: Call) -> tuple[Value, ...]:
    x, axes = call.value(0), call.ints(1)
    ones = [i for i, size in enumerate(x.shape) if size == 1]
    found = ones if axes is None else [_axis(axis, len(x.shape)) for axis in axes]
    if not set(found) <= set(ones):
        raise ValueError
    return (x.of(_without(x.shape, found, False)),)


def _constant(call: Call) -> tuple[Value, ...]:
    (value,) = call.node.attributes.values()
    if not isinstance(value, Tensor):
        raise refused("must hold constants as tensors, got a 'Constant' of another kind")
    return (Value(value.shape, value.dtype, value),)


def _slice(call: Call) -> tuple[Value, ...]:
    x, starts, ends = call.value(0), call.value(1).ints(), call.value(2).ints()
    axes, steps = call.ints(3), call.ints(4)
    shape = list(x.shape)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = _axis(axes[i] if axes else i, len(shape))
        step = steps[i] if steps else 1
        if step < 1:
            raise ValueError
        shape[axis] = len(range(*slice(start, end, step).indices(x.shape[axis])))
    return (x.of(shape),)


def _conv(call: Call) -> tuple[Value, ...]:
    """Convolutions along one or two axes, without padding."""
    (n, channels, *lengths), (out, inner, *taps) = call.value(0).shape, call.value(1).shape
    groups, dilations = call.number("group", 1), _along(call, "dilations", lengths)
    _along(call, "strides", lengths)
    if not _unpadded(call) or len(taps) != len(lengths) or min(dilations) < 1:
        raise ValueError
    if groups < 1 or channels != inner * groups or out % groups:
        raise ValueError
    reaches = [(each - 1) * apart for each, apart in zip(taps, dilations, strict=True)]
    steps = [length - reach for length, reach in zip(lengths, reaches, strict=True)]
    if min(steps) < 1 or (len(call.given) > 2 and call.value(2).shape != (out,)):
        raise ValueError
    work = n * out * math.prod(steps) * inner * math.prod(taps)
    return (replace(call.value(0).of([n, out, *steps]), tensor=None, work=work),)


def _along(call: Call, name: str, lengths: Sequence[int]) -> list[int]:
    """Return an attribute that holds a number for each axis of one or two; 1 by default."""
    numbers = call.node.attributes.get(name, [1] * len(lengths))
    if not isinstance(numbers, list) or not len(numbers) == len(lengths) in (1, 2):
        raise ValueError
    return numbers


def _unpadded(call: Call) -> bool:
    """Return whether a window is neither moved beyond the ends nor further than one step."""
    attributes = call.node.attributes
    padded = "auto_pad" in attributes or any(attributes.get("pads", []))
    return not padded and all(stride == 1 for stride in attributes.get("strides", []))


def _pooled(call: Call) -> tuple[Value, ...]:
    """Means or maxima along one or two axes, without padding."""
    n, channels, *lengths = call.value(0).shape
    spans, dilations = (_along(call, name, lengths) for name in ("kernel_shape", "dilations"))
    _along(call, "strides", lengths)
    if not _unpadded(call) or set(dilations) != {1} or call.number("ceil_mode", 0):
        raise ValueError
    steps = [length - span + 1 for length, span in zip(lengths, spans, strict=True)]
    if min(spans) < 1 or min(steps) < 1:
        raise ValueError
    work = n * channels * math.prod(steps) * math.prod(spans)
    return (replace(call.value(0).of([n, channels, *steps]), work=work),)


def _axis(axis: int, rank: int) -> int:
    return range(rank)[axis]


def _without(shape: Shape, axes: Sequence[int], keep: int) -> list[int]:
    """Return a shape in which these axes are 1, or gone."""
    if keep:
        return [1 if i in axes else size for i, size in enumerate(shape)]
    return [size for i, size in enumerate(shape) if i not in axes]


_GROUPS: Mapping[Rule, str] = {
    _same: "Abs Ceil Clip Elu Erf Exp Floor Identity LeakyRelu Log LogSoftmax Neg Not "
    "Reciprocal Relu Round Sigmoid Sign Softmax Softplus Sqrt Tanh",
    _cast: "Cast",
    _elementwise: "Add And Max Mean Min Mul Or Pow Sub Sum",
    _divided: "Div Mod",
    _compared: "Equal Greater GreaterOrEqual Less LessOrEqual",
    _where: "Where",
    _matmul: "MatMul",
    _gemm: "Gemm",
    _concat: "Concat",
    _reshape: "Reshape",
    _transpose: "Transpose",
    _gather: "Gather",
    _gather_elements: "GatherElements",
    _gather_nd: "GatherND",
    _place: "ArgMax ArgMin",
    _top: "TopK",
    _reduced: "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
    "ReduceProd ReduceSum ReduceSumSquare",
    _pad: "Pad",
    _unsqueeze: "Unsqueeze",
    _squeeze: "Squeeze",
    _slice: "Slice",
    _conv: "Conv",
    _pooled: "AveragePool MaxPool",
    _constant: "Constant",
}
# operator -> the rule of its results; there is no other list of what a graph may do
OPERATORS = {name: rule for rule, names in _GROUPS.items() for name in names.split()}
