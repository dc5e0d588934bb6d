"""The fast rasterizer for machines without a GPU.

Three steps: project and colour the Gaussians (:mod:`.projection`), sort them into blocks of pixels
(:mod:`.lists`), blend (:mod:`.blending`). Two autograd functions; the projected centres between
them are exposed for densification. float32 only; results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradiseg_core.compute.cpu_runtime import announce_compilation, run_queue
from gradiseg_core.splatting.rasterization import blending, lists
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.rasterization.projection import ProjectAndColor, pack_camera

BANDS = 16  # contiguous pieces of the image that threads take; also the most that can run at once


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return an uninitialised float32 array, aligned to a cache line like torch's."""
    return torch.empty(shape).numpy()


class Blend(torch.autograd.Function):
    """Sorting and blending as one autograd function."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx: Any, means2d, conics, colors, opacities, identities, depths, radii, background,
        width: int, height: int, identity_geometry: float = 1.0,
    ):  # fmt: skip
        """Return color [H, W, 3], identity [H, W, D] and the final transmittance [H, W]."""
        arrays = [t.detach().numpy() for t in (means2d, conics, opacities, colors, identities)]
        channels = (0,) * identities.shape[1]
        order = np.empty(max(1, means2d.shape[0]), np.int32)
        announce_compilation(blending.blend_forward)
        count = lists.sort_by_depth(depths.detach().numpy(), radii.numpy(), order)
        order = order[:count]
        records = aligned((count + 1, lists.record_width(len(channels))))
        blocks_x, blocks_y = -(-width // lists.BLOCK), -(-height // lists.BLOCK)
        spans = np.empty((count + 1, 2), np.int32)
        run_queue(lists.pack_records, lists.CHUNKS, order, *arrays, blocks_y, records, spans)
        columns = np.empty((2, lists.offsets_of_spans(spans)), np.int32)
        counts = np.empty((lists.CHUNKS, blocks_x * blocks_y), np.int32)
        run_queue(lists.count_blocks, lists.CHUNKS, records, spans, blocks_x, columns, counts)
        starts = np.empty(blocks_x * blocks_y + 1, np.int64)
        entries = np.empty(lists.offsets_of_blocks(counts, starts), np.int32)
        bands = np.empty(BANDS + 1, np.int64)
        band_of_block = np.empty(blocks_x * blocks_y, np.int32)
        lists.split_bands(starts, bands, band_of_block)
        touched = np.empty((count, 2), np.int32)
        run_queue(
            lists.fill_blocks, lists.CHUNKS, spans, columns, counts, band_of_block, entries, touched
        )

        color = torch.empty((height, width, 3))
        identity = torch.empty((height, width, identities.shape[1]))
        transmittance = torch.empty((height, width))
        last = np.empty((height, width), np.int32)
        shared = (bands, starts, entries, records, blocks_x, background.numpy(), channels)
        run_queue(
            blending.blend_forward, BANDS, *shared,
            color.numpy(), identity.numpy(), transmittance.numpy(), last,
        )  # fmt: skip
        ctx.save_for_backward(conics, opacities, transmittance)
        ctx.shared, ctx.order, ctx.last, ctx.touched = shared, order, last, touched
        ctx.count, ctx.share = means2d.shape[0], np.float32(identity_geometry)
        return color, identity, transmittance

    @staticmethod
    def backward(ctx: Any, v_color, v_identity, v_transmittance):  # type: ignore[no-untyped-def]
        """Return gradients of means2d, conics, colors, opacities and identities."""
        conics, opacities, transmittance = ctx.saved_tensors
        _, _, _, records, _, _, channels = ctx.shared
        rows = np.empty(len(ctx.order) + 1, np.int64)
        gradients = aligned((lists.gradient_rows(ctx.touched, rows), records.shape[1]))
        gradients[:] = 0
        run_queue(
            blending.blend_backward, BANDS, *ctx.shared, transmittance.numpy(), ctx.last,
            v_color.contiguous().numpy(), v_identity.contiguous().numpy(),
            (-v_transmittance).contiguous().numpy(), ctx.share, ctx.touched, rows, gradients,
        )  # fmt: skip
        n, dims = ctx.count, len(channels)
        outputs = [torch.zeros(shape) for shape in ((n, 2), (n, 3), (n, 3), (n,), (n, dims))]
        run_queue(
            blending.reduce_gradients, lists.CHUNKS, ctx.order, rows, gradients,
            conics.detach().numpy(), opacities.detach().numpy(), *(t.numpy() for t in outputs),
        )  # fmt: skip
        return (*outputs, None, None, None, None, None, None)


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    sh0: Tensor,
    shN: Tensor,
    identities: Tensor,
    *,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    sh_degree: int,
    background: Tensor | None = None,
    with_depth: bool = False,
    identity_geometry: float = 1.0,
) -> Rendering:
    """Render one view; arguments and result are those of ``interface.Rasterizer``.

    Depth costs a second blending pass. Its gradient flows like that of the colours.

    Raises:
        ValueError: If a shape, type or device does not fit.
    """
    _check(means, quats, scales, opacities, sh0, shN, identities, width, height, sh_degree)
    camera = pack_camera(viewmat, K, width, height)
    parameters = [t.contiguous() for t in (means, quats, scales, opacities, sh0, shN, identities)]
    *geometry, identities = parameters
    opacities = parameters[3]
    means2d, conics, depths, colors, radii = ProjectAndColor.apply(*geometry, camera, sh_degree)
    if means2d.requires_grad:
        means2d.retain_grad()
    backdrop = torch.zeros(3) if background is None else background.detach().float().contiguous()
    rest = (depths, radii, backdrop, width, height)
    color, identity, transmittance = Blend.apply(
        means2d, conics, colors, opacities, identities, *rest, identity_geometry
    )
    alpha = 1 - transmittance
    depth = None
    if with_depth:
        # The same compiled code, with depth as the red channel.
        stand_in = torch.stack([depths, depths.detach() * 0, depths.detach() * 0], dim=1)
        blended = Blend.apply(
            means2d, conics, stand_in, opacities, torch.zeros_like(identities),
            depths, radii, torch.zeros(3), width, height,
        )[0][..., 0]  # fmt: skip
        depth = torch.where(alpha > 0, blended / alpha.clamp(min=1e-10), 0.0)
    return Rendering(color, identity, alpha, means2d, radii.amax(dim=-1), depth)


def _check(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, sh0: Tensor, shN: Tensor,
    identities: Tensor, width: int, height: int, sh_degree: int,
) -> None:  # fmt: skip
    """Raise a ValueError that names the first argument that does not fit."""
    n = means.shape[0]
    if sh_degree not in (0, 1, 2, 3):
        raise ValueError(f"sh_degree: expected 0 to 3, got {sh_degree}")
    if width < 1 or height < 1:
        raise ValueError(f"image size: expected at least 1 x 1, got {width} x {height}")
    bases = max(shN.shape[1] if shN.ndim == 3 else 0, (sh_degree + 1) ** 2 - 1)
    dims = identities.shape[1] if identities.ndim == 2 else 0
    expected = {
        "means": (means, (n, 3)), "quats": (quats, (n, 4)), "scales": (scales, (n, 3)),
        "opacities": (opacities, (n,)), "sh0": (sh0, (n, 1, 3)), "shN": (shN, (n, bases, 3)),
        "identities": (identities, (n, dims)),
    }  # fmt: skip
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise ValueError(
                f"{name}: the CPU rasterizer takes float32 tensors in main memory, "
                f"got {tensor.dtype} on {tensor.device}"
            )
