"""Fetch one checkpoint."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.checkpoints import Checkpoint
    from gradiseg_core.config.downloads import DownloadsConfig
    from gradiseg_core.models.downloads.fetch import fetch_checkpoint

    fetch_checkpoint(
        Checkpoint(**snakemake.config["_checkpoints"][snakemake.wildcards.name]),
        target=Path(snakemake.output[0]),
        # Not through `params`: a change of these settings must not fetch it again.
        config=DownloadsConfig(**snakemake.config.get("downloads", {})),
    )
