"""Source ``mipnerf360``: a scene in the layout of Mip-NeRF 360.

    images/  images_2/  images_4/  images_8/  sparse/0/  [poses_bounds.npy, not used]

One of the image folders is read. ``sparse/0`` is the dataset's own COLMAP model, made from the
images of full size; the manifest's ``downsampled`` tells stage ``colmap`` to scale it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gradiseg_core.config.datasets import images_folder
from gradiseg_core.config.given_model import find_ignore
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import Available, SceneManifest, every_nth, split_views
from gradiseg_core.stages.scene.ignored import place_ignored
from gradiseg_core.stages.scene.photographs import inspect_folder, link_tree, place_images

logger = logging.getLogger(__name__)


def prepare_mipnerf360(
    folder: Path,
    out_dir: Path,
    *,
    name: str,
    test_every: int,
    factor: int,
    ignore: Path | None = None,
    threads: int = 1,
) -> SceneManifest:
    """Link a Mip-NeRF 360 scene into ``out_dir``.

    Args:
        folder: Folder that holds the image folders and ``sparse/``.
        out_dir: An existing, empty scene folder.
        name: The scene's name.
        test_every: Every n-th image by name is a test view, the first included.
        factor: Which image folder: 1, 2, 4 or 8.
        ignore: Folder of ignore masks; None looks for `ignore/` beside the photographs.
        threads: CPU threads that read and write photographs.

    Raises:
        InputError: If the image folder is missing, or an image is unusable.
    """
    image_dir = folder / images_folder(factor)
    if not image_dir.is_dir():
        raise InputError(
            f"{folder} has no folder {image_dir.name}/, which `factor: {factor}` asks for; set the "
            "factor of a folder that is there"
        )
    photographs, _ = inspect_folder(
        image_dir, sparse=folder / "sparse", factor=factor, threads=threads
    )
    place_images(photographs, out_dir / "images", threads=threads)
    masks = ignore or find_ignore(folder, image_dir)
    place_ignored(masks, photographs, image_dir, out_dir, asked=ignore is not None)
    has_sparse = any((folder / "sparse").rglob("cameras.*"))
    if has_sparse:
        link_tree(folder / "sparse", out_dir / "sparse")
    else:
        logger.warning("%s has no COLMAP model in sparse/: cameras will be found anew", folder)
    names = [photo.name for photo in photographs]
    sizes = {photo.name: photo.size for photo in photographs}
    views = split_views(names, sizes, every_nth(names, test_every))
    logger.info("%d images from %s, every %d-th a test view", len(views), image_dir, test_every)
    return SceneManifest(
        name=name,
        source="mipnerf360",
        views=views,
        has=Available(sparse=has_sparse),
        downsampled=factor,
    )
