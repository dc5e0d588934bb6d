"""A slow and obvious rasterizer in plain PyTorch: the definition that every other one must meet.

Every Gaussian is projected, every pixel looks at every Gaussian, front to back, and autograd
computes all gradients. It runs in float32 or float64, and tests compare the fast rasterizers with
it. Read it to learn what they compute.

Notation (3DGS, Kerbl 2023; gsplat 1.5):
    Sigma = R S S^T R^T     3D covariance of a Gaussian with rotation R and scales S
    J                       Jacobian of the perspective projection at the Gaussian's centre
    Sigma' = J W Sigma W^T J^T + eps2d I      its 2D covariance in the image, px^2
    alpha_i(p) = min(0.999, o_i exp(-1/2 d^T Sigma'^-1 d)),  d = p - mean2d_i
    T_i(p) = prod_{j before i} (1 - alpha_j(p))              transmittance
    C(p) = sum_i c_i alpha_i T_i                             Eq. 1 (colour) and Eq. 2 (identity)

Memory is O(N x pixels); without autograd only one chunk of pixels is in memory at a time. Use it
for small scenes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradiseg_core.splatting.rasterization.interface import Rendering

EPS2D = 0.3  # px^2, added to the diagonal of the projected covariance (3DGS's low-pass filter)
NEAR_PLANE = 0.01  # world units; Gaussians with a centre nearer than this are culled
FAR_PLANE = 1e10  # world units
MAX_EXTENT = 3.33  # standard deviations; bound of the footprint (gsplat 1.5)
MAX_ALPHA = 0.999
MIN_ALPHA = 1.0 / 255.0  # fainter contributions are skipped
MIN_TRANSMITTANCE = 1e-4  # a pixel stops before falling to this
FRUSTUM_MARGIN = 0.3  # of half the field of view; where J stops following the centre

# Constants of the real spherical harmonics, degrees 0 to 3, as 3DGS and gsplat order them.
SH_C0 = 0.28209479177387814
SH_C1 = 0.4886025119029199
SH_C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
SH_C3 = (
    0.5900435899266435,
    2.890611442640554,
    0.4570457994644658,
    0.3731763325901154,
    1.445305721320277,
)


@dataclass
class Projection:
    """N Gaussians as one camera sees them.

    Attributes:
        means2d: [N, 2], centres, px.
        conics: [N, 3], upper triangle (xx, xy, yy) of the inverse 2D covariance, px^-2.
        depths: [N], camera-space z, world units.
        radii: [N, 2] int32, half sizes of the bounding rectangle, px; (0, 0) where culled.
    """

    means2d: Tensor
    conics: Tensor
    depths: Tensor
    radii: Tensor

    @property
    def visible(self) -> Tensor:
        """[N] bool, the Gaussians that were not culled."""
        return (self.radii > 0).any(dim=-1)


def rotation_matrices(quats: Tensor) -> Tensor:
    """Return the rotations [..., 3, 3] of quaternions [..., 4] (wxyz, any length above zero)."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def project(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4] wxyz
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    width: int,
    height: int,
) -> Projection:
    """Project Gaussians into the image by the local affine approximation (EWA splatting).

    The centre is projected exactly. Its Jacobian is taken at the centre clamped to the frustum
    plus a margin, so that a Gaussian far outside the image does not become arbitrarily elongated.
    """
    W, t = viewmat[:3, :3], viewmat[:3, 3]
    x, y, z = (means @ W.T + t).unbind(-1)
    in_range = (z >= NEAR_PLANE) & (z <= FAR_PLANE)
    z_safe = torch.where(in_range, z, torch.ones_like(z))  # no inf or nan for culled Gaussians
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    means2d = torch.stack([fx * x / z_safe + cx, fy * y / z_safe + cy], dim=-1)

    margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
    slope_x = (x / z_safe).clamp(-(cx / fx + margin_x), (width - cx) / fx + margin_x)
    slope_y = (y / z_safe).clamp(-(cy / fy + margin_y), (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    J = torch.stack(
        [fx / z_safe, zero, -fx * slope_x / z_safe, zero, fy / z_safe, -fy * slope_y / z_safe],
        dim=-1,
    ).unflatten(-1, (2, 3))

    half = J @ W @ rotation_matrices(quats) * scales[:, None, :]  # [N, 2, 3] = J W R S
    cov2d = half @ half.transpose(-1, -2) + EPS2D * torch.eye(2, dtype=z.dtype, device=z.device)
    xx, xy, yy = cov2d[:, 0, 0], cov2d[:, 0, 1], cov2d[:, 1, 1]
    det = xx * yy - xy * xy
    in_range = in_range & (det > 0) & (opacities >= MIN_ALPHA)
    det = torch.where(det > 0, det, torch.ones_like(det))
    conics = torch.stack([yy / det, -xy / det, xx / det], dim=-1)

    with torch.no_grad():
        # Beyond this many sigmas alpha is under MIN_ALPHA, whatever the direction.
        extent = torch.sqrt(2 * torch.log((opacities / MIN_ALPHA).clamp(min=1.0)))
        extent = extent.clamp(max=MAX_EXTENT)
        radii = torch.ceil(extent[:, None] * torch.sqrt(torch.stack([xx, yy], dim=-1)))
        size = means2d.new_tensor([width, height])
        inside = ((means2d + radii > 0) & (means2d - radii < size)).all(dim=-1)
        keep = in_range & inside & (radii > 0).any(dim=-1)
        radii = torch.where(keep[:, None], radii.clamp(max=1e9), 0).to(torch.int32)
    return Projection(means2d, conics, z, radii)


def sh_basis(directions: Tensor, degree: int) -> Tensor:
    """Evaluate the real spherical harmonics up to ``degree`` at unit directions.

    Args:
        directions: [..., 3], unit length.
        degree: 0 to 3.

    Returns:
        [..., (degree + 1)^2].
    """
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, SH_C0)]
    if degree >= 1:
        basis += [-SH_C1 * y, SH_C1 * z, -SH_C1 * x]
    if degree >= 2:
        a, b, c = SH_C2
        basis += [a * x * y, -a * y * z, b * (3 * z * z - 1), -a * x * z, c * (x * x - y * y)]
    if degree >= 3:
        a, b, c, d, e = SH_C3
        basis += [
            -a * y * (3 * x * x - y * y),
            b * x * y * z,
            -c * y * (5 * z * z - 1),
            d * z * (5 * z * z - 3),
            -c * x * (5 * z * z - 1),
            e * z * (x * x - y * y),
            -a * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, dim=-1)


