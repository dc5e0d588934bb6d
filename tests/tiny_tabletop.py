"""A rendered scene of a few small pictures, in LERF-Mask's layout with exact IDs and cameras."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.options import TabletopConfig
from studies.tabletop.dataset import make_tabletop


def make(folder: Path, *, views: int = 8, test_views: int = 2) -> None:
    """Render it, or skip the test where there is no renderer."""
    pytest.importorskip("mitsuba", reason="renders the scene: pip install -e '.[studies]'")
    config = TabletopConfig(
        width=96, height=72, views=views, test_views=test_views, samples_per_pixel=2, objects=4,
        write_sparse=True, sparse_points=300,
    )  # fmt: skip
    make_tabletop(config, folder, name="tiny", seed=0, threads=2)


CONFIG = """\
scenes:
  tiny:
    source: lerf_mask
    path: tiny
variants: [gradiseg]
seeds: [0]
train:
  {iterations: 60, longest_side: 96, checkpoint_every: 20, log_every: 10, evaluations: 1,
   num_classes: 32}
metrics: {lpips: false}
exports: {small: {format: spz}}
edits: {gold: [{recolour: everything, colour: gold}]}
second_grounding: {backend: clicks}
# So small that its views agree on no surface: segments are joined instead.
geometry: {iterations: 200, longest_side: 96}
"""
