"""The vector functions of kernels against numpy, lane by lane."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.compute import simd
from gradiseg_core.compute.cpu_runtime import kernel

VALUES = np.array(
    [-7.5, -3.0, -1.2, -0.5, -1e-9, 0.0, 1e-9, 0.3, 0.5, 0.999, 1.0, 1.5, 2.0, 3.7, 1e4, np.nan],
    np.float32,
)


@kernel()
def each(values, others, result):  # type: ignore[no-untyped-def]
    a, b = simd.load(values, 0), simd.load(others, 0)
    simd.store(result, 0, simd.floor(a))
    simd.store(result, 16, simd.ceil(a))
    simd.store(result, 32, simd.minimum(a, b))
    simd.store(result, 48, simd.maximum(a, b))
    simd.store(result, 64, simd.maximum(a, np.float32(0.25)))
    simd.store(result, 80, simd.sqrt(simd.maximum(a, np.float32(0.0))))
    simd.store(result, 96, a / b)


@kernel()
def truncate(values, result):  # type: ignore[no-untyped-def]
    simd.store(result, 0, simd.to_int(simd.load(values, 0)))


@kernel()
def logarithm(values, result):  # type: ignore[no-untyped-def]
    for i in range(0, values.shape[0], simd.LANES):
        simd.store(result, i, simd.log2(simd.load(values, i)))


@kernel()
def transposed(array, source, row, target, column):  # type: ignore[no-untyped-def]
    simd.transpose(array, source, row, target, column)


def test_lane_by_lane() -> None:
    others = np.linspace(-4.0, 4.5, 16, dtype=np.float32)
    result = np.empty(7 * 16, np.float32)
    each(VALUES, others, result)
    numbers = np.where(np.isnan(VALUES), others, VALUES)  # a NaN takes the bound
    expected = [
        np.floor(VALUES), np.ceil(VALUES), np.minimum(numbers, others), np.maximum(numbers, others),
        np.where(VALUES > 0.25, VALUES, np.float32(0.25)), np.sqrt(np.where(VALUES > 0, VALUES, 0)),
        VALUES / others,
    ]  # fmt: skip
    np.testing.assert_array_equal(result.reshape(7, 16), np.stack(expected))


def test_truncation() -> None:
    result = np.empty(16, np.int32)
    values = np.append(VALUES[:15], np.float32(-2e9))
    truncate(values, result)
    np.testing.assert_array_equal(result, values.astype(np.int32))


def test_logarithm() -> None:
    generator = np.random.default_rng(0)
    values = np.exp2(generator.uniform(-125, 127, 4096)).astype(np.float32)
    values[:2048] = generator.uniform(0.5, 2.0, 2048)
    values[:4] = 1.0, 2.0, 0.5, np.float32(1 / 255)
    result = np.empty_like(values)
    logarithm(values, result)
    truth = np.log2(values.astype(np.float64))
    assert (np.abs(result - truth) <= 2e-7 + 1e-7 * np.abs(truth)).all()
    assert tuple(result[:3]) == (0.0, 1.0, -1.0)


@pytest.mark.parametrize(("row", "column"), [(16, 16), (48, 16), (16, 64), (19, 23)])
def test_transposition(row: int, column: int) -> None:
    array = np.arange(4096, dtype=np.float32)
    before = array.copy()
    source, target = 5, 2000
    transposed(array, source, row, target, column)
    expected = before.copy()
    for i in range(16):
        for j in range(16):
            expected[target + j * column + i] = before[source + i * row + j]
    np.testing.assert_array_equal(array, expected)


def test_transposition_in_place() -> None:
    array = np.random.default_rng(1).random(256).astype(np.float32)
    expected = array.reshape(16, 16).T.copy()
    transposed(array, 0, 16, 0, 16)
    np.testing.assert_array_equal(array.reshape(16, 16), expected)
