"""Removes lens distortion from a reconstruction and from ID maps of its views."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError

_HARDLY_BENT = 1e-7
JPEG_QUALITY = 98  # of undistorted photographs: below visible loss, a third of 100's size


def write_undistorted(model: Any, image_dir: Path, out_dir: Path, *, threads: int) -> bool:
    """Write `images/` and `sparse/0/` in COLMAP's layout with PINHOLE cameras.

    Where a camera has distortion, all images are warped (no blank borders, so their sizes change)
    and the original model is kept in `distorted/`; otherwise the images are copied as they are.

    Args:
        model: `pycolmap.Reconstruction`; its cameras are converted in place.
        image_dir: Folder of the original photographs.
        out_dir: Output folder of stage `colmap`; what an earlier run wrote there is replaced.
        threads: CPU threads.

    Returns:
        Whether there was distortion.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    for name in ("images", "sparse", "distorted"):
        shutil.rmtree(out_dir / name, ignore_errors=True)
    sparse = out_dir / "sparse" / "0"
    distorted = any(not _is_pinhole(camera) for camera in model.cameras.values())
    if distorted:
        for camera in model.cameras.values():
            _bend(camera)
        original, warped = out_dir / "distorted", out_dir / "undistorting"
        original.mkdir(parents=True)
        model.write_binary(original)
        shutil.rmtree(warped, ignore_errors=True)
        pycolmap.undistort_images(
            warped, original, image_dir, jpeg_quality=JPEG_QUALITY, num_threads=threads
        )
        (warped / "images").rename(out_dir / "images")
        sparse.parent.mkdir(parents=True)
        (warped / "sparse").rename(sparse)
        shutil.rmtree(warped)
    else:
        for camera in model.cameras.values():
            K = camera.calibration_matrix()
            camera.model = pycolmap.CameraModelId.PINHOLE
            camera.params = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
        sparse.mkdir(parents=True)
        model.write_binary(sparse)
        (out_dir / "images").mkdir()
        for image_id in model.reg_image_ids():
            name = model.image(image_id).name
            shutil.copyfile(image_dir / name, out_dir / "images" / name)
    return distorted


def warp_map(
    colmap_dir: Path, name: str, array: NDArray, *, nearest: bool = True
) -> NDArray:  # [H', W'] or [H', W', C], as `array`
    """Resample a map of an original photograph into the frame of its undistorted view.

    Args:
        colmap_dir: Output folder of stage `colmap`.
        name: File name of the image.
        array: [H, W] or [H, W, C] in the original photograph's frame, of its size.
        nearest: Nearest neighbour (for IDs and masks); False interpolates linearly.

    Returns:
        The map in the undistorted view's frame and size; `array` itself where the images had no
        distortion. What lies outside the photograph is 0.

    Raises:
        InputError: If the image has no camera, or `array` is not of the photograph's size.
    """
    colmap_dir = Path(colmap_dir)
    pinhole = _cameras_by_name(colmap_dir / "sparse" / "0", _stamp(colmap_dir / "sparse" / "0"))
    if name not in pinhole:
        raise InputError(
            f"{name} has no camera in {colmap_dir / 'sparse' / '0'}: COLMAP left it out"
        )
    source = colmap_dir / "distorted"
    lens = _cameras_by_name(source, _stamp(source)) if source.is_dir() else pinhole
    camera = lens[name]
    if array.shape[:2] != (camera.height, camera.width):
        raise InputError(
            f"the map of {name} is {array.shape[1]} x {array.shape[0]} px, its photograph "
            f"{camera.width} x {camera.height} px; give maps of the photographs' size"
        )
    if camera is pinhole[name]:
        return array
    xy = _source_positions(pinhole[name], camera)
    if nearest:
        return _sample_nearest(array, xy)
    return _sample_linear(array, xy)


