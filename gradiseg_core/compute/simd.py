"""Sixteen float32 lanes as one value inside numba kernels.

numba vectorises only innermost loops, and keeps no accumulators in registers across them. The most
expensive kernels are therefore written with explicit vectors: ``f32x16`` is an LLVM
``<16 x float>``, one AVX-512 register, which LLVM splits on smaller machines.

In a kernel ``+ - * /`` work between vectors, or a vector and a number; ``>= <= >`` give masks,
``&`` and ``|`` are and and or of masks; the functions below do the rest. An index counts float32
values from the start of an array and is not checked; arrays must be contiguous. A multiplication
and an addition may be fused; otherwise arithmetic follows IEEE, except in :func:`reciprocal`.
"""

from __future__ import annotations

import math
import operator
from functools import partial
from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
#: Whether a vector is one register (of 32) or two (of 16, AVX2). Eight sums at a time hide the
#: latency of additions; with two registers each they would fill all 16 and spill to memory.
ONE_REGISTER = bool(binding.get_host_cpu_features().get("avx512f"))
LOG2_E = math.log2(math.e)
TOTAL_LANES = (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)  # order of `totals`
_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_VF = ir.VectorType(_F32, LANES)
_VI = ir.VectorType(_I32, LANES)
_VM = ir.VectorType(ir.IntType(1), LANES)
_CONTRACT = ("contract",)


class FloatVector(types.Type):
    """The type of sixteen float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="f32x16")


class IntVector(types.Type):
    """The type of sixteen int32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="i32x16")


class MaskVector(types.Type):
    """The type of sixteen booleans."""

    def __init__(self) -> None:
        super().__init__(name="mask16")


f32x16, i32x16, mask16 = FloatVector(), IntVector(), MaskVector()


def _register(kind: type, lanes: ir.Type) -> None:
    @register_model(kind)
    class _Model(models.PrimitiveModel):
        def __init__(self, dmm: Any, fe_type: Any) -> None:
            super().__init__(dmm, fe_type, lanes)


_register(FloatVector, _VF)
_register(IntVector, _VI)
_register(MaskVector, _VM)


