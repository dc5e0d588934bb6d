"""The compact form of Gaussians: what it loses, and how large it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradiseg_core.stages.view import splats as module
from gradiseg_core.stages.view.splats import Splats, curve_order, decode, encode


def some(count: int, bases: int = 15, seed: int = 0) -> Splats:
    generator = np.random.default_rng(seed)
    return Splats(
        means=generator.normal(size=(count, 3)).astype(np.float32),
        quats=generator.normal(size=(count, 4)).astype(np.float32),
        scales=generator.uniform(-6, 0, (count, 3)).astype(np.float32),
        opacities=generator.uniform(0.01, 1, count).astype(np.float32),
        sh0=generator.uniform(-1.5, 1.5, (count, 3)).astype(np.float32),
        shN=generator.normal(scale=0.05, size=(count, bases, 3)).astype(np.float32),
        objects=generator.integers(0, 400, count).astype(np.int32),
        confidences=generator.uniform(0, 1, count).astype(np.float32),
        identities=generator.integers(0, 256, (count, 3)).astype(np.uint8),
    )


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between rotations, radians; a quaternion and its negative are one rotation."""
    unit = b / np.linalg.norm(b, axis=1, keepdims=True)
    return 2 * np.arccos(np.clip(np.abs((a * unit).sum(axis=1)), 0, 1))


@pytest.mark.parametrize("bases", [0, 3, 8, 15])
@pytest.mark.parametrize("count", [1, 255, 256, 1000])
def test_what_is_read_back_is_what_was_written(count: int, bases: int) -> None:
    given = some(count, bases)
    packed, header = encode(given)
    read = decode(packed, header)
    given = given.taken(curve_order(given.means))
    box = given.means.max(axis=0) - given.means.min(axis=0)
    assert np.abs(read.means - given.means).max() <= box.max() / 65535 + 1e-6
    assert angles(read.quats, given.quats).max() < 0.02
    assert np.abs(read.scales - given.scales).max() < 0.02
    assert np.abs(read.opacities - given.opacities).max() < 0.0021
    assert np.abs(read.sh0 - given.sh0).max() < 0.012
    assert read.shN.shape == (count, bases, 3)
    if bases:
        assert np.abs(read.shN - given.shN).max() < 0.06  # the outermost are clipped
        assert np.quantile(np.abs(read.shN - given.shN), 0.99) < 0.0026
    assert np.array_equal(read.objects, given.objects)
    assert np.abs(read.confidences - given.confidences).max() < 0.0021
    assert np.array_equal(read.identities, given.identities)


def test_large_scales_are_not_clipped_and_far_points_cost_the_others_nothing() -> None:
    given = some(2000)
    given.means[7] = 5000.0
    given.scales[11] = 4.0
    packed, header = encode(given)
    read = decode(packed, header)
    order = curve_order(given.means)
    assert read.scales.max() == pytest.approx(4.0, abs=0.02)
    near = np.delete(np.arange(2000), np.flatnonzero(order // 1 == 7)[0])
    error = np.abs(read.means - given.means[order]).max(axis=1)
    assert np.quantile(error[near], 0.8) < 1e-3  # chunks without the far point


def test_opacity_and_confidence_keep_their_ends() -> None:
    given = replace(
        some(300), opacities=np.ones(300, np.float32), confidences=np.ones(300, np.float32)
    )
    read = decode(*encode(given))
    assert (read.opacities == 1).all()
    assert (read.confidences == 1).all()


def test_a_large_scene_takes_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As lean as one of a million: base64 makes 4 bytes of 3, and 25 MB must hold it."""
    monkeypatch.setattr(module, "LEAN_ABOVE", 10_000)
    generator = np.random.default_rng(1)
    count = 40_000
    place = generator.uniform(0, 1, (count, 2))
    given = some(count, 15)
    means = np.c_[place, 0.1 * np.sin(9 * place[:, 0])].astype(np.float32)
    shade = np.sin(5 * means) + generator.normal(scale=0.3, size=(count, 3))
    object_ = (place @ [3, 5]).astype(np.int32)
    given = replace(
        given,
        means=means,
        quats=given.quats * 0.2 + np.array([1, 0, 0, 0], np.float32),
        scales=generator.normal(-4, 0.7, (count, 3)).astype(np.float32),
        sh0=shade.astype(np.float32),
        shN=(0.3 * given.shN).astype(np.float32),
        objects=object_,
        confidences=np.clip(1 - generator.exponential(0.05, count), 0, 1).astype(np.float32),
        identities=(25 * object_[:, None] + generator.normal(100, 6, (count, 3))).astype(np.uint8),
    )
    packed, header = encode(given)
    assert header["bases"] == 3
    assert len(packed) / count < 18.7
    read = decode(packed, header)
    order = curve_order(given.means)
    assert np.abs(read.means - given.means[order]).max() < 1e-3
    assert np.abs(read.shN - given.shN[order, :3]).max() < 0.0101
    assert np.array_equal(read.objects, given.objects[order])


def test_the_same_scene_gives_the_same_bytes() -> None:
    assert encode(some(500))[0] == encode(some(500))[0]


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no Gaussian"):
        encode(some(3).taken(np.zeros(0, int)))


def test_the_curve_keeps_neighbours_together() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(16.0)] * 3), axis=-1).reshape(-1, 3)
    mixed = grid[np.random.default_rng(0).permutation(len(grid))].astype(np.float32)
    steps = np.linalg.norm(np.diff(mixed[curve_order(mixed)], axis=0), axis=1)
    assert steps.mean() < 2.5  # of a random order it would be 10
