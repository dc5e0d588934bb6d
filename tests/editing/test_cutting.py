"""Gaussians that straddle the boundary of a selection are cut."""

from __future__ import annotations

import numpy as np
import torch

from gradiseg_core.editing.cutting import cut_across, straddlers


def sheet() -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Small Gaussians on a grid, chosen where x > 0; then three large ones.

    The first lies across the boundary along x, the second beside it along x, the third on the
    boundary along y.
    """
    x, y = np.meshgrid(np.arange(-9.5, 10), np.arange(-9.5, 10), indexing="ij")
    points = np.c_[x.ravel(), y.ravel(), np.zeros(400)]
    means = np.concatenate([points, [[0.3, 0.1, 0], [-6.0, 2.1, 0], [0.6, -5.1, 0]]])
    scales = np.full((403, 3), 0.2)
    scales[400], scales[401], scales[402] = (3, 0.2, 0.2), (2, 0.2, 0.2), (0.1, 3, 0.2)
    count = len(means)
    mask = means[:, 0] > 0
    values = {
        "means": means,
        "quats": np.tile([1.0, 0, 0, 0], (count, 1)),
        "scales": np.log(scales),
        "opacities": np.zeros(count),
        "sh0": np.zeros((count, 1, 3)),
        "shN": np.zeros((count, 15, 3)),
        "identities": np.where(mask[:, None], [1.0, 0.0], [0.0, 1.0]),
    }
    return {name: torch.tensor(value).float() for name, value in values.items()}, mask


def test_what_lies_across_is_found() -> None:
    values, mask = sheet()
    rows, axes, sides = straddlers(values, mask)
    assert rows.tolist() == [400]
    assert axes.tolist() == [0]
    assert sides.tolist() == [[True, False]]


def test_the_half_on_its_own_side_stays() -> None:
    values, mask = sheet()
    before = {name: value.clone() for name, value in values.items()}
    cut, rows = cut_across(values, mask)
    assert rows.tolist() == [400]
    for name, value in values.items():
        assert torch.equal(value, before[name])
        rest = torch.arange(len(mask)) != 400
        assert torch.equal(cut[name][rest], value[rest])
    # Chosen, so it is the half where x is positive; it no longer reaches far across.
    place, scale = cut["means"][400, 0].item(), cut["scales"][400, 0].exp().item()
    assert 0.3 < place < 0.3 + 3.0
    assert scale < 3.0 * np.sqrt(1 - 2 / np.pi) + 1e-4
    assert place - scale > -0.5
    # Not chosen, it keeps the other one.
    mask[400] = False
    cut, rows = cut_across(values, mask)
    assert rows.tolist() == [400]
    assert cut["means"][400, 0].item() < 0.3


def test_a_selection_of_all_or_nothing_has_no_boundary() -> None:
    values, mask = sheet()
    for chosen in (np.ones_like(mask), np.zeros_like(mask)):
        cut, rows = cut_across(values, chosen)
        assert len(rows) == 0
        assert cut is values
