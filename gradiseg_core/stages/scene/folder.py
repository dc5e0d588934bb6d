"""Source ``folder``: the user's own photographs. Only a folder of images is required.

A COLMAP model beside them (3DGS's layout) or a ``transforms.json`` comes with them;
``colmap.existing`` decides its use.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gradiseg_core.config.given_model import find_given, find_ignore
from gradiseg_core.config.photo_files import videos_of
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.files.manifest import Available, SceneManifest, by_name, every_nth, split_views
from gradiseg_core.stages.scene.exposures import say_exposures
from gradiseg_core.stages.scene.ignored import place_ignored
from gradiseg_core.stages.scene.inspected import forget_inspected, load_inspected
from gradiseg_core.stages.scene.naming import common_root
from gradiseg_core.stages.scene.photographs import inspect_folder, link_tree, place_images
from gradiseg_core.stages.scene.transforms import write_given_cameras
from gradiseg_core.stages.scene.unused import warn_of_unused

logger = logging.getLogger(__name__)


def prepare_folder(
    folder: Path, out_dir: Path, config: SceneConfig, *, name: str, threads: int = 1
) -> SceneManifest:
    """Bring the images of ``folder`` upright into ``out_dir/images`` and split them.

    Args:
        folder: The user's folder, or one that holds it as ``images/`` beside ``sparse/``:
            photographs, in sub-folders too.
        out_dir: An existing, empty scene folder.
        config: The scene's configuration.
        name: The scene's name.
        threads: CPU threads that read and write photographs.

    Raises:
        InputError: If an image or video is unreadable, or there are fewer than 3 images.
    """
    given = find_given(folder)
    videos = sorted(videos_of(given.images), key=lambda path: by_name(str(path)))
    if videos:
        return _of_videos(videos, folder, out_dir, config, name=name, threads=threads)
    sparse = given.sparse
    if given.transforms:
        write_given_cameras(given.transforms, given.images, out_dir / "sparse" / "0")
        sparse = out_dir / "sparse"
    warn_of_unused(folder, given.images, sparse, "folder")
    photographs, unused = inspect_folder(
        given.images,
        sparse=sparse,
        factor=given.downsampled,
        own=True,
        skip_unreadable=config.skip_unreadable,
        threads=threads,
        known=load_inspected(out_dir.parent),
    )
    say_exposures(photographs)
    rewritten = place_images(photographs, out_dir / "images", threads=threads)
    root = common_root(given.images, [photo.path for photo in photographs])
    masks = config.ignore or find_ignore(folder, given.images)
    place_ignored(masks, photographs, root, out_dir, asked=config.ignore is not None)
    names = [photo.name for photo in photographs]
    sizes = {photo.name: photo.size for photo in photographs}
    views = split_views(names, sizes, every_nth(names, config.test_every))
    originals = {photo.name: str(photo.path.relative_to(root)) for photo in photographs}
    views = [
        view.model_copy(update={"original": originals[view.name]})
        if originals[view.name] != view.name
        else view
        for view in views
    ]
    logger.info("%d images from %s, %d of them rewritten", len(names), given.images, rewritten)
    if given.sparse is not None:
        link_tree(given.sparse, out_dir / "sparse")
        logger.info("the COLMAP model in %s comes with them (`colmap.existing`)", given.sparse)
    forget_inspected(out_dir.parent)
    return SceneManifest(
        name=name,
        source="folder",
        views=views,
        has=Available(sparse=sparse is not None),
        downsampled=given.downsampled,
        unused=unused,
    )


def _of_videos(
    videos: list[Path],
    folder: Path,
    out_dir: Path,
    config: SceneConfig,
    *,
    name: str,
    threads: int,
) -> SceneManifest:
    from gradiseg_core.stages.scene.video import prepare_videos

    root = common_root(folder.parent if folder.is_file() else folder, videos)
    manifest, frames = prepare_videos(videos, root, out_dir, config, name=name, threads=threads)
    masks = config.ignore or (None if folder.is_file() else find_ignore(folder, folder))
    place_ignored(masks, frames, out_dir / "images", out_dir, asked=config.ignore is not None)
    return manifest