def undistorted_point(
    colmap_dir: Path, name: str, point: tuple[float, float]
) -> tuple[float, float] | None:
    """Return where a point of a distorted photograph lies in its undistorted view.

    Args:
        colmap_dir: Output folder of stage `colmap`, with ``distorted/``.
        name: File name of the image.
        point: x and y, px from the photograph's upper left corner.

    Returns:
        x and y in parts of the view's width and height, 0..1. None where it lies outside, since
        undistorting cuts borders off.

    Raises:
        InputError: If the image has no camera.
    """
    sparse, source = Path(colmap_dir) / "sparse" / "0", Path(colmap_dir) / "distorted"
    pinhole = _cameras_by_name(sparse, _stamp(sparse)).get(name)
    if pinhole is None:
        raise InputError(f"{name} has no camera in {sparse}: COLMAP left it out")
    lens = _cameras_by_name(source, _stamp(source))[name]
    ray = np.asarray(lens.cam_from_img(np.array([point], np.float64)))[0]
    K = pinhole.calibration_matrix()
    x, y = K[:2, :2] @ ray + K[:2, 2]
    if not (0 <= x < pinhole.width and 0 <= y < pinhole.height):  # not true of NaN either
        return None
    return float(x / pinhole.width), float(y / pinhole.height)


def _source_positions(pinhole: Any, lens: Any) -> NDArray[np.float64]:
    """Return where each undistorted pixel's centre lies in the photograph, [H', W', 2] px."""
    x, y = np.meshgrid(np.arange(pinhole.width) + 0.5, np.arange(pinhole.height) + 0.5)
    K = pinhole.calibration_matrix()
    rays = np.stack(
        [(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1
    ).reshape(-1, 3)
    return lens.img_from_cam(rays).reshape(pinhole.height, pinhole.width, 2)


def _sample_nearest(array: NDArray, xy: NDArray[np.float64]) -> NDArray:
    height, width = array.shape[:2]
    column, row = np.floor(np.nan_to_num(xy, nan=-1.0)).astype(np.int64).transpose(2, 0, 1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    result = array[row.clip(0, height - 1), column.clip(0, width - 1)]
    result[~inside] = 0
    return result


def _sample_linear(array: NDArray, xy: NDArray[np.float64]) -> NDArray:
    from scipy.ndimage import map_coordinates

    at = [xy[..., 1] - 0.5, xy[..., 0] - 0.5]
    channels = array.reshape(*array.shape[:2], -1).astype(np.float64)
    height, width = array.shape[:2]
    inside = (xy >= 0).all(-1) & (xy[..., 0] <= width) & (xy[..., 1] <= height)
    planes = [
        map_coordinates(channels[..., c], at, order=1, mode="nearest") * inside
        for c in range(channels.shape[-1])
    ]
    result = np.stack(planes, axis=-1).reshape(*xy.shape[:2], *array.shape[2:])
    if np.issubdtype(array.dtype, np.integer):
        result = np.rint(result)
    return result.astype(array.dtype)


def _is_pinhole(camera: Any) -> bool:
    return camera.model_name in ("PINHOLE", "SIMPLE_PINHOLE")


def _bend(camera: Any) -> None:
    """Have COLMAP undistort a fisheye lens whose own coefficients are all zero.

    COLMAP (4.2) takes every camera without such coefficients for a pinhole and copies its images,
    but an ideal fisheye maps angles, not tangents. A coefficient just above COLMAP's threshold of
    1e-8 moves no pixel by a thousandth.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    if "FISHEYE" not in camera.model_name or not camera.is_undistorted():
        return
    if camera.model_name in ("FISHEYE", "SIMPLE_FISHEYE"):
        K = camera.calibration_matrix()
        camera.model = pycolmap.CameraModelId.OPENCV_FISHEYE
        camera.params = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], 0.0, 0.0, 0.0, 0.0]
    params = camera.params.copy()
    params[camera.extra_params_idxs()[0]] = _HARDLY_BENT
    camera.params = params


def _stamp(folder: Path) -> int:
    """Return what changes when the model in `folder` is rewritten (the cache's second key)."""
    path = folder / "images.bin"
    if not path.is_file():
        raise InputError(f"{path} not found: run stage `colmap` for this scene first")
    return path.stat().st_mtime_ns


@lru_cache(maxsize=4)
def _cameras_by_name(folder: Path, stamp: int) -> dict[str, Any]:
    from gradiseg_core.files._pycolmap import pycolmap

    model = pycolmap.Reconstruction(folder)
    # Copies: objects inside a reconstruction are freed with it.
    return {image.name: pycolmap.Camera(image.camera.todict()) for image in model.images.values()}
