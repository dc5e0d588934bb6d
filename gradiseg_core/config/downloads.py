"""Configuration of the downloads: where they lie and how they are fetched."""

from __future__ import annotations

from gradiseg_core.config.base import Section, option
from gradiseg_core.config.paths import OutputPath


class DownloadsConfig(Section):
    """What is fetched from the network: checkpoints and datasets.

    Nothing here makes a stage rerun.
    """

    folder: OutputPath = option(
        "downloads", "Folder of the downloads; several projects may share one."
    )
    lock: OutputPath = option(
        "downloads.lock.json",
        "File with the hashes of first downloads, which later ones must match. Commit it.",
    )
    offline: bool = option(
        False,
        "Never use the network: a missing file is an error that says where to put it.",
    )
    retries: int = option(
        5, "More attempts after a connection fails, with growing pauses.", ge=0, le=100
    )
    timeout_s: float = option(
        30.0, "Longest wait for the server's next bytes.", unit="s", gt=0.0, le=3600.0
    )
