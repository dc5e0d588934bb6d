"""Repositories as the hub serves them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from gradiseg_core.config.weights import checkpoints
from tests.models.downloads.server import Server

SWINT = checkpoints()["groundingdino_swint"]


COMMIT = SWINT.revision


DINO = "IDEA-Research/grounding-dino-tiny"


def publish(server: Server, repo: str, files: Mapping[str, bytes], commit: str = COMMIT) -> None:
    """Serve a repository: its commit, its tree, and its files, the large ones as LFS."""
    server.answers[f"/api/models/{repo}/revision/main"] = lambda: {"id": repo, "sha": commit}
    server.answers[f"/api/models/{repo}/revision/{commit}"] = lambda: {"id": repo, "sha": commit}
    tree = []
    for path, content in files.items():
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob}
        sha256 = hashlib.sha256(content).hexdigest()
        if len(content) > 10_000:
            entry |= {"oid": "0" * 40, "lfs": {"oid": sha256, "size": len(content)}}
            entry["lfs"]["pointerSize"] = 130
        tree.append(entry)
        at = f"/{repo}/resolve/{commit}/{path}"
        server.put(at, content)
        server.headers[at] = {"X-Repo-Commit": commit, "ETag": f'"{sha256}"'}
    folders = {"/".join(path.split("/")[:k]) for path in files for k in range(path.count("/") + 1)}
    for folder in folders:
        below = f"{folder}/" if folder else ""
        server.answers[f"/api/models/{repo}/tree/{commit}" + (f"/{folder}" if folder else "")] = (
            lambda below=below: [entry for entry in tree if entry["path"].startswith(below)]
        )
