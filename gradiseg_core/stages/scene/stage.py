"""Stage 1, ``scene``: photographs, their split and annotations, in one folder and one form."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.files.manifest import FILE_NAME, SceneManifest, SceneView, said_sizes
from gradiseg_core.stages.scene.listing import some
from gradiseg_core.stages.scene.photographs import link_tree

__all__ = ["SceneManifest", "SceneView", "prepare"]

logger = logging.getLogger(__name__)

MIN_TRAINING_VIEWS = 2  # fewer cannot be associated or reconstructed


def prepare(
    config: SceneConfig,
    out_dir: Path,
    *,
    name: str,
    downloaded: Path | None = None,
    copied: Path | None = None,
    threads: int = 1,
) -> SceneManifest:
    """Make the scene folder ``out_dir`` (see :mod:`gradiseg_core.files.manifest`).

    The folder is made beside ``out_dir`` under a hidden name and moved into place at the end, so
    that it is never there in part. It replaces an older one.

    Args:
        config: Source and its parameters.
        out_dir: Scene folder to make.
        name: The scene's name, kept in the manifest.
        downloaded: Folder of the published scene that ``config.dataset`` names.
        copied: Scene folder of the scene that ``config.of`` names.
        threads: CPU threads that read and write photographs.

    Returns:
        The manifest, also written to ``out_dir/scene.json``.

    Raises:
        InputError: If the user's images, split or masks are unusable.
        ConfigError: If a path is missing from the configuration.
    """
    out_dir = Path(out_dir)
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        source = {"copy": copied, "demo": DEMO_FOLDER}.get(
            config.source, downloaded if config.dataset is not None else config.path
        )
        manifest = _fill(config, source, partial, name=name, threads=threads)
        _check_split(manifest, config)
        manifest.save(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _move_into_place(partial, out_dir)
    logger.info(
        "scene %s: %d training and %d test views of %s px, %d prompts, in %s",
        name, len(manifest.train_views), len(manifest.test_views), said_sizes(manifest),
        len(manifest.prompts), out_dir,
    )  # fmt: skip
    return manifest


def _fill(
    config: SceneConfig, path: Path | None, folder: Path, *, name: str, threads: int
) -> SceneManifest:
    if path is None:
        raise ConfigError(f"scene {name}: source '{config.source}' needs `path`")
    source, test_every = Path(path), config.test_every
    if config.source == "copy":
        return _copy(source, folder, name=name)
    if config.source == "folder":
        from gradiseg_core.stages.scene.folder import prepare_folder

        return prepare_folder(source, folder, config, name=name, threads=threads)
    if config.source == "mipnerf360":
        from gradiseg_core.stages.scene.mipnerf360 import prepare_mipnerf360

        return prepare_mipnerf360(
            source,
            folder,
            name=name,
            test_every=test_every,
            factor=config.factor,
            ignore=config.ignore,
            threads=threads,
        )
    from gradiseg_core.stages.scene.lerf_mask import prepare_lerf_mask

    manifest = prepare_lerf_mask(
        source,
        folder,
        name=name,
        test_every=test_every,
        ignore=config.ignore,
        threads=threads,
    )
    return manifest.model_copy(update={"source": config.source})


def _check_split(manifest: SceneManifest, config: SceneConfig) -> None:
    """Warn if there is no test view.

    Raises:
        InputError: If there are too few training views to match objects between.
    """
    train, total = len(manifest.train_views), len(manifest.views)
    if train < MIN_TRAINING_VIEWS:
        raise InputError(
            f"scene {manifest.name}: only {train} of {total} images train (all but "
            f"{some([view.name for view in manifest.test_views])}), and at least "
            f"{MIN_TRAINING_VIEWS} must, better 20 or more: add images, put more of them into "
            f"images_train/ where there is one, or raise `test_every` (now {config.test_every}), "
            "which holds out every n-th"
        )
    if not manifest.test_views:
        logger.warning(
            "scene %s has no test views: all %d images train (all are in images_train/), so that "
            "there are no scores of held-out views",
            manifest.name, total,
        )  # fmt: skip


def _copy(other: Path, folder: Path, *, name: str) -> SceneManifest:
    """Fill ``folder`` with another scene's files, linked if the file system can."""
    manifest = SceneManifest.load(other)
    link_tree(other, folder)
    (folder / FILE_NAME).unlink()  # may be a link: writing to it would also rename the other scene
    return manifest.model_copy(update={"name": name})


def _move_into_place(partial: Path, out_dir: Path) -> None:
    old = out_dir.with_name(f".{out_dir.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if out_dir.exists():
        out_dir.rename(old)
    partial.rename(out_dir)
    if old.exists():
        shutil.rmtree(old)
