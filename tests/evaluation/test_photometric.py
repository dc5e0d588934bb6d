"""PSNR and SSIM against torchmetrics, and LPIPS that says why it is absent."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from gradiseg_core.evaluation.photometric import VGG_WEIGHTS, Lpips, psnr, ssim
from gradiseg_core.losses import photometric


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    image = generator.uniform(0, 1, (40, 52, 3)).astype(np.float32)
    noisy = np.clip(image + generator.normal(0, 0.1, image.shape), 0, 1).astype(np.float32)
    return noisy, image


def nchw(image: np.ndarray) -> torch.Tensor:
    return torch.tensor(image).permute(2, 0, 1)[None]


def test_psnr_by_hand() -> None:
    black = np.zeros((4, 5, 3), np.float32)
    assert psnr(black + 0.1, black) == pytest.approx(20.0, abs=1e-5)
    assert psnr(black, black) == math.inf


def test_psnr_is_over_all_channels_not_their_mean() -> None:
    black = np.zeros((4, 5, 3), np.float32)
    uneven = black + np.array([0.1, 0.01, 0.001], np.float32)
    assert psnr(uneven, black) == pytest.approx(
        -10 * math.log10((0.1**2 + 0.01**2 + 0.001**2) / 3), abs=1e-4
    )
    assert psnr(uneven, black) < (20 + 40 + 60) / 3 - 10


def test_psnr_against_torchmetrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    theirs = peak_signal_noise_ratio(nchw(pair[0]), nchw(pair[1]), data_range=1.0)
    assert psnr(*pair) == pytest.approx(float(theirs), abs=1e-4)


def test_ssim_differs_from_torchmetrics_at_the_border_only(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    theirs, full = structural_similarity_index_measure(
        nchw(pair[0]), nchw(pair[1]), data_range=1.0, return_full_image=True
    )
    interior = photometric.ssim(*(torch.tensor(image) for image in pair), interior=True)
    assert float(interior) == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), abs=2e-5)
    # 3DGS pads with zeros and counts the border, where equal zeros make images look more alike.
    assert ssim(*pair) == pytest.approx(float(theirs), abs=0.05)
    assert abs(ssim(*pair) - float(theirs)) > 1e-4
    assert ssim(pair[0], pair[0]) == pytest.approx(1.0, abs=1e-6)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="one size"):
        psnr(np.zeros((4, 5, 3), np.float32), np.zeros((4, 6, 3), np.float32))


def test_lpips_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    metric = Lpips()
    about = metric.describe()
    assert about["available"] is False
    assert VGG_WEIGHTS in about["why"]
    with pytest.raises(RuntimeError, match="not available"):
        metric(np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 3), np.float32))
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded


def test_lpips_with_weights() -> None:
    metric = Lpips("authors")
    if metric.why is not None:
        pytest.skip(metric.why)
    image = np.random.default_rng(0).uniform(0, 1, (64, 64, 3)).astype(np.float32)
    assert metric(image, image) == pytest.approx(0.0, abs=1e-6)
    assert metric(image, 1.0 - image) > 0.1
    assert metric(image, 1.0 - image) != Lpips("3dgs")(image, 1.0 - image)
