"""Fused losses, forward and backward, against PyTorch's own operations at 320 x 240."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.timing import Floor, Part
from gradiseg_core.splatting.losses.identity import IdentityClassifier, identity_loss
from gradiseg_core.splatting.losses.photometric import photometric_loss
from gradiseg_core.splatting.losses.window import C1, C2, window

HEIGHT, WIDTH, DIM = 240, 320, 16


def _photometric() -> dict[str, Callable[[], object]]:
    """Compare L1 + SSIM of one picture, gradient of the rendering included."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(HEIGHT, WIDTH, 3, generator=generator)
    rendered = target + 0.1 * torch.randn(HEIGHT, WIDTH, 3, generator=generator)
    rendered.requires_grad_()

    def run(loss: Callable[[], Tensor]) -> Callable[[], object]:
        def step() -> None:
            rendered.grad = None
            loss().backward()

        return step

    return {
        "ours": run(lambda: photometric_loss(rendered, target, 0.2).total),
        "separable PyTorch": run(
            lambda: photometric_loss(rendered, target, 0.2, backend="torch").total
        ),
        "conv2d PyTorch": run(lambda: _windowed(rendered, target)),
    }


def _windowed(rendered: Tensor, target: Tensor) -> Tensor:
    """Return the loss with five full 11 x 11 convolutions, the usual way to write it."""
    row = torch.tensor(window())
    kernel = (row[:, None] * row[None]).expand(3, 1, 11, 11).contiguous()
    x, y = (picture.permute(2, 0, 1)[None] for picture in (rendered, target))

    def blur(picture: Tensor) -> Tensor:
        return functional.conv2d(picture, kernel, padding=5, groups=3)

    mu_x, mu_y = blur(x), blur(y)
    variance_x = blur(x * x) - mu_x**2
    variance_y = blur(y * y) - mu_y**2
    covariance = blur(x * y) - mu_x * mu_y
    top = (2 * mu_x * mu_y + C1) * (2 * covariance + C2)
    similarity = top / ((mu_x**2 + mu_y**2 + C1) * (variance_x + variance_y + C2))
    return 0.8 * (x - y).abs().mean() + 0.2 * (1 - similarity.mean())


def _photometric_floor() -> Floor:
    return Floor(
        flop=HEIGHT * WIDTH * 3 * (7 * 2 * 11 * 2 + 40),
        note="7 separable blurs of 22 multiply-adds and 40 operations a value",
    )


def _head(classes: int) -> Callable[[], dict[str, Callable[[], object]]]:
    """Compare the identity loss with all its gradients."""

    def make() -> dict[str, Callable[[], object]]:
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(HEIGHT, WIDTH, DIM, generator=generator, requires_grad=True)
        labels = torch.randint(0, classes, (HEIGHT, WIDTH), generator=generator)
        head = IdentityClassifier(classes, DIM, generator=generator)

        def run(backend: str) -> Callable[[], object]:
            def step() -> None:
                features.grad = None
                head.zero_grad()
                identity_loss(features, labels, head, backend=backend).backward()

            return step

        return {"ours": run("cpu"), "PyTorch": run("torch")}

    return make


def _head_floor(classes: int) -> Callable[[], Floor]:
    return lambda: Floor(
        flop=HEIGHT * WIDTH * classes * (3 * 2 * DIM + 20),
        note="three products with a C x 16 matrix and an exponential (20) a class and pixel",
    )


PARTS = [
    Part(
        name="L1 + SSIM, 320x240",
        make=_photometric,
        targets={"separable PyTorch": 4.0},
        note="forward and gradient of the rendering; conv2d is the usual five 11 x 11 windows",
        floor=_photometric_floor,
    ),
    *(
        Part(
            name=f"identity head, {classes} classes, 320x240",
            make=_head(classes),
            targets={"PyTorch": 4.0} if classes == 256 else {},
            note="linear, softmax, cross-entropy; gradients of encodings, weight and bias",
            floor=_head_floor(classes),
        )
        for classes in (256, 64, 16)
    ),
]
