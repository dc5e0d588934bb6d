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

from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.errors import InputError
from gradiseg_core.splatting.losses import photometric
from gradiseg_core.stages.metrics.photometric import VGG_WEIGHTS, Lpips, psnr, ssim


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


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the form of torchvision's file, without its classifier."""
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(5)
    layers = make_layers(cfgs["D"]).state_dict()
    path = tmp_path_factory.mktemp("hub") / "checkpoints" / VGG_WEIGHTS
    path.parent.mkdir()
    torch.save({f"features.{name}": value for name, value in layers.items()}, path)
    return path


def test_lpips_in_both_ranges_against_torchmetrics(
    vgg: Path, pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchmetrics.functional.image import lpips as theirs

    reference = theirs._LPIPS(pretrained=True, net="vgg", pnet_rand=True, eval_mode=True)
    state = torch.load(vgg, weights_only=True)
    own = reference.net.state_dict()
    reference.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in own})
    metric = Lpips(vgg)
    assert metric.describe()["available"] is True
    noisy, image = (nchw(array) for array in pair)
    with torch.no_grad():
        plain = float(reference(noisy, image))
        signed = float(reference(2 * noisy - 1, 2 * image - 1))
    assert plain != pytest.approx(signed, rel=1e-3)
    assert metric(*pair) == pytest.approx(plain, rel=1e-4)
    assert metric(*pair, "authors") == pytest.approx(signed, rel=1e-4)
    assert metric(pair[0], pair[0]) == 0.0
    # The same file where torch hub would have put it.
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(vgg.parents[1]))
    assert Lpips()(*pair) == metric(*pair)


def test_lpips_weights_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        Lpips(tmp_path / "none.pth")
    wrong = tmp_path / "wrong.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, wrong)
    with pytest.raises(InputError, match=VGG_WEIGHTS):
        Lpips(wrong)


def test_configuration_of_the_backbone(tmp_path: Path) -> None:
    assert MetricsConfig().weights() == {}
    assert MetricsConfig(lpips_weights="download").weights() == {"lpips_vgg": None}
    assert MetricsConfig(lpips_weights="download", lpips=False).weights() == {}
    mine = str(tmp_path / "mine.pth")
    assert MetricsConfig(lpips_weights=mine).weights() == {"lpips_vgg": tmp_path / "mine.pth"}
