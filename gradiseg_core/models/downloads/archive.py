"""Unpacks zip archives that are not trusted, and only what may be unpacked.

Nothing is written outside the target, no link is made, and an archive that would grow without
end (a bomb) is refused before its first byte is unpacked.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from gradiseg_core.errors import DownloadError
from gradiseg_core.models.downloads.disk import full_disk_explained, require_space

#: A scene of photographs has some hundred files; a bomb has millions, or a few that never end.
MAX_FILES = 50_000
MAX_BYTES = 60_000_000_000
#: Photographs and PNG masks do not shrink, COLMAP's binary files by a factor of 2 or 3, and zeros a
#: thousandfold.
MAX_RATIO = 100
_RATIO_MATTERS_FROM = 10_000_000
_CHUNK = 1 << 20


def checked_members(archive: zipfile.ZipFile, what: str) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by name, after checking all of its entries.

    Args:
        archive: The archive; its directory is enough (nothing is unpacked).
        what: The archive's address or path, for messages.

    Raises:
        DownloadError: If an entry is absolute, climbs out with ``..``, is a link or a device, is
            encrypted, listed twice or below a file, or if the sizes are those of a bomb.
    """
    files: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in archive.infolist():
        problem = _entry_problem(info)
        if problem is not None:
            raise _hostile(what, f"its entry {info.filename!r} {problem}")
        if info.is_dir():
            continue
        name = PurePosixPath(info.filename).as_posix()
        if name in files:
            raise _hostile(what, f"its entry {name!r} is listed twice")
        files[name] = info
        total += info.file_size
    for name in files:
        if any(parent.as_posix() in files for parent in PurePosixPath(name).parents):
            raise _hostile(what, f"its entry {name!r} lies below a file")
    if len(files) > MAX_FILES:
        raise _hostile(what, f"it holds {len(files)} files (limit {MAX_FILES})")
    if total > MAX_BYTES:
        raise _hostile(what, f"it would unpack to {total} bytes (limit {MAX_BYTES})")
    return files


def unpack(
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    folder: Path,
    what: str,
    *,
    advance: Callable[[int], object] = lambda size: None,
) -> None:
    """Write members of an archive below ``folder``; a file of the right content stays as it is.

    Args:
        archive: The archive.
        members: What to write: path below ``folder`` -> entry, from :func:`checked_members`.
        folder: An existing folder.
        what: The archive's address or path, for messages.
        advance: Called with the bytes of every piece written.

    Raises:
        DownloadError: If the disk is too small, or becomes full.
        zipfile.BadZipFile: If an entry is damaged; it is removed.
    """
    missing = missing_members(members, folder)
    require_space(folder, sum(info.file_size for info in missing.values()), what)
    with full_disk_explained(folder, what):
        for name, info in missing.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            try:
                with archive.open(info) as source, partial.open("wb") as file:
                    while block := source.read(_CHUNK):  # ends at file_size, checks the CRC
                        file.write(block)
                        advance(len(block))
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)


def missing_members(
    members: Mapping[str, zipfile.ZipInfo], folder: Path
) -> dict[str, zipfile.ZipInfo]:
    """Return the members that an earlier attempt did not unpack below ``folder``, by path."""
    return {name: info for name, info in members.items() if not _is_there(folder / name, info)}


def folder_of(names: Iterable[str], part: str, what: str) -> str:
    """Return the prefix (empty, or ending in ``/``) of the shallowest folder that holds ``part``.

    Archives of the same data come with and without a folder around everything.

    Raises:
        DownloadError: If no entry lies in a folder of that name.
    """
    found = {
        name[: name.index(f"/{part}/") + 1] if not name.startswith(f"{part}/") else ""
        for name in names
        if f"/{part}/" in f"/{name}" and not name.startswith("__MACOSX/")
    }
    if not found:
        raise DownloadError(
            f"{what} holds no folder {part}/, so it is not the archive that was expected; its "
            "publisher may have changed it. Fetch the data by hand and name its folder in `path`"
        )
    return min(found, key=lambda prefix: (prefix.count("/"), prefix))


def _is_there(path: Path, info: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            checksum = zlib.crc32(block, checksum)
    return checksum == info.CRC


def _entry_problem(info: zipfile.ZipInfo) -> str | None:
    # `orig_filename`: zipfile cuts names at a null byte, and turns backslashes on Windows only.
    name = info.orig_filename
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "has an absolute path"
    if ".." in name.replace("\\", "/").split("/"):
        return "climbs out of the archive with '..'"
    if "\\" in name or "\0" in name or not name.strip("/. "):
        return "has a path that is not valid"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.file_size > _RATIO_MATTERS_FROM and info.file_size > MAX_RATIO * info.compress_size:
        return f"would swell from {info.compress_size} to {info.file_size} bytes"
    return None


def _hostile(what: str, why: str) -> DownloadError:
    return DownloadError(
        f"{what} is refused: {why}; nothing of it was unpacked. It is not the published archive, "
        "or that one was changed"
    )
