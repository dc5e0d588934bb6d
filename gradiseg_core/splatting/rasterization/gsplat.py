"""The rasterizer for NVIDIA GPUs: gsplat 1.5.3's kernels behind our interface.

Colour and identity share one projection, one sort and the same blending weights. gsplat's kernels
are compiled for certain numbers of channels (1-5, 8, 9, 16, 17, 32, 33, ...) and pad others with
zeros, so that 3 + 16 (and depth) in one call costs 32 channels. ``channels="split"`` blends 3 and
16 (17 with depth) in two calls over the same lists instead: nothing is padded, but alpha is
evaluated twice. Both give the same numbers; ``benchmarks/gpu.py`` times both. If the geometry gets
only a share of the identity's gradient, identities are always blended in a separate call, with the
same projection and lists.

gsplat 1.6 will take identities as ``extra_signals`` of its one call; this adapter can then shrink.

:class:`Operations` lists the functions of gsplat that are called. A machine without a GPU can
replace them by gsplat's own PyTorch functions and test everything else here
(``tests/splatting/rasterization/test_gsplat.py``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor

from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.rasterization.reference import weaken_gradient

TILE = 16  # px; other sizes are untested in gsplat
# The interface's semantics, given explicitly because gsplat's defaults may change.
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
    from gradiseg_core.compute.gsplat_build import load_kernels

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
        packed: Keep intermediate results of visible Gaussians only: less memory if a view sees a
            small part of the scene, at the price of one more wait for the GPU.
        absgrad: After ``backward``, ``means2d.absgrad`` holds the sum over pixels of absolute
            gradients (AbsGS), [N, 2]. Needs ``channels="padded"``: absolute values of two calls do
            not add up to that of their sum.
        channels: ``"padded"`` or ``"split"``; see the module.
        operations: Functions to call; None: gsplat's CUDA code.
    """

    packed: bool = False
    absgrad: bool = False
    channels: Literal["padded", "split"] = "split"
    operations: Operations | None = None

    def __post_init__(self) -> None:
        """Refuse combinations that gsplat does not support."""
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
        identity_geometry: float = 1.0,
    ) -> Rendering:
        """Render one view; arguments and result are those of ``interface.Rasterizer``.

        With ``identity_geometry`` below 1 identities are blended in a separate call, whatever
        ``channels`` says, and ``absgrad`` is that of colour (and depth) only.

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
        values = {"color": colors, "identity": take(identities)}
        if with_depth:
            values["depth"] = seen.depths[:, None]
        lists = self._lists(run, seen, width, height)
        # Without a backward pass the calls stay as configured.
        share = identity_geometry if torch.is_grad_enabled() else 1.0
        images: dict[str, Tensor] = {}
        for names in self._calls(share, with_depth):
            parts = [values[name] for name in names]
            sizes = [part.shape[1] for part in parts]
            if not sum(sizes):  # no identities
                images["identity"] = images["color"][..., :0]
                continue
            features = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
            behind = None
            if "color" in names and background is not None:
                black = colors.new_zeros(sum(sizes) - 3)
                behind = torch.cat([background.to(colors), black])
            shown = seen if "color" in names or share == 1.0 else seen.held(share)
            blended, alpha = run.rasterize_to_pixels(
                shown.for_blending, seen.batch(shown.conics), seen.batch(features),
                seen.batch(shown.opacities), width, height, TILE, *lists,
                backgrounds=None if behind is None else behind[None],
                packed=self.packed, absgrad=self.absgrad and shown is seen,
            )  # fmt: skip
            images |= dict(zip(names, blended[0].split(sizes, dim=-1), strict=True))
            images.setdefault("alpha", alpha[0, ..., 0])
        color, identity, alpha, depth = images["color"], images["identity"], images["alpha"], None
        if with_depth:
            depth = torch.where(alpha > 0, images["depth"][..., 0] / alpha.clamp(min=1e-10), 0.0)
        return Rendering(color, identity, alpha, seen.means2d, seen.radii, depth)

    def _calls(self, share: float, with_depth: bool) -> list[tuple[str, ...]]:
        """Return the features of each blending call, colour first."""
        depth = ("depth",) if with_depth else ()
        if share < 1.0:
            return [("color", *depth), ("identity",)]
        if self.channels == "split":
            return [("color",), ("identity", *depth)]
        return [("color", "identity", *depth)]

    def _project(
        self, run: Operations, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor,
        viewmat: Tensor, K: Tensor, width: int, height: int,
    ) -> _Seen:  # fmt: skip
        results = run.project(
            means, None, quats, scales, viewmat[None], K[None], width, height, **PROJECTION,
            packed=self.packed, sparse_grad=False, calc_compensations=False,
            opacities=opacities,
        )  # fmt: skip
        count = means.shape[0]
        if self.packed:
            _, images, ids, radii, centers, depths, conics, _ = results
            ids = ids.long()
            # Through [N, 2], so that each Gaussian's gradient is in its own row.
            means2d = centers.new_zeros(count, 2).index_copy(0, ids, centers)
            all_radii = radii.new_zeros(count).index_copy(0, ids, radii.amax(dim=-1))
            exposed = means2d
            centers = means2d.index_select(0, ids)
            opacities = opacities.index_select(0, ids)
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
            # The only wait for the GPU in a pass: the host needs the length of the lists.
            _, keys, flat = run.isect_tiles(
                seen.for_blending.detach(), seen.batch(seen.half_sizes),
                seen.batch(seen.depths).detach(), TILE, tiles_x, tiles_y, packed=self.packed,
                n_images=1, image_ids=seen.images, gaussian_ids=seen.ids,
            )  # fmt: skip
            offsets = run.isect_offset_encode(keys, 1, tiles_x, tiles_y)
        return offsets.reshape(1, tiles_y, tiles_x), flat


@dataclass
class _Seen:
    """Gaussians as one camera sees them: all N, or the n visible ones in packed mode.

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
        """[N] or [n] bool: the Gaussians that need a colour."""
        return (self.half_sizes > 0).all(dim=-1)

    def take(self, values: Tensor) -> Tensor:
        """Return the rows [N or n, ...] of per-Gaussian values [N, ...]."""
        # Not values[ids], whose backward pass sorts the indices because some might be equal.
        return values if self.ids is None else values.index_select(0, self.ids)

    def held(self, share: float) -> _Seen:
        """Return the same values; their gradient reaches the geometry multiplied by ``share``."""
        names = ("for_blending", "conics", "opacities")
        return replace(self, **{n: weaken_gradient(getattr(self, n), share) for n in names})

    def batch(self, values: Tensor) -> Tensor:
        """Add the dimension of cameras that gsplat expects."""
        return values[None] if self.ids is None else values


def _expose_absgrad(seen: _Seen, count: int) -> None:
    """Let ``means2d.absgrad`` [N, 2] appear during ``backward``.

    gsplat writes ``absgrad`` on the tensor that was blended, before the gradient of ``means2d``,
    from which that tensor was made, is known; a hook on ``means2d`` copies it.
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
