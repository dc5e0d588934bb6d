"""Source ``mipnerf360``: its images, its split, and its cameras at the images' size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image
from pydantic import ValidationError

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras, load_observations, load_points
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.scene.stage import prepare
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import poses, render, write_sparse

# Sides that are no multiple of 8, as those of the dataset (5187 x 3361 px of garden).
FULL = (485, 363)
SMALL = (60, 45)
VIEWS = {f"DSC{k:05}.JPG": pose for k, pose in enumerate(poses(9))}


def camera(size: tuple[int, int]) -> pycolmap.Camera:
    params = [460.0, 455.0, 240.0, 184.0]
    full = pycolmap.Camera(
        model="PINHOLE", width=FULL[0], height=FULL[1], params=params, camera_id=1
    )
    full.rescale(*size)
    return full


def lay_out(folder: Path, suffix: str = ".JPG") -> Path:
    """A scene in the dataset's layout: `images_8` rendered, the model made at full size."""
    (folder / "images_8").mkdir(parents=True)
    for name, pose in VIEWS.items():
        photograph, _ = render(camera(SMALL), pose)
        with (folder / "images_8" / name).with_suffix(suffix).open("wb") as file:
            Image.fromarray(photograph).save(file, "PNG" if suffix == ".png" else "JPEG")
    write_sparse(folder / "sparse" / "0", camera(FULL), VIEWS)
    (folder / "poses_bounds.npy").write_bytes(b"not read")
    return folder


def run(folder: Path, out: Path, factor: int = 8) -> SceneManifest:
    config = SceneConfig(source="mipnerf360", path=folder, factor=factor)
    return prepare(config, out, name="garden")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("mipnerf360") / "garden")


def test_split_size_and_parts(dataset: Path, tmp_path: Path) -> None:
    manifest = run(dataset, tmp_path / "scene")
    assert [view.name for view in manifest.test_views] == ["DSC00000.JPG", "DSC00008.JPG"]
    assert len(manifest.train_views) == 7
    assert set(manifest.sizes) == {SMALL}
    assert (manifest.source, manifest.downsampled) == ("mipnerf360", 8)
    assert manifest.has.sparse
    assert SceneManifest.load(tmp_path / "scene") == manifest
    assert sorted(path.name for path in (tmp_path / "scene").iterdir()) == [
        "images",
        "scene.json",
        "sparse",
    ]


@pytest.mark.parametrize("suffix", [".JPG", ".png"])
def test_the_given_model_at_the_images_size(tmp_path: Path, suffix: str) -> None:
    run(lay_out(tmp_path / "garden", suffix), tmp_path / "scene")
    config = ColmapConfig(existing="require")
    report = reconstruct(tmp_path / "scene", tmp_path / "colmap", config, seed=0, threads=1)
    assert (report["source"], report["registered"]) == ("existing", 9)
    assert not report["distortion"]
    assert report["mean_reprojection_error_px"] < 1e-3
    cameras = load_cameras(tmp_path / "colmap")
    scale = np.diag([SMALL[0] / FULL[0], SMALL[1] / FULL[1], 1.0])
    for name, pose in VIEWS.items():
        own = Path(name).with_suffix(suffix).name
        view = cameras[own]
        assert (view.width, view.height) == SMALL
        np.testing.assert_allclose(view.K, scale @ camera(FULL).calibration_matrix(), rtol=1e-12)
        np.testing.assert_allclose(view.cam_from_world, pose, atol=1e-12)
        assert read_image(tmp_path / "colmap" / "images" / own).shape == (SMALL[1], SMALL[0], 3)
        # The camera sees what is in the image, and what SfM observed in it is there as well.
        if suffix == ".png":
            image = read_image(tmp_path / "colmap" / "images" / own)
            lens = pycolmap.Camera(
                model="PINHOLE",
                width=view.width,
                height=view.height,
                params=[view.K[0, 0], view.K[1, 1], view.K[0, 2], view.K[1, 2]],
            )
            difference = np.abs(render(lens, view.cam_from_world)[0].astype(int) - image)
            assert difference.max() <= 1
    xyz, _ = load_points(tmp_path / "colmap")
    observed = load_observations(tmp_path / "colmap")
    for own, (xy, index) in observed.views.items():
        view = cameras[own]
        in_camera = xyz[index] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        projected = in_camera @ view.K.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], xy, atol=1e-3)
    assert observed.errors.max() < 1e-3


def test_a_model_of_the_images_own_size_stays(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "garden")
    write_sparse(folder / "sparse" / "0", camera(SMALL), VIEWS)
    run(folder, tmp_path / "scene")
    reconstruct(tmp_path / "scene", tmp_path / "out", ColmapConfig(), seed=0, threads=1)
    K = load_cameras(tmp_path / "out")["DSC00003.JPG"].K
    np.testing.assert_allclose(K, camera(SMALL).calibration_matrix())


def test_a_model_of_other_images_is_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "garden")
    write_sparse(folder / "sparse" / "0", camera((400, 363)), VIEWS)
    run(folder, tmp_path / "scene")
    with pytest.raises(InputError, match=r"60 x 45.*400 x 363"):
        reconstruct(tmp_path / "scene", tmp_path / "out", ColmapConfig(), seed=0, threads=1)


def test_a_folder_without_that_factor(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no folder images_4/"):
        run(dataset, tmp_path / "scene", factor=4)


def test_a_downloaded_scene(dataset: Path, tmp_path: Path) -> None:
    config = SceneConfig(source="mipnerf360", dataset="garden")
    manifest = prepare(config, tmp_path / "scene", name="g", downloaded=dataset)
    assert len(manifest.views) == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "mipnerf360", "dataset": "gardn"}, "no scene of mipnerf360; did you mean 'gar"),
        ({"source": "lerf_mask", "dataset": "garden"}, "valid: figurines, ramen, teatime"),
        ({"source": "folder", "dataset": "garden"}, "source is 'folder'"),
        ({"source": "mipnerf360", "dataset": "garden", "path": "x"}, "keep one of them"),
        ({"source": "mipnerf360"}, "or dataset, a published scene"),
        ({"source": "mipnerf360", "path": "x", "factor": 3}, "1, 2, 4 or 8"),
    ],
)
def test_what_does_not_fit(values: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SceneConfig(**values)
