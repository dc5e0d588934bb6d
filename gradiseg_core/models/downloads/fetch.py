"""Fetches a checkpoint or a dataset: once, whole and checked, or not at all.

Every download is made under a hidden name beside its target, compared with its hash, and moved into
place; a lock per target keeps two processes from doing it twice.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from gradiseg_core.config.checkpoints import Checkpoint
from gradiseg_core.config.datasets import LERF_MASK_PARTS, Dataset, images_folder
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.offline import missing_offline
from gradiseg_core.errors import DownloadError
from gradiseg_core.models.downloads.archive import checked_members, folder_of, unpack
from gradiseg_core.models.downloads.disk import bytes_text, full_disk_explained
from gradiseg_core.models.downloads.hashes import file_sha256, tree_sha256
from gradiseg_core.models.downloads.http import UnreachableError, fetch_url, mark_file
from gradiseg_core.models.downloads.hub import Hub, HubFile
from gradiseg_core.models.downloads.lockfile import DownloadLock, Entry
from gradiseg_core.models.downloads.remote import fetch_members

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

Sleep = Callable[[float], Any]

#: Files of a model's repository that are read by unpickling; the safetensors beside them are not.
_PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")


def fetch_checkpoint(
    checkpoint: Checkpoint,
    target: Path,
    config: DownloadsConfig,
    *,
    endpoint: str | None = None,
    sleep: Sleep = time.sleep,
) -> None:
    """Fetch one checkpoint into ``target``; what is there already is left alone.

    Args:
        checkpoint: What to fetch.
        target: File or folder to make.
        config: Retries, time limit, lock file, whether the network may be used.
        endpoint: Address of the hub; None takes the client's.
        sleep: Waits between attempts; replaced by tests.

    Raises:
        DownloadError: If it cannot be fetched, is not what the registry or the lock file says, or
            does not fit the disk. ``target`` does not exist then.
    """
    with _making(target, checkpoint.name, checkpoint.page, config) as partial:
        if partial is None:
            return
        if checkpoint.kind == "file":
            fetch_url(
                checkpoint.url,
                partial,
                retries=config.retries,
                timeout_s=config.timeout_s,
                expected_size=checkpoint.size,
                sleep=sleep,
            )
            entry = Entry(checkpoint.url, "", file_sha256(partial), partial.stat().st_size)
            _check_published(checkpoint, entry)
        else:
            hub = _hub(checkpoint.repo, checkpoint.revision, config, endpoint, sleep)
            files = [
                file
                for file in hub.files(checkpoint.revision)
                if any(fnmatch.fnmatch(file.path, pattern) for pattern in checkpoint.patterns)
            ]
            _require(checkpoint, files)
            hub.fetch(files, checkpoint.revision, partial)
            entry = _entry_of(partial, checkpoint.repo, checkpoint.revision)
        _check_lock(checkpoint.name, entry, config)


def fetch_dataset(
    dataset: Dataset,
    target: Path,
    factor: int,
    config: DownloadsConfig,
    *,
    endpoint: str | None = None,
    sleep: Sleep = time.sleep,
) -> None:
    """Fetch one scene of a dataset into the folder ``target``; arguments as above.

    Args:
        dataset: What to fetch.
        target: Folder to make: LERF-Mask's layout, or ``images_<factor>`` and ``sparse/0``.
        factor: Reduction of Mip-NeRF 360's images: 1, 2, 4 or 8.
        config: Retries, time limit, lock file, whether the network may be used.
        endpoint: Address of the hub; None takes the client's.
        sleep: Waits between attempts; replaced by tests.

    Raises:
        DownloadError: As :func:`fetch_checkpoint`; also if the archive is hostile.
    """
    name = f"{dataset.source}/{target.name}"
    with _making(target, name, dataset.page, config) as partial:
        if partial is None:
            return
        if dataset.archive:
            entry = _fetch_mipnerf360(dataset, partial, factor, config, sleep)
        else:
            entry = _fetch_lerf_mask(dataset, partial, name, config, endpoint, sleep)
        _check_lock(name, entry, config)


def _fetch_mipnerf360(
    dataset: Dataset, partial: Path, factor: int, config: DownloadsConfig, sleep: Sleep
) -> Entry:
    images = images_folder(factor)

    def choose(files: Mapping[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        root = folder_of(files, dataset.scene, dataset.archive) + dataset.scene + "/"
        wanted = {
            name.removeprefix(root): info
            for name, info in files.items()
            if name.startswith((f"{root}{images}/", f"{root}sparse/0/"))
        }
        for part in (images, "sparse/0"):
            if not any(name.startswith(f"{part}/") for name in wanted):
                raise DownloadError(
                    f"{dataset.archive} holds no {root}{part}/; its publisher may have changed it. "
                    "Fetch the scene by hand and name its folder in `path`"
                )
        return wanted

    fetch_members(
        dataset.archive,
        choose,
        partial,
        retries=config.retries,
        timeout_s=config.timeout_s,
        sleep=sleep,
    )
    return _entry_of(partial, dataset.archive, "")


def _fetch_lerf_mask(
    dataset: Dataset,
    partial: Path,
    name: str,
    config: DownloadsConfig,
    endpoint: str | None,
    sleep: Sleep,
) -> Entry:
    locked = DownloadLock(Path(config.lock)).get(name)
    revision = locked.revision if locked is not None else dataset.revision
    hub = _hub(dataset.repo, revision, config, endpoint, sleep)
    commit = hub.commit()
    folder, packed = f"{dataset.repo_folder}/{dataset.scene}/", f"{dataset.scene}.zip"
    files = hub.files(commit, dataset.repo_folder)
    plain = [
        file
        for file in files
        if file.path.startswith(tuple(f"{folder}{part}/" for part in LERF_MASK_PARTS))
    ]
    archives = [file for file in files if file.path == f"{dataset.repo_folder}/{packed}"]
    if not plain and not archives:
        raise DownloadError(
            f"the hub repository {dataset.repo} (commit {commit}) holds neither {folder} nor "
            f"{packed} in {dataset.repo_folder}; its publisher may have moved it. Fetch the scene "
            "by hand and name its folder in `path`"
        )
    fetched = _hub_folder(partial)
    hub.fetch(plain or archives, commit, fetched)
    if plain:
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        os.replace(fetched / folder, partial)
    else:
        _unpack_lerf_mask(fetched / archives[0].path, partial)
    shutil.rmtree(fetched)
    return _entry_of(partial, dataset.repo, commit)


def _unpack_lerf_mask(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            files = checked_members(archive, path.name)
            root = folder_of(files, "images", path.name)
            kept = tuple(f"{root}{part}/" for part in LERF_MASK_PARTS)
            members = {
                name.removeprefix(root): info
                for name, info in files.items()
                if name.startswith(kept)
            }
            unpack(archive, members, folder, path.name)
    # zipfile raises NotImplementedError for a compression that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(
            f"{path.name} is not a usable zip archive ({error}), although its hash is the hub's; "
            "fetch the scene by hand and name its folder in `path`"
        ) from error


@contextmanager
def _making(target: Path, name: str, page: str, config: DownloadsConfig) -> Iterator[Path | None]:
    """Yield the hidden path to fetch to, and move it to ``target`` at the end.

    Yields None where the target is there already. What has arrived is kept, to be continued, when
    the connection failed or the process was stopped; after any other error nothing stays.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            logger.info("%s is there already: %s", name, target)
            yield None
            return
        if config.offline:
            raise DownloadError(missing_offline(name, page, target))
        partial = target.with_name(f".{target.name}.partial")
        started = time.monotonic()
        try:
            with full_disk_explained(target.parent, name):
                yield partial
                if target.is_dir():
                    target.rmdir()
                os.replace(partial, target)
        except UnreachableError:
            raise
        except Exception:  # nothing half made may stay, whatever the error; it is raised again
            for left in (partial, _hub_folder(partial), mark_file(partial)):
                _remove(left)
            raise
        mark_file(partial).unlink(missing_ok=True)
        logger.info("%s is in %s, after %.0f s", name, target, time.monotonic() - started)


