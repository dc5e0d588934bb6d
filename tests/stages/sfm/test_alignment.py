"""Alignment of cameras: cases computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradiseg_core.alignment import align_cameras, rotation_angle_deg, umeyama
from gradiseg_core.cameras import Camera
from tests.stages.sfm.alignment_errors import errors_of
from tests.stages.sfm.scenes import look_at

CENTERS = {"a": [0, 0, 1], "b": [4, 0, 1], "c": [4, 3, 1], "d": [0, 3, 2]}


def cameras() -> dict[str, Camera]:
    return {
        name: Camera(name, 64, 48, np.eye(3), look_at(np.array(center, float), [2.0, 1.5, 0.0]))
        for name, center in CENTERS.items()
    }


def test_umeyama_by_hand():
    """A quarter turn about z, scale 2, shift (1, 2, 3)."""
    source = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    target = np.array([[1, 2, 3], [1, 4, 3], [-1, 2, 3], [1, 2, 5]], float)
    similarity = umeyama(source, target)
    assert similarity.scale == pytest.approx(2)
    np.testing.assert_allclose(similarity.rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(similarity.translation, [1, 2, 3], atol=1e-12)


def test_a_mirror_image_is_not_mirrored_back():
    source = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    similarity = umeyama(source, source * [1, 1, -1])
    assert np.linalg.det(similarity.rotation) == pytest.approx(1)


def test_another_world_frame_leaves_no_error():
    reference = cameras()
    world = np.eye(4)  # the estimate's world: x_estimated = 5 (R x + t)
    world[:3, :3] = look_at(np.array([1.0, 2, 3]), [0.0, 0, 0])[:3, :3]
    world[:3, 3] = [0.3, -1, 2]
    estimated = {}
    for name, camera in reference.items():
        pose = camera.cam_from_world @ np.linalg.inv(world)
        pose[:3, 3] *= 5
        estimated[name] = replace(camera, cam_from_world=pose)
    alignment = align_cameras(estimated, reference)
    assert alignment.similarity.scale == pytest.approx(0.2)
    assert max(alignment.position_error.values()) < 1e-12
    assert max(alignment.rotation_error_deg.values()) < 1e-6


def test_a_turned_camera_shows_its_angle():
    reference = cameras()
    turn = np.eye(4)
    cos, sin = np.cos(np.radians(7)), np.sin(np.radians(7))
    turn[:2, :2] = [[cos, -sin], [sin, cos]]
    estimated = dict(reference)
    # Rolling about the optical axis keeps the centre, so the alignment does not move.
    estimated["b"] = replace(reference["b"], cam_from_world=turn @ reference["b"].cam_from_world)
    alignment = align_cameras(estimated, reference)
    assert alignment.rotation_error_deg["b"] == pytest.approx(7)
    assert alignment.rotation_error_deg["a"] == pytest.approx(0, abs=1e-9)
    assert errors_of(alignment)["rotation_error_deg"]["max"] == pytest.approx(7)
    assert errors_of(alignment)["views"] == 4


def test_positions_by_hand():
    """Four corners of a square, one pair pulled apart: what a similarity cannot explain."""
    names = {"a": [1, 1, 0], "b": [-1, 1, 0], "c": [-1, -1, 0], "d": [1, -1, 0]}
    reference, estimated = {}, {}
    for name, center in names.items():
        reference[name] = Camera(name, 1, 1, np.eye(3), _at(center))
        lift = [0, 0, 0.1 if name in "ac" else -0.1]  # a saddle: the best plane stays z = 0
        estimated[name] = replace(reference[name], cam_from_world=_at(np.add(center, lift)))
    alignment = align_cameras(estimated, reference)
    # Scale s minimises 4 ((1 - s)^2 2 + (0.1 s)^2): s = 2 / 2.01.
    s = 2 / 2.01
    assert alignment.similarity.scale == pytest.approx(s)
    expected = np.sqrt(2 * (1 - s) ** 2 + (0.1 * s) ** 2)
    assert list(alignment.position_error.values()) == pytest.approx([expected] * 4)


def _at(center) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = -np.asarray(center, float)
    return pose


def test_undetermined():
    reference = cameras()
    with pytest.raises(ValueError, match="3 shared views, got 2"):
        align_cameras({name: reference[name] for name in "ab"}, reference)
    line = {n: replace(reference[n], cam_from_world=_at([i, i, 0])) for i, n in enumerate("abc")}
    with pytest.raises(ValueError, match="one line"):
        align_cameras(line, line)


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 30.0, 179.999])
def test_rotation_angle(degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    assert rotation_angle_deg(rotation) == pytest.approx(degrees, rel=1e-9)
