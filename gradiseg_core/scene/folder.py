"""Source ``folder``: the user's own photographs. Nothing but a folder of images is demanded."""

from __future__ import annotations

import logging
from pathlib import Path

from gradiseg_core.scene.manifest import SceneManifest, every_nth, split_views
from gradiseg_core.scene.photographs import inspect_folder, place_image

logger = logging.getLogger(__name__)


def prepare_folder(folder: Path, out_dir: Path, *, name: str, test_every: int) -> SceneManifest:
    """Bring the images of ``folder`` upright into ``out_dir/images`` and split them.

    Args:
        folder: The user's folder of jpg, png or tif files.
        out_dir: An existing, empty scene folder.
        name: The scene's name.
        test_every: Every n-th image by name is a test view, the first included.

    Raises:
        InputError: If an image is unreadable or of another size, names collide, or there are
            fewer than 3.
    """
    photographs = inspect_folder(folder)
    (out_dir / "images").mkdir(parents=True, exist_ok=True)
    for photo in photographs:
        place_image(photo, out_dir / "images" / photo.path.name)
    names = [photo.path.name for photo in photographs]
    views = split_views(names, photographs[0].size, every_nth(names, test_every))
    rewritten = sum(not photo.as_is for photo in photographs)
    logger.info("%d images from %s, %d of them rewritten upright", len(names), folder, rewritten)
    return SceneManifest(name=name, source="folder", views=views)
