"""Hashes of files and of folders."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: Path) -> str:
    """Return one SHA-256 of a folder: of the lines ``<sha256>  <relative path>`` of its files.

    This is what ``find -type f | sort | xargs sha256sum | sha256sum`` gives for plain names.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    digest = hashlib.sha256()
    for name in files:
        if (folder / name).is_file():
            digest.update(f"{file_sha256(folder / name)}  {name}\n".encode())
    return digest.hexdigest()


def git_blob_sha1(path: Path) -> str:
    """Return the name that git gives the content of a file; the hub publishes it."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
