"""Maps given for the original photographs follow them into the undistorted views."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest

from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.images import read_image
from gradiseg_core.files.undistort import undistorted_point, warp_map
from tests.stages.sfm.scenes import render


def _pinhole(camera) -> pycolmap.Camera:
    K = camera.K
    return pycolmap.Camera(
        model="PINHOLE",
        width=camera.width,
        height=camera.height,
        params=[K[0, 0], K[1, 1], K[0, 2], K[1, 2]],
    )


def test_ids_land_where_a_pinhole_camera_sees_them(corner):
    """Wall IDs of the distorted photograph, warped, against the walls rendered without a lens."""
    for name, camera in load_cameras(corner.colmap_dir).items():
        warped = warp_map(corner.colmap_dir, name, corner.walls[name])
        _, truth = render(_pinhole(camera), corner.cameras[name].cam_from_world)
        assert warped.dtype == corner.walls[name].dtype
        assert warped.shape == truth.shape
        assert (warped != truth).mean() < 0.01
        straight = corner.walls[name][: truth.shape[0], : truth.shape[1]]
        unwarped = truth[: straight.shape[0], : straight.shape[1]] != straight
        assert unwarped.mean() > 2 * (warped != truth).mean()  # the lens matters here


def test_linear_warp_agrees_with_colmaps(corner):
    """Photographs are warped by COLMAP, maps by us: both must mean the same pixels."""
    name = "view_3.png"
    ours = warp_map(
        corner.colmap_dir, name, read_image(corner.scene_dir / "images" / name), nearest=False
    )
    theirs = read_image(corner.colmap_dir / "images" / name)
    difference = np.abs(ours.astype(int) - theirs.astype(int))[2:-2, 2:-2]
    assert difference.mean() < 1.0  # of 255; half a pixel of shift would give more than 5


def test_channels_are_kept(corner):
    stack = np.stack([corner.walls["view_1.png"]] * 2, axis=-1)
    warped = warp_map(corner.colmap_dir, "view_1.png", stack)
    one = warp_map(corner.colmap_dir, "view_1.png", corner.walls["view_1.png"])
    np.testing.assert_array_equal(warped, np.stack([one, one], axis=-1))


def test_wrong_size_and_unknown_view(corner):
    with pytest.raises(InputError, match=r"view_0\.png is 100 x 50 px.*240 x 180"):
        warp_map(corner.colmap_dir, "view_0.png", np.zeros((50, 100)))
    with pytest.raises(InputError, match=r"nobody\.png has no camera"):
        warp_map(corner.colmap_dir, "nobody.png", np.zeros((180, 240)))
    with pytest.raises(InputError, match="run stage `colmap`"):
        warp_map(corner.colmap_dir / "nowhere", "view_0.png", np.zeros((180, 240)))


def test_a_point_lands_where_a_map_of_it_does(corner):
    """Of a grid of points each, against a map in which every pixel has a number of its own."""
    height, width = corner.walls["view_1.png"].shape
    numbers = 1 + np.arange(height * width).reshape(height, width)
    warped = warp_map(corner.colmap_dir, "view_1.png", numbers)
    seen = 0
    for row in range(5, height, 20):
        for column in range(5, width, 20):
            point = (column + 0.5, row + 0.5)
            place = undistorted_point(corner.colmap_dir, "view_1.png", point)
            if place is None:
                assert numbers[row, column] not in warped
                continue
            seen += 1
            there = warped[int(place[1] * warped.shape[0]), int(place[0] * warped.shape[1])] - 1
            assert abs(there // width - row) <= 1
            assert abs(there % width - column) <= 1
    assert seen > 50


def test_a_point_of_a_cut_corner_or_of_an_unknown_view(corner):
    assert undistorted_point(corner.colmap_dir, "view_1.png", (0.1, 0.1)) is None
    with pytest.raises(InputError, match=r"nobody\.png has no camera"):
        undistorted_point(corner.colmap_dir, "nobody.png", (5.0, 5.0))
