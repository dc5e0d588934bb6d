"""Fetch one scene of a published dataset."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.datasets import DATASETS, FOLDERS
    from gradiseg_core.config.downloads import DownloadsConfig
    from gradiseg_core.models.downloads.fetch import fetch_dataset

    source, scene, factor = FOLDERS[snakemake.wildcards.dataset]
    fetch_dataset(
        DATASETS[source, scene],
        target=Path(snakemake.output[0]),
        factor=factor,
        # Not through `params`: a change of these settings must not fetch it again.
        config=DownloadsConfig(**snakemake.config.get("downloads", {})),
    )
