"""Configuration of the downloads: where they lie and how they are fetched."""

from __future__ import annotations

from gradiseg_core.config.base import OutputPath, Section, option


class DownloadsConfig(Section):
    """What is fetched from the network: checkpoints and datasets.

    Nothing here makes a stage rerun.
    """

    folder: OutputPath = option("downloads", "Where downloads lie; projects may share it.")
    lock: OutputPath = option(
        "downloads.lock.json",
        "Hashes of first downloads, which later ones must match. Commit it.",
    )
    offline: bool = option(
        False,
        "Never use the network; a missing file is an error.",
    )
    retries: int = option(
        5, "Further attempts after a connection fails, with growing pauses.", ge=0, le=100
    )
    timeout_s: float = option(
        30.0, "Longest wait for the server's next bytes.", unit="s", gt=0.0, le=3600.0
    )
