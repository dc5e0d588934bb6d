"""Configuration of the downloads: where they lie and how they are fetched."""

from __future__ import annotations

from gradiseg_core.config.base import Section, option
from gradiseg_core.config.paths import OutputPath


class DownloadsConfig(Section):
    """What is fetched from the network: checkpoints and datasets.

    Nothing here makes a stage rerun.
    """

    folder: OutputPath = option(
        "downloads", "Folder of everything that is fetched; several projects may share one."
    )
    lock: OutputPath = option(
        "downloads.lock.json",
        "File that keeps the hash of every first download whose publisher gives none; later "
        "downloads must match it. Commit it.",
    )
    offline: bool = option(
        False,
        "Never use the network: a missing file is an error that says where to put it.",
    )
    retries: int = option(
        5, "Further attempts after a connection fails, each after a longer pause.", ge=0, le=100
    )
    timeout_s: float = option(
        30.0, "Longest wait for the server's next bytes.", unit="s", gt=0.0, le=3600.0
    )
