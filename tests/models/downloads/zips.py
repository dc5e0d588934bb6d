"""Zip archives, good and hostile."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_symlink(files: Mapping[str, bytes], name: str, to: str) -> bytes:
    """Return an archive that also holds a symbolic link."""
    buffer = io.BytesIO(zipped(files))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, to)
    return buffer.getvalue()


def hostile(good: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    """Return archives of the files ``good`` plus one bad entry in ``folder``, by what is wrong."""
    return {
        "absolute path": zipped({**good, "/etc/evil": b"x"}),
        "'..'": zipped({**good, f"{folder}/../../../evil": b"x"}),
        "not valid": zipped({**good, f"{folder}\\evil": b"x"}),
        "is a link": with_symlink(good, f"{folder}/link", "/etc/passwd"),
        "would swell": zipped({**good, f"{folder}/bomb": bytes(12_000_000)}),
    }
