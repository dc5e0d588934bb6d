"""Photographs with an EXIF orientation beside a COLMAP model, which may know nothing of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image, ImageOps

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.images import read_image
from gradiseg_core.stages.scene.camera_sizes import camera_sizes
from gradiseg_core.stages.scene.stage import prepare
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import lens, poses, render, write_sparse

NAMES = [f"view_{index}.png" for index in range(4)]


def write_photographs(folder: Path, camera: pycolmap.Camera, orientation: int) -> None:
    """Write the stored pixels that `camera` sees, with an EXIF orientation."""
    (folder / "images").mkdir(parents=True)
    for name, pose in zip(NAMES, poses(4), strict=True):
        image = Image.fromarray(render(camera, pose)[0])
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(folder / "images" / name, exif=exif.tobytes())


def colmap_of(folder: Path, camera: pycolmap.Camera, config: ColmapConfig | None = None) -> Path:
    write_sparse(folder / "sparse" / "0", camera, dict(zip(NAMES, poses(4), strict=True)))
    source = SceneConfig(source="lerf_mask", path=folder, test_every=2)
    prepare(source, folder / "scene", name="turned")
    config = config or ColmapConfig(existing="require")
    reconstruct(folder / "scene", folder / "colmap", config, seed=0, threads=1)
    return folder / "colmap"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_model_of_the_stored_pixels(tmp_path: Path, orientation: int) -> None:
    write_photographs(tmp_path, lens(), orientation)
    colmap_dir = colmap_of(tmp_path, lens())
    cameras = load_cameras(colmap_dir)
    for name, pose in zip(NAMES, poses(4), strict=True):
        np.testing.assert_allclose(cameras[name].cam_from_world, pose, atol=1e-12)
        expected = render(lens(), pose)[0]
        np.testing.assert_array_equal(read_image(colmap_dir / "images" / name), expected)
        with Image.open(colmap_dir / "images" / name) as file:  # whatever reads it agrees
            assert file.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", range(5, 9))
@pytest.mark.parametrize("form", ["bin", "txt"])
def test_a_model_of_upright_pixels(tmp_path: Path, orientation: int, form: str) -> None:
    """As of programs that turn the photographs: sizes tell where width and height swap."""
    write_photographs(tmp_path, lens(), orientation)
    upright = pycolmap.Camera(
        model="PINHOLE", width=180, height=240, params=[230.0, 230.0, 90.0, 120.0], camera_id=1
    )
    sparse = tmp_path / "sparse" / "0"
    if form == "txt":
        write_sparse(sparse, upright, dict(zip(NAMES, poses(4), strict=True)))
        pycolmap.Reconstruction(sparse).write_text(sparse)
        for path in sparse.glob("*.bin"):
            path.unlink()
        assert camera_sizes(sparse) == {name[:-4]: (180, 240) for name in NAMES}
        source = SceneConfig(source="lerf_mask", path=tmp_path, test_every=2)
        prepare(source, tmp_path / "scene", name="turned")
        images = tmp_path / "scene" / "images"
    else:
        images = colmap_of(tmp_path, upright) / "images"
    for name in NAMES:
        with Image.open(tmp_path / "images" / name) as file:
            expected = np.asarray(ImageOps.exif_transpose(file))
        np.testing.assert_array_equal(read_image(images / name), expected)


def test_a_lens_is_removed_from_stored_pixels(tmp_path: Path) -> None:
    """The photograph that COLMAP undistorts carries no orientation either."""
    camera = lens("SIMPLE_RADIAL")
    for folder, orientation in (("plain", 1), ("turned", 3)):
        write_photographs(tmp_path / folder, camera, orientation)
        colmap_of(tmp_path / folder, camera)
    for name in NAMES:
        plain, turned = (
            read_image(tmp_path / folder / "colmap" / "images" / name)
            for folder in ("plain", "turned")
        )
        np.testing.assert_array_equal(turned, plain)


def test_sizes_are_read_through_every_camera_model(tmp_path: Path) -> None:
    model = pycolmap.Reconstruction()
    expected = {}
    for number, (name, kind) in enumerate(pycolmap.CameraModelId.__members__.items()):
        if name == "INVALID":
            continue
        camera = pycolmap.Camera.create_from_model_id(number + 1, kind, 100.0, 50 + number, 40)
        model.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(
            image_id=number + 1, name=f"in folder/{name}.jpg", camera_id=number + 1
        )
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
        expected[name] = (50 + number, 40)
    for write, folder in ((model.write_binary, "bin"), (model.write_text, "txt")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder)
        assert camera_sizes(tmp_path / folder) == expected
    cut = (tmp_path / "bin" / "images.bin").read_bytes()[:70]
    (tmp_path / "bin" / "images.bin").write_bytes(cut)
    assert camera_sizes(tmp_path / "bin") == {}
