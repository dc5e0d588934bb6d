"""Ignored pixels have no part in any loss: neither their content nor their number counts."""

from __future__ import annotations

import pytest
import torch

from gradiseg_core.splatting.losses.blended import blended_loss
from gradiseg_core.splatting.losses.identity import IdentityClassifier, identity_loss
from gradiseg_core.splatting.losses.photometric import (
    photometric_loss,
    photometric_loss_of_rest,
)
from gradiseg_core.splatting.losses.robust import robust_identity_loss

HEIGHT, WIDTH = 40, 53


@pytest.fixture
def ignored() -> torch.Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[12:30, 20:44] = True
    mask[0, 0] = True
    return mask


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(HEIGHT, WIDTH, 3, generator=generator)
    return (target + 0.2 * torch.randn(HEIGHT, WIDTH, 3, generator=generator)), target


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_colours_that_are_ignored_change_nothing(
    ignored: torch.Tensor, backend: str, share: float
) -> None:
    rendered, target = pictures()
    results = []
    for content in (0.0, 1.0):
        leaf = rendered.clone().requires_grad_()
        covered = torch.where(ignored[..., None], content, target)
        loss = photometric_loss_of_rest(leaf, covered, ignored, share, backend=backend)
        loss.total.backward()
        results.append((loss.total.item(), loss.l1.item(), leaf.grad))
    assert results[0][:2] == results[1][:2]
    assert torch.equal(results[0][2], results[1][2])
    assert (results[0][2][ignored] == 0).all()
    assert (results[0][2][~ignored] != 0).any()
    expected = (rendered - target).abs()[~ignored].mean().item()
    assert results[0][1] == pytest.approx(expected, rel=1e-5)


def test_far_from_ignored_pixels_ssim_is_that_of_the_whole_picture(ignored: torch.Tensor) -> None:
    rendered, target = pictures()
    rendered = torch.where(torch.arange(WIDTH)[None, :, None] < 9, rendered, target)
    ignored[0, 0] = False
    whole = photometric_loss(rendered, target, 0.2)
    rest = photometric_loss_of_rest(rendered, target, ignored, 0.2)
    counted = (~ignored).float().mean().item()
    assert 1 - rest.ssim.item() == pytest.approx((1 - whole.ssim.item()) / counted, rel=1e-4)


def test_a_view_that_is_ignored_altogether_costs_nothing() -> None:
    rendered, target = pictures()
    everything = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    loss = photometric_loss_of_rest(rendered.requires_grad_(), target, everything, 0.2)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(0.0, abs=1e-4)  # rounding of an SSIM of 1
    assert rendered.grad is not None
    assert (rendered.grad == 0).all()


@pytest.mark.parametrize("kind", ["plain", "robust", "wide", "blended"])
def test_labels_that_are_ignored_change_nothing(ignored: torch.Tensor, kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    classifier = IdentityClassifier(6, 16, generator=generator)
    features = 2.0 * torch.randn(HEIGHT, WIDTH, 16, generator=generator)
    labels = torch.randint(0, 6, (HEIGHT, WIDTH), generator=generator)
    weights = (~ignored).float()
    results = []
    for other in (0, 3):
        leaf = features.clone().requires_grad_()
        given = torch.where(ignored, other, labels)
        if kind == "plain":
            loss = identity_loss(leaf, given, classifier, pixel_weights=weights)
        elif kind == "blended":
            probs = classifier(leaf).softmax(-1)
            ids = torch.arange(6)
            blank = probs - (ids == 0).float()  # as `class_channels` gives it
            loss = blended_loss(
                blank, given, ids, 6, exponent=0.3, width_px=1, pixel_weights=weights
            )
        else:
            width = 1 if kind == "wide" else 0
            loss = robust_identity_loss(
                leaf, given, classifier, 0.4, width_px=width, pixel_weights=weights
            )
        loss.backward()
        results.append((loss.item(), leaf.grad))
    assert results[0][0] == results[1][0] > 0
    assert torch.equal(results[0][1], results[1][1])
    assert (results[0][1][ignored] == 0).all()


def test_means_go_over_the_rest(ignored: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(1)
    classifier = IdentityClassifier(6, 16, generator=generator)
    features = 2.0 * torch.randn(HEIGHT, WIDTH, 16, generator=generator)
    labels = torch.randint(0, 6, (HEIGHT, WIDTH), generator=generator)
    probs = classifier(features).softmax(-1)
    blank = probs - (torch.arange(6) == 0).float()
    weights, kept = (~ignored).float(), ~ignored
    pairs = [
        (
            robust_identity_loss(features, labels, classifier, 0.4, pixel_weights=weights),
            robust_identity_loss(features[kept], labels[kept], classifier, 0.4),
        ),
        (
            blended_loss(blank, labels, torch.arange(6), 6, pixel_weights=weights),
            blended_loss(blank[kept], labels[kept], torch.arange(6), 6),
        ),
    ]
    for got, expected in pairs:
        torch.testing.assert_close(got, expected)
