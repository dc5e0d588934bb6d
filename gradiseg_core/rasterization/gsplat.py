"""The rasterizer for NVIDIA GPUs: gsplat 1.5.3's kernels behind our interface.

Colour and identity share one projection, one sort and the same blending weights. The kernels of
gsplat are compiled for some numbers of channels only (1-5, 8, 9, 16, 17, 32, 33, ...) and pad the
rest with zeros, so that 3 + 16 (and depth) in one call costs 32 channels. ``channels="split"``
blends 3 and 16 (17 with depth) in two calls over the same lists instead: nothing is padded, but
alpha is evaluated twice. Both give the same numbers; ``benchmarks/gpu.py`` times both.

gsplat 1.6 will take identities as ``extra_signals`` of its one call; this adapter can then shrink.

What of gsplat is called is listed in :class:`Operations`, so that a machine without a GPU can put
gsplat's own PyTorch functions in their place and test everything else here
(``tests/rasterization/test_gsplat.py``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor

from gradiseg_core.rasterization.interface import Rendering

TILE = 16  # px; other sizes are untested in gsplat
# The interface's semantics, given explicitly lest gsplat's defaults change.
PROJECTION = {"eps2d": 0.3, "near_plane": 0.01, "far_plane": 1e10, "radius_clip": 0.0}


@dataclass(frozen=True)
class Operations:
    """The functions of gsplat that the adapter calls, with gsplat's signatures.

    Attributes:
        project: ``fully_fused_projection``.
        spherical_harmonics: ``spherical_harmonics``.
        isect_tiles: ``isect_tiles``.
        isect_offset_encode: ``isect_offset_encode``.
        rasterize_to_pixels: ``rasterize_to_pixels``.
        device: Type of device that they run on.
    """

    project: Callable[..., Any]
    spherical_harmonics: Callable[..., Tensor]
    isect_tiles: Callable[..., tuple[Tensor, Tensor, Tensor]]
    isect_offset_encode: Callable[..., Tensor]
    rasterize_to_pixels: Callable[..., tuple[Tensor, Tensor]]
    device: str = "cuda"


@cache
def published() -> Operations:
    """Return gsplat's CUDA functions; their first use on a machine compiles them.

    Raises:
        BackendUnavailableError: If gsplat is missing or cannot be compiled here.
    """
    from gradiseg_core.gsplat_build import load_kernels

    load_kernels()
    import gsplat

    return Operations(
        gsplat.fully_fused_projection,
        gsplat.spherical_harmonics,
        gsplat.isect_tiles,
        gsplat.isect_offset_encode,
        gsplat.rasterize_to_pixels,
    )


@dataclass(frozen=True)
class GsplatRasterizer:
    """A :class:`.interface.Rasterizer` over gsplat.

    Attributes:
        packed: Keep intermediate results of visible Gaussians only: less memory where a view sees
            a small part of the scene, at the price of one more wait for the GPU.
        sparse_grad: Gradients of means, quats and scales leave the projection in COO layout (needs
            ``packed``). A gradient that another path adds to (means: colour's direction) is dense.
        absgrad: After ``backward``, ``means2d.absgrad`` holds the gradient summed by absolute value
            over pixels (AbsGS), [N, 2]; needs ``channels="padded"``, as absolute values of two
            calls do not add up to that of their sum.
        channels: ``"padded"`` or ``"split"``; see the module.
        operations: What to call; None is gsplat's CUDA code.
    """

    packed: bool = False
    sparse_grad: bool = False
    absgrad: bool = False
    channels: Literal["padded", "split"] = "split"
    operations: Operations | None = None

    def __post_init__(self) -> None:
        """Refuse combinations that gsplat does not have."""
        if self.sparse_grad and not self.packed:
            raise ValueError("sparse_grad needs packed=True (gsplat has it in packed mode only)")
        if self.absgrad and self.channels != "padded":
            raise ValueError('absgrad needs channels="padded"')

    def __call__(
        self,
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
    ) -> Rendering:
        """Render one view; arguments and result are those of ``interface.Rasterizer``.

        Raises:
            ValueError: If a tensor lies on another device than the kernels run on.
            BackendUnavailableError: If gsplat is missing or cannot be compiled.
        """
        run = self.operations or published()
        inputs = {
            "means": means, "quats": quats, "scales": scales, "opacities": opacities, "sh0": sh0,
            "shN": shN, "identities": identities, "viewmat": viewmat, "K": K,
        }  # fmt: skip
        for name, tensor in inputs.items():
            if tensor.device.type != run.device:
                raise ValueError(
                    f"{name}: rasterizer 'cuda' takes tensors on {run.device}, got {tensor.device}"
                )
        seen = self._project(run, means, quats, scales, opacities, viewmat, K, width, height)
        take = seen.take
        # gsplat inverts viewmats, which waits for the GPU; a rotation's inverse is its transpose.
        center = -viewmat[:3, :3].T @ viewmat[:3, 3]
        coefficients = torch.cat([take(sh0), take(shN)], dim=1)
        harmonics = run.spherical_harmonics(
            sh_degree, take(means) - center, coefficients, masks=seen.visible
        )
        colors = (harmonics + 0.5).clamp_min(0.0)
        extra = [take(identities)] + ([seen.depths[:, None]] if with_depth else [])
        lists = self._lists(run, seen, width, height)

        def blend(features: Tensor, behind: Tensor | None) -> tuple[Tensor, Tensor]:
            batch = seen.batch
            images, alphas = run.rasterize_to_pixels(
                seen.for_blending, batch(seen.conics), batch(features), batch(seen.opacities),
                width, height, TILE, *lists,
                backgrounds=None if behind is None else behind[None],
                packed=self.packed, absgrad=self.absgrad,
            )  # fmt: skip
            return images[0], alphas[0, ..., 0]

        behind = None if background is None else background.to(colors)
        if self.channels == "split":
            color, alpha = blend(colors, behind)
            features = torch.cat(extra, dim=1) if with_depth else extra[0]
            # Without identities and depth there is nothing more to blend.
            rest = blend(features, None)[0] if features.shape[1] else color[..., :0]
        else:
            features = torch.cat([colors, *extra], dim=1)
            if behind is not None:
                behind = torch.cat([behind, behind.new_zeros(features.shape[1] - 3)])
            blended, alpha = blend(features, behind)
            color, rest = blended[..., :3], blended[..., 3:]
        dims = identities.shape[1]
        depth = None
        if with_depth:
            depth = torch.where(alpha > 0, rest[..., dims] / alpha.clamp(min=1e-10), 0.0)
        return Rendering(color, rest[..., :dims], alpha, seen.means2d, seen.radii, depth)

    def _project(
        self, run: Operations, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor,
        viewmat: Tensor, K: Tensor, width: int, height: int,
    ) -> _Seen:  # fmt: skip
        results = run.project(
            means, None, quats, scales, viewmat[None], K[None], width, height, **PROJECTION,
            packed=self.packed, sparse_grad=self.sparse_grad, calc_compensations=False,
            opacities=opacities,
        )  # fmt: skip
        count = means.shape[0]
        if self.packed:
            _, images, ids, radii, centers, depths, conics, _ = results
            ids = ids.long()
            # By way of [N, 2], so that the gradient of every Gaussian lies at its own row.
            means2d = centers.new_zeros(count, 2).index_copy(0, ids, centers)
            all_radii = radii.new_zeros(count).index_copy(0, ids, radii.amax(dim=-1))
            exposed = means2d
            centers = means2d[ids]
            opacities = opacities[ids]
        else:
            images = ids = None
            radii, means2d, depths, conics = (part[0] for part in results[:4])
            all_radii = radii.amax(dim=-1)
            exposed, centers = means2d, means2d[None]
        if exposed.requires_grad:
            exposed.retain_grad()
        seen = _Seen(
            ids, images, exposed, centers, all_radii.to(torch.int32), radii, depths, conics,
            opacities,
        )  # fmt: skip
        if self.absgrad and exposed.requires_grad:
            _expose_absgrad(seen, count)
        return seen

    def _lists(self, run: Operations, seen: _Seen, width: int, height: int) -> tuple[Tensor, ...]:
        """Return offsets of tiles and the sorted Gaussians in them."""
        tiles_x, tiles_y = ceil(width / TILE), ceil(height / TILE)
        with torch.no_grad():
            # The one wait for the GPU in a pass: the host must learn how long the lists are.
            _, keys, flat = run.isect_tiles(
                seen.for_blending.detach(), seen.batch(seen.half_sizes),
                seen.batch(seen.depths).detach(), TILE, tiles_x, tiles_y, packed=self.packed,
                n_images=1, image_ids=seen.images, gaussian_ids=seen.ids,
            )  # fmt: skip
            offsets = run.isect_offset_encode(keys, 1, tiles_x, tiles_y)
        return offsets.reshape(1, tiles_y, tiles_x), flat


@dataclass
class _Seen:
    """What one camera sees: all N Gaussians, or the n visible ones in packed mode.

    Attributes:
        ids: [n] int64, or None when not packed.
        images: [n], index of the image (0) of each, or None when not packed.
        means2d: [N, 2], exposed for densification.
        for_blending: [1, N, 2] or [n, 2].
        radii: [N] int32.
        half_sizes: [N, 2] or [n, 2] int32.
        depths: [N] or [n].
        conics: [N, 3] or [n, 3].
        opacities: [N] or [n].
    """

    ids: Tensor | None
    images: Tensor | None
    means2d: Tensor
    for_blending: Tensor
    radii: Tensor
    half_sizes: Tensor
    depths: Tensor
    conics: Tensor
    opacities: Tensor

    @property
    def visible(self) -> Tensor:
        """[N] or [n] bool, for which colours are needed."""
        return (self.half_sizes > 0).all(dim=-1)

    def take(self, values: Tensor) -> Tensor:
        """Return the rows [N or n, ...] of per-Gaussian values [N, ...]."""
        return values if self.ids is None else values[self.ids]

    def batch(self, values: Tensor) -> Tensor:
        """Add gsplat's dimension of cameras where it expects one."""
        return values[None] if self.ids is None else values


def _expose_absgrad(seen: _Seen, count: int) -> None:
    """Let ``means2d.absgrad`` [N, 2] appear during ``backward``.

    gsplat writes its own ``absgrad`` on the tensor that was blended, before the gradient of what
    that tensor was made of is known; a hook on the latter copies it.
    """
    exposed, ids = weakref.ref(seen.means2d), seen.ids
    # Emptied by the hook: a graph that holds a hook that holds a tensor of the graph is never
    # freed.
    blended = [seen.for_blending]

    def copy(gradient: Tensor) -> None:
        target = exposed()
        absolute: Tensor | None = getattr(blended.pop(), "absgrad", None) if blended else None
        if target is None or absolute is None:
            return
        if ids is None:
            absolute = absolute[0]
        else:
            absolute = absolute.new_zeros(count, 2).index_copy(0, ids, absolute)
        target.absgrad = absolute  # type: ignore[attr-defined]

    seen.means2d.register_hook(copy)