def _hub(
    repo: str, revision: str, config: DownloadsConfig, endpoint: str | None, sleep: Sleep
) -> Hub:
    return Hub(
        repo,
        revision,
        retries=config.retries,
        timeout_s=config.timeout_s,
        endpoint=endpoint,
        sleep=sleep,
    )


def _require(checkpoint: Checkpoint, files: list[HubFile]) -> None:
    found = {file.path for file in files}
    missing = [name for name in ("config.json", "model.safetensors") if name not in found]
    if missing:
        raise DownloadError(
            f"the hub repository {checkpoint.repo} at {checkpoint.revision} lacks "
            f"{', '.join(missing)}; its publisher may have changed it"
        )
    for name in sorted(found):
        if name.endswith(_PICKLES):
            raise DownloadError(
                f"{checkpoint.repo}: {name} is a pickle, which can run any code when it is read; "
                "it is not fetched"
            )


def _entry_of(folder: Path, source: str, revision: str) -> Entry:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Entry(source, revision, tree_sha256(folder), size)


def _check_published(checkpoint: Checkpoint, entry: Entry) -> None:
    expected = checkpoint.sha256 or checkpoint.sha256_prefix
    if not entry.sha256.startswith(expected):
        raise DownloadError(
            f"{checkpoint.url} arrived with the SHA-256 {entry.sha256} "
            f"({bytes_text(entry.bytes)}), but its publisher gives {expected}; it is removed. Run "
            "again; if that does not help, a proxy changes the file or the publisher replaced it"
        )


def _check_lock(name: str, entry: Entry, config: DownloadsConfig) -> None:
    lock = DownloadLock(Path(config.lock))
    locked = lock.get(name)
    if locked is None:
        lock.record(name, entry)
        logger.info("%s: SHA-256 %s recorded in %s", name, entry.sha256, lock.path)
    elif locked.sha256 != entry.sha256:
        raise DownloadError(
            f"{name} from {entry.source} has the SHA-256 {entry.sha256}, but {lock.path} recorded "
            f"{locked.sha256} at its first download; it is removed. If the publisher changed it "
            f"and you trust the change, remove the entry {name!r} from {lock.path}"
        )


def _hub_folder(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.hub")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
