"""Source ``folder``: the user's own photographs. Only a folder of images is required.

A COLMAP model beside them (3DGS's layout) comes with them; ``colmap.existing`` decides its use.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gradiseg_core.config.given_model import find_given, find_ignore
from gradiseg_core.files.manifest import Available, SceneManifest, every_nth, split_views
from gradiseg_core.stages.scene.ignored import place_ignored
from gradiseg_core.stages.scene.photographs import inspect_folder, link_tree, place_images
from gradiseg_core.stages.scene.unused import warn_of_unused

logger = logging.getLogger(__name__)


def prepare_folder(
    folder: Path, out_dir: Path, *, name: str, test_every: int, ignore: Path | None = None
) -> SceneManifest:
    """Bring the images of ``folder`` upright into ``out_dir/images`` and split them.

    Args:
        folder: The user's folder, or one that holds it as ``images/`` beside ``sparse/``:
            jpg, png, tif or webp files.
        out_dir: An existing, empty scene folder.
        name: The scene's name.
        test_every: Every n-th image by name is a test view, the first included.
        ignore: Folder of ignore masks; None looks for `ignore/` beside the photographs.

    Raises:
        InputError: If an image is unreadable or of another size, names collide, or there are
            fewer than 3.
    """
    given = find_given(folder)
    warn_of_unused(folder, given.images, given.sparse, "folder")
    photographs = inspect_folder(given.images, sparse=given.sparse, factor=given.downsampled)
    rewritten = place_images(photographs, out_dir / "images")
    masks = ignore or find_ignore(folder, given.images)
    place_ignored(masks, photographs, given.images, out_dir, asked=ignore is not None)
    names = [photo.name for photo in photographs]
    sizes = {photo.name: photo.size for photo in photographs}
    views = split_views(names, sizes, every_nth(names, test_every))
    logger.info("%d images from %s, %d of them rewritten", len(names), given.images, rewritten)
    if given.sparse is not None:
        link_tree(given.sparse, out_dir / "sparse")
        logger.info("the COLMAP model in %s comes with them (`colmap.existing`)", given.sparse)
    return SceneManifest(
        name=name,
        source="folder",
        views=views,
        has=Available(sparse=given.sparse is not None),
        downsampled=given.downsampled,
    )