def _broadcast(builder: Any, scalar: Any, lanes: ir.VectorType) -> Any:
    """Return a vector with the scalar in every lane."""
    one = builder.insert_element(ir.Constant(lanes, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(lanes, ir.Undefined), zeros)


def _as_float_vector(context: Any, builder: Any, value: Any, kind: Any) -> Any:
    """Return a vector: the argument itself, or a number in every lane."""
    if isinstance(kind, FloatVector):
        return value
    return _broadcast(builder, context.cast(builder, value, kind, types.float32), _VF)


def _define_operator(symbol: Any, result: Any, emit: Any) -> None:
    """Define one operator between float vectors and numbers: its types and its code."""

    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            fits = all(isinstance(a, (FloatVector, types.Number)) for a in args)
            if len(args) == 2 and fits and any(isinstance(a, FloatVector) for a in args):
                return signature(result, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (
            _as_float_vector(context, builder, value, kind)
            for value, kind in zip(args, sig.args, strict=True)
        )
        return emit(builder, a, b)

    lower_builtin(symbol, FloatVector, FloatVector)(lower)
    lower_builtin(symbol, FloatVector, types.Number)(lower)
    lower_builtin(symbol, types.Number, FloatVector)(lower)


_define_operator(operator.add, f32x16, lambda b, x, y: b.fadd(x, y, flags=_CONTRACT))
_define_operator(operator.sub, f32x16, lambda b, x, y: b.fsub(x, y, flags=_CONTRACT))
_define_operator(operator.mul, f32x16, lambda b, x, y: b.fmul(x, y, flags=_CONTRACT))
_define_operator(operator.truediv, f32x16, lambda b, x, y: b.fdiv(x, y))
_define_operator(operator.ge, mask16, lambda b, x, y: b.fcmp_ordered(">=", x, y))
_define_operator(operator.le, mask16, lambda b, x, y: b.fcmp_ordered("<=", x, y))
_define_operator(operator.gt, mask16, lambda b, x, y: b.fcmp_ordered(">", x, y))


def _define_mask_operator(symbol: Any, emit: Any) -> None:
    """Define one operator between masks: its types and its code."""

    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and all(isinstance(a, MaskVector) for a in args):
                return signature(mask16, *args)
            return None

    lower_builtin(symbol, MaskVector, MaskVector)(
        lambda context, builder, sig, args: emit(builder, *args)
    )


_define_mask_operator(operator.and_, lambda b, x, y: b.and_(x, y))
_define_mask_operator(operator.or_, lambda b, x, y: b.or_(x, y))


def _address(
    context: Any, builder: Any, array_type: Any, array: Any, index: Any, lanes: Any
) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Return an intrinsic function of LLVM, declared in the module that is being compiled."""
    return builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(result, arguments), name
    )


def _is_flat(array: Any, dtype: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == dtype and array.layout == "C"


def _everywhere(lanes: ir.VectorType, value: float) -> Any:
    """Return a vector with a constant in every lane."""
    return ir.Constant(lanes, [value] * LANES)


def _exchange(builder: Any, a: Any, b: Any, stride: int) -> tuple[Any, Any]:
    """Return the halves of two vectors' lanes: those without and with the bit ``stride``.

    Lanes of ``b`` take the places that ``a`` leaves free.
    """
    low = [lane if not lane & stride else lane - stride + LANES for lane in range(LANES)]
    high = [lane + stride if not lane & stride else lane + LANES for lane in range(LANES)]
    first, second = (
        builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, LANES), places))
        for places in (low, high)
    )
    return first, second


def _load(array: Any, index: Any, dtype: Any, result: Any, lanes: ir.VectorType) -> Any:
    """Return signature and code of reading sixteen values."""
    if not (_is_flat(array, dtype) and isinstance(index, types.Integer)):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        pointer = _address(context, builder, sig.args[0], args[0], index, lanes)
        return builder.load(pointer, align=4)

    return result(array, index), codegen


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """Load sixteen float32 values, starting at flat position ``index``."""
    return _load(array, index, types.float32, f32x16, _VF)


@intrinsic
def load_int(typingctx: Any, array: Any, index: Any) -> Any:
    """Load sixteen int32 values, starting at flat position ``index``."""
    return _load(array, index, types.int32, i32x16, _VI)


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Store the lanes of ``value``, starting at flat position ``index``."""
    flat = _is_flat(array, types.float32 if isinstance(value, FloatVector) else types.int32)
    if not (flat and isinstance(value, (FloatVector, IntVector))):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        lanes = _VF if isinstance(sig.args[2], FloatVector) else _VI
        pointer = _address(context, builder, sig.args[0], args[0], index, lanes)
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def store_where(typingctx: Any, mask: Any, array: Any, index: Any, value: Any) -> Any:
    """Store the lanes of ``value`` that the mask sets; leave the others in memory as they are."""
    if not isinstance(mask, MaskVector):
        return None
    flat = _is_flat(array, types.float32 if isinstance(value, FloatVector) else types.int32)
    if not (flat and isinstance(value, (FloatVector, IntVector))):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = context.cast(builder, args[2], sig.args[2], types.intp)
        floats = isinstance(sig.args[3], FloatVector)
        lanes = _VF if floats else _VI
        pointer = _address(context, builder, sig.args[1], args[1], index, lanes)
        name = f"llvm.masked.store.v{LANES}{'f' if floats else 'i'}32.p0"
        arguments = [lanes, lanes.as_pointer(), _I32, _VM]
        masked_store = _function(builder, name, ir.VoidType(), arguments)
        builder.call(masked_store, [args[3], pointer, ir.Constant(_I32, 4), args[0]])
        return context.get_dummy_value()

    return types.void(mask, array, index, value), codegen


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """Put a number, as float32, in every lane."""
    if not isinstance(value, types.Number):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _as_float_vector(context, builder, args[0], sig.args[0])

    return f32x16(value), codegen


@intrinsic
def splat_int(typingctx: Any, value: Any) -> Any:
    """Put a number, as int32, in every lane."""
    if not isinstance(value, types.Integer):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _broadcast(builder, context.cast(builder, args[0], sig.args[0], types.int32), _VI)

    return i32x16(value), codegen


@intrinsic
def where(typingctx: Any, mask: Any, chosen: Any, other: Any) -> Any:
    """Take lanes of ``chosen`` where the mask is set, and of ``other`` elsewhere."""
    if not isinstance(mask, MaskVector) or chosen != other:
        return None
    return chosen(mask, chosen, other), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def minimum(typingctx: Any, value: Any, bound: Any) -> Any:
    """Return the smaller of each lane and a bound (number or vector); the bound for NaN."""
    return _nearer("<", value, bound)


@intrinsic
def maximum(typingctx: Any, value: Any, bound: Any) -> Any:
    """Return the larger of each lane and a bound (number or vector); the bound for NaN.

    Also works for two int vectors.
    """
    if isinstance(value, IntVector) and isinstance(bound, IntVector):
        return value(value, bound), _greater_int
    return _nearer(">", value, bound)


def _greater_int(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.select(builder.icmp_signed(">", *args), *args)


def _nearer(symbol: str, value: Any, bound: Any) -> Any:
    """Return signature and code: lanes that pass the comparison, the bound elsewhere."""
    if not (isinstance(value, FloatVector) and isinstance(bound, (FloatVector, types.Number))):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        limit = _as_float_vector(context, builder, args[1], sig.args[1])
        return builder.select(builder.fcmp_ordered(symbol, args[0], limit), args[0], limit)

    return f32x16(value, bound), codegen


def _lanewise(value: Any, emit: Any, result: Any = f32x16) -> Any:
    """Return signature and code of a function of one float vector, ``emit(builder, vector)``."""
    if not isinstance(value, FloatVector):
        return None
    return result(value), lambda context, builder, sig, args: emit(builder, args[0])


def _by_llvm(name: str, builder: Any, x: Any) -> Any:
    """Call one of LLVM's functions of a float vector."""
    return builder.call(_function(builder, f"llvm.{name}.v{LANES}f32", _VF, [_VF]), [x])


@intrinsic
def sqrt(typingctx: Any, value: Any) -> Any:
    """Return the square roots, correctly rounded."""
    return _lanewise(value, partial(_by_llvm, "sqrt"))


@intrinsic
def ceil(typingctx: Any, value: Any) -> Any:
    """Return the lanes rounded up to whole numbers."""
    return _lanewise(value, partial(_by_llvm, "ceil"))


@intrinsic
def floor(typingctx: Any, value: Any) -> Any:
    """Return the lanes rounded down to whole numbers."""
    return _lanewise(value, partial(_by_llvm, "floor"))


@intrinsic
def to_int(typingctx: Any, value: Any) -> Any:
    """Return the lanes as int32, rounded towards zero; they must fit."""
    return _lanewise(value, lambda builder, x: builder.fptosi(x, _VI), i32x16)


@intrinsic
def at_most(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the mask of the int lanes with ``a <= b``."""
    if not (isinstance(a, IntVector) and isinstance(b, IntVector)):
        return None
    return mask16(a, b), lambda context, builder, sig, args: builder.icmp_signed("<=", *args)


@intrinsic
def any_lane(typingctx: Any, mask: Any) -> Any:
    """Return whether any lane is set."""
    if not isinstance(mask, MaskVector):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(mask), codegen


@intrinsic
def lanes_within(typingctx: Any, value: Any, limit: Any) -> Any:
    """Return a uint32 whose bit l is set if 0 <= v[l] < limit; never for NaN.

    A negative float has its highest bit set, so one unsigned comparison checks both bounds.
    """
    if not (isinstance(value, FloatVector) and isinstance(limit, types.Number)):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bound = _as_float_vector(context, builder, args[1], sig.args[1])
        lanes = [builder.bitcast(floats, _VI) for floats in (args[0], bound)]
        bits = builder.bitcast(builder.icmp_unsigned("<", *lanes), ir.IntType(LANES))
        return builder.zext(bits, _I32)

    return types.uint32(value, limit), codegen


@intrinsic
def totals(typingctx: Any, vectors: Any) -> Any:
    """Return one vector whose lanes are the sums of the given vectors (a tuple of 1 to 16).

    The sum of the first vector is in lane 0, those of the others are in lanes 8, 4, 12, 2, 10, 6,
    14, 1, ... (see :data:`TOTAL_LANES`); unused lanes are 0.
    """
    if not isinstance(vectors, types.UniTuple) or not isinstance(vectors.dtype, FloatVector):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        # Each step adds the halves of pairs of vectors and keeps the two results in one vector, so
        # that 16 vectors take 15 additions and 30 shuffles instead of 64 and 64.
        zero = _everywhere(_VF, 0.0)
        left = [builder.extract_value(args[0], i) for i in range(sig.args[0].count)]
        for stride in (8, 4, 2, 1):
            pairs = [(left[i], left[i + 1] if i + 1 < len(left) else zero)
                     for i in range(0, len(left), 2)]  # fmt: skip
            left = [builder.fadd(*_exchange(builder, a, b, stride)) for a, b in pairs]
        return left[0]

    return f32x16(vectors), codegen


@intrinsic
def reciprocal(typingctx: Any, value: Any) -> Any:
    """Return 1 / v to about one unit in the last place, for finite v."""
    one = _everywhere(_VF, 1.0)
    return _lanewise(value, lambda builder, x: builder.fdiv(one, x, flags=("fast",)))


@intrinsic
def transpose(
    typingctx: Any, array: Any, source: Any, row: Any, target: Any, column: Any
) -> Any:  # fmt: skip
    """Transpose 16 x 16 floats: rows that start at ``source`` become columns at ``target``.

    ``row`` is the distance between the starts of two rows, ``column`` between those of two columns.
    Everything is read before anything is written.
    """
    numbers = all(isinstance(kind, types.Integer) for kind in (source, row, target, column))
    if not (_is_flat(array, types.float32) and numbers):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, row, target, column = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(args[1:], sig.args[1:], strict=True)
        )

        def place(start: Any, distance: Any, count: int) -> Any:
            index = builder.add(start, builder.mul(distance, ir.Constant(distance.type, count)))
            return _address(context, builder, sig.args[0], args[0], index, _VF)

        vectors = [builder.load(place(source, row, i), align=4) for i in range(LANES)]
        for stride in (8, 4, 2, 1):  # exchange quarters of ever smaller squares
            for i in (i for i in range(LANES) if not i & stride):
                j = i + stride
                vectors[i], vectors[j] = _exchange(builder, vectors[i], vectors[j], stride)
        for i, vector in enumerate(vectors):
            builder.store(vector, place(target, column, i), align=4)
        return context.get_dummy_value()

    return types.void(array, source, row, target, column), codegen


@intrinsic
def log2(typingctx: Any, value: Any) -> Any:
    """Return logarithms to base 2 of normal lanes; the error is under 2e-7 + 1e-7 |result|."""
    return _lanewise(value, _log2)


def _log2(builder: Any, x: Any) -> Any:
    """Emit log2: x = 2^e m with m in [sqrt(1/2), sqrt(2)); log(m) = 2 artanh((m - 1) / (m + 1))."""
    floats, ints = partial(_everywhere, _VF), partial(_everywhere, _VI)
    bits = builder.bitcast(x, _VI)
    exponent = builder.ashr(builder.sub(bits, ints(0x3F3504F3)), ints(23))
    mantissa = builder.sub(bits, builder.shl(exponent, ints(23)))
    m = builder.bitcast(mantissa, _VF)
    s = builder.fdiv(builder.fsub(m, floats(1.0)), builder.fadd(m, floats(1.0)))
    square = builder.fmul(s, s)
    series = floats(2.0 * LOG2_E / 9.0)
    for odd in (7, 5, 3, 1):
        product = builder.fmul(series, square, flags=_CONTRACT)
        series = builder.fadd(product, floats(2.0 * LOG2_E / odd), flags=_CONTRACT)
    whole = builder.sitofp(exponent, _VF)
    return builder.fadd(builder.fmul(series, s, flags=_CONTRACT), whole, flags=_CONTRACT)


# 2^f on [-1/2, 1/2], fitted to equal relative errors (7.5e-8 before rounding) at Chebyshev nodes.
_EXP2 = (
    1.0000000716543658,
    0.6931469670549124,
    0.2402211972487281,
    0.055507132895833595,
    0.00967554129296808,
    0.0013276466792626065,
)


@intrinsic
def exp2(typingctx: Any, value: Any) -> Any:
    """Return 2^v for lanes from -126 to 127; the relative error is under 3e-7."""
    return _lanewise(value, _exp2)


def _exp2(builder: Any, x: Any) -> Any:
    """Emit 2^x: a polynomial of the fraction, its exponent raised by the whole part."""
    # Not by adding and subtracting 1.5 x 2^23: with fastmath the compiler removes both.
    whole = _by_llvm("rint", builder, x)
    part = builder.fsub(x, whole)
    result = _everywhere(_VF, _EXP2[-1])
    for coefficient in reversed(_EXP2[:-1]):
        product = builder.fmul(result, part, flags=_CONTRACT)
        result = builder.fadd(product, _everywhere(_VF, coefficient), flags=_CONTRACT)
    # Adding to the exponent's bits multiplies by a power of two.
    exponent = builder.shl(builder.fptosi(whole, _VI), _everywhere(_VI, 23))
    return builder.bitcast(builder.add(builder.bitcast(result, _VI), exponent), _VF)
