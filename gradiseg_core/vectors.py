"""Explicit vectors of 16 floats inside numba kernels.

LLVM's automatic vectoriser gives up on loops that touch many arrays (it would have to prove that
they do not overlap) and never keeps a tile of accumulators in registers. A kernel written with
these functions says what it wants: ``load`` 16 neighbours, ``fma`` them, ``store`` them. LLVM maps
one such vector to one 512-bit register where there are any, and to two or four narrower ones
elsewhere, so the code is the same on every processor.

All functions are for use inside ``numba.njit`` only. Indices are in floats into a contiguous
one-dimensional float32 array; nothing checks bounds.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)


class Float32x16(types.Type):
    """The numba type of a vector of 16 float32."""

    def __init__(self) -> None:
        super().__init__(name="Float32x16")


float32x16 = Float32x16()


@register_model(Float32x16)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _FLOATS)


def _splat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """Return ``scalar`` (float or i32) in every lane."""
    vector = _FLOATS if isinstance(scalar.type, ir.FloatType) else _INTS
    zeros = ir.Constant(_INTS, [0] * LANES)
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [value] * LANES)


def _call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    """Call LLVM's own vector function ``name`` on float vectors."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * len(args))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, args)


def _pointer(context, builder, array_type, array, index):
    """Return the vector pointer to ``array[index]``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


@intrinsic
def load(typingctx, array, index):  # noqa: D103
    def generate(context, builder, signature, args):
        at = context.cast(builder, args[1], signature.args[1], types.intp)
        pointer = _pointer(context, builder, signature.args[0], args[0], at)
        return builder.load(pointer, align=4)

    return float32x16(array, index), generate


@intrinsic
def store(typingctx, array, index, value):  # noqa: D103
    def generate(context, builder, signature, args):
        at = context.cast(builder, args[1], signature.args[1], types.intp)
        pointer = _pointer(context, builder, signature.args[0], args[0], at)
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.none(array, index, value), generate


@intrinsic
def splat(typingctx, scalar):  # noqa: D103
    def generate(context, builder, signature, args):
        return _splat(builder, context.cast(builder, args[0], signature.args[0], types.float32))

    return float32x16(scalar), generate


def _operation(arity: int, build: Callable) -> Callable:
    """Make an intrinsic from vectors to a vector."""
    if arity == 1:

        @intrinsic
        def unary(typingctx, a):
            return float32x16(a), lambda context, builder, signature, args: build(builder, *args)

        return unary
    if arity == 2:

        @intrinsic
        def binary(typingctx, a, b):
            return float32x16(a, b), lambda context, builder, signature, args: build(builder, *args)

        return binary

    @intrinsic
    def ternary(typingctx, a, b, c):
        return float32x16(a, b, c), lambda context, builder, signature, args: build(builder, *args)

    return ternary


def _build_max(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _build_exp2(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """2**x = 2**n * 2**f with n the nearest integer; 2**f by a polynomial, 2**n by its bits."""
    x = _build_max(builder, x, _constant(-126.0))
    whole = _call(builder, "rint", x)
    part = builder.fsub(x, whole)
    value = _constant(_EXP2[0])
    for coefficient in _EXP2[1:]:
        value = _call(builder, "fmuladd", value, part, _constant(coefficient))
    bits = builder.shl(builder.fptosi(whole, _INTS), ir.Constant(_INTS, [23] * LANES))
    return builder.bitcast(builder.add(builder.bitcast(value, _INTS), bits), _FLOATS)


# Minimax polynomial of 2**f on [-1/2, 1/2], highest power first; relative error 7.5e-8.
_EXP2 = (
    1.3276457946e-3,
    9.6755413235e-3,
    5.5507133178e-2,
    2.4022119725e-1,
    6.9314696704e-1,
    1.0000000717,
)

add = _operation(2, lambda builder, a, b: builder.fadd(a, b))
sub = _operation(2, lambda builder, a, b: builder.fsub(a, b))
mul = _operation(2, lambda builder, a, b: builder.fmul(a, b))
div = _operation(2, lambda builder, a, b: builder.fdiv(a, b))
maximum = _operation(2, _build_max)
fma = _operation(3, lambda builder, a, b, c: _call(builder, "fmuladd", a, b, c))
absolute = _operation(1, lambda builder, a: _call(builder, "fabs", a))
exp2 = _operation(1, _build_exp2)


@intrinsic
def total(typingctx, vector):  # noqa: D103
    def generate(context, builder, signature, args):
        value, width = args[0], LANES
        while width > 1:
            # Halves are added pairwise, in a fixed order, so that the sum is reproducible.
            width //= 2
            halves = [
                builder.shuffle_vector(
                    value,
                    ir.Constant(value.type, ir.Undefined),
                    ir.Constant(ir.VectorType(ir.IntType(32), width), list(lanes)),
                )
                for lanes in (range(width), range(width, 2 * width))
            ]
            value = builder.fadd(*halves)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float32(vector), generate


@intrinsic
def positive_below(typingctx, vector, limit):
    """Return bit ``l`` set where ``0 <= vector[l] < limit`` (limit >= 0; never for a NaN).

    Negative floats have their sign bit set, so one unsigned comparison of the bits does both.
    """

    def generate(context, builder, signature, args):
        scalar = context.cast(builder, args[1], signature.args[1], types.float32)
        bound = builder.bitcast(_splat(builder, scalar), _INTS)
        inside = builder.icmp_unsigned("<", builder.bitcast(args[0], _INTS), bound)
        bits = builder.bitcast(inside, ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(32))

    return types.uint32(vector, limit), generate


# Freedoms that the kernels give LLVM: to fuse, reorder and replace divisions; NaN and infinity keep
# their meaning, so that a diverging run shows itself in the loss.
FAST = {"contract", "reassoc", "arcp", "nsz"}