def colors_from_sh(
    means: Tensor,  # [N, 3]
    sh0: Tensor,  # [N, 1, 3]
    shN: Tensor,  # [N, 15, 3]
    viewmat: Tensor,  # [4, 4]
    degree: int,
) -> Tensor:
    """Return the colours [N, 3] of Gaussians seen from the camera's centre, at least 0."""
    center = -viewmat[:3, :3].T @ viewmat[:3, 3]
    basis = sh_basis(torch.nn.functional.normalize(means - center, dim=-1), degree)
    color = basis[:, :1] * sh0[:, 0]
    if degree > 0:
        color = color + (basis[:, 1:, None] * shN[:, : basis.shape[1] - 1]).sum(dim=1)
    return (color + 0.5).clamp(min=0)


def blend(
    means2d: Tensor,  # [N, 2]
    conics: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    features: Tensor,  # [N, C]
    depths: Tensor,  # [N]
    visible: Tensor,  # [N] bool
    width: int,
    height: int,
    chunk: int = 4096,
) -> tuple[Tensor, Tensor]:
    """Blend the features of all visible Gaussians, front to back, at every pixel.

    Args:
        means2d: Centres, px.
        conics: Inverse 2D covariances, px^-2.
        opacities: 0..1.
        features: Values to blend.
        depths: Camera-space z, nearest first; equal depths keep the order of the arguments.
        visible: Which Gaussians take part.
        width: Width of the image, px.
        height: Height of the image, px.
        chunk: Pixels computed at a time.

    Returns:
        Blended features [H, W, C] over nothing, and the final transmittance [H, W].
    """
    index = visible.nonzero()[:, 0]
    index = index[torch.argsort(depths[index].detach(), stable=True)]
    means2d, conics, opacities = means2d[index], conics[index], opacities[index]
    features = features[index]
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = (torch.stack([cols, rows], dim=-1).reshape(-1, 2) + 0.5).to(means2d)

    blended, transmittances = [], []
    for centers in pixels.split(chunk):
        dx, dy = (centers[:, None] - means2d[None]).unbind(-1)  # [P, N]
        sigma = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
        alpha = (opacities * torch.exp(-sigma)).clamp(max=MAX_ALPHA)
        alpha = torch.where(alpha >= MIN_ALPHA, alpha, 0.0)
        after = torch.cumprod(1 - alpha, dim=1)  # transmittance behind each Gaussian
        # The first Gaussian that would end the pixel, and all behind it, do not count. Products
        # only fall from front to back, so comparing the running product is enough.
        alpha = torch.where(after > MIN_TRANSMITTANCE, alpha, 0.0)
        after = torch.cumprod(1 - alpha, dim=1)
        before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
        blended.append((alpha * before) @ features)
        last = after[:, -1] if len(index) else torch.ones_like(centers[:, 0])
        transmittances.append(last)
    return (
        torch.cat(blended).reshape(height, width, -1),
        torch.cat(transmittances).reshape(height, width),
    )


def weaken_gradient(value: Tensor, share: float) -> Tensor:
    """Return the same value; its gradient is multiplied by ``share``."""
    held = value.detach()
    return held + share * (value - held) if share else held


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
    """Render one view; arguments and result are those of ``interface.Rasterizer``."""
    projection = project(means, quats, scales, opacities, viewmat, K, width, height)
    means2d, visible = projection.means2d, projection.visible
    if means2d.requires_grad:
        means2d.retain_grad()
    colors = colors_from_sh(means, sh0, shN, viewmat, sh_degree)
    conics, depths = projection.conics, projection.depths
    features = torch.cat([colors, depths[:, None]], dim=1)
    blended, transmittance = blend(
        means2d, conics, opacities, features, depths, visible, width, height
    )
    color = blended[..., :3]
    identity, _ = blend(
        weaken_gradient(means2d, identity_geometry),
        weaken_gradient(conics, identity_geometry),
        weaken_gradient(opacities, identity_geometry),
        identities, depths, visible, width, height,
    )  # fmt: skip
    if background is not None:
        color = color + transmittance[..., None] * background
    alpha = 1 - transmittance
    depth = None
    if with_depth:
        depth = torch.where(alpha > 0, blended[..., -1] / alpha.clamp(min=1e-10), 0.0)
    radii = projection.radii.amax(dim=-1)
    return Rendering(color, identity, alpha, means2d, radii, depth)
