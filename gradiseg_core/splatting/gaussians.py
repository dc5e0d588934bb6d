"""Gaussians under optimization, and the only place where their number changes.

N Gaussians are a dictionary of parameters (names and shapes in :data:`PARAMETERS`), one Adam
optimizer with a group a parameter, and per-Gaussian statistics that densification strategies keep.
All surgery goes through :meth:`Gaussians.rebuild`, so that parameters, both Adam moments and the
statistics can never disagree on N or on order. :func:`gaussians_from_points` makes their initial
values.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

PARAMETERS = ("means", "quats", "scales", "opacities", "sh0", "shN", "identities")
SH_C0 = 0.28209479177387814  # the constant order-0 spherical harmonic, 1 / (2 sqrt(pi))

#: Opacity of the initial Gaussians (3DGS).
INITIAL_OPACITY = 0.1


class Gaussians:
    """N Gaussians, their optimizer and their statistics.

    Attributes:
        params: ``means`` [N, 3], ``quats`` [N, 4] wxyz, ``scales`` [N, 3] log, ``opacities`` [N]
            logit, ``sh0`` [N, 1, 3], ``shN`` [N, 15, 3], ``identities`` [N, D]; float32.
        optimizer: Adam; its groups carry the parameter's name.
        statistics: Tensors whose first dimension is N, registered by strategies.
        rebuilds: How often their number or order has changed.
    """

    def __init__(self, values: dict[str, Tensor], learning_rates: dict[str, float]) -> None:
        """Wrap initial values.

        Args:
            values: One tensor for each name of :data:`PARAMETERS`, all on one device.
            learning_rates: Adam's rate for each name.

        Raises:
            ValueError: If a name is missing or first dimensions differ.
        """
        if set(values) != set(PARAMETERS):
            raise ValueError(f"expected parameters {PARAMETERS}, got {tuple(values)}")
        if len({value.shape[0] for value in values.values()}) != 1:
            shapes = {name: tuple(value.shape) for name, value in values.items()}
            raise ValueError(f"parameters disagree on the number of Gaussians: {shapes}")
        self.params = {name: nn.Parameter(values[name].detach().clone()) for name in PARAMETERS}
        self.statistics: dict[str, Tensor] = {}
        self.rebuilds = 0
        # eps 1e-15 is 3DGS's: the usual 1e-8 would damp Gaussians with tiny gradients.
        self.optimizer = torch.optim.Adam(
            [
                {"params": [self.params[name]], "lr": learning_rates[name], "name": name}
                for name in PARAMETERS
            ],
            eps=1e-15,
            fused=True,
        )

    def __len__(self) -> int:
        return self.params["means"].shape[0]

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.params["means"].device

    @property
    def scales(self) -> Tensor:
        """Activated scales, [N, 3], world units."""
        return self.params["scales"].exp()

    @property
    def opacities(self) -> Tensor:
        """Activated opacities, [N], in 0..1."""
        return self.params["opacities"].sigmoid()

    @property
    def drawn(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Means, quaternions, scales, opacities, sh0 and shN, as a rasterizer takes them."""
        params = self.params
        return (
            params["means"],
            params["quats"],
            self.scales,
            self.opacities,
            params["sh0"],
            params["shN"],
        )

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set Adam's learning rate of one parameter."""
        for group in self.optimizer.param_groups:
            if group["name"] == name:
                group["lr"] = value

    def learning_rate(self, name: str) -> float:
        """Adam's learning rate of one parameter."""
        return next(group["lr"] for group in self.optimizer.param_groups if group["name"] == name)

    def first_moment(self, name: str) -> Tensor | None:
        """Adam's running mean of one parameter's gradient, or None before the first step."""
        return self.optimizer.state.get(self.params[name], {}).get("exp_avg")

    @torch.no_grad()
    def rebuild(self, keep: Tensor, new: dict[str, Tensor] | None = None) -> None:
        """Keep some Gaussians, in order, and append new ones.

        Kept Gaussians keep their Adam moments and statistics; those of new ones start at zero.

        Args:
            keep: [N] bool, or indices [n].
            new: Values of the appended Gaussians for every parameter, each [m, ...]; None for none.
        """
        self.rebuilds += 1
        if keep.dtype == torch.bool:
            # Once, not in every indexing below: on a GPU the host waits for their number.
            keep = keep.nonzero().squeeze(1)
        for group in self.optimizer.param_groups:
            name = group["name"]
            old = self.params[name]
            tail = None if new is None else new[name]
            state = self.optimizer.state.pop(old, None)
            parameter = nn.Parameter(_extend(old.data.index_select(0, keep), tail))
            group["params"] = [parameter]
            self.params[name] = parameter
            if state is not None:
                zeros = None if tail is None else torch.zeros_like(tail)
                for moment in ("exp_avg", "exp_avg_sq"):
                    state[moment] = _extend(state[moment].index_select(0, keep), zeros)
                self.optimizer.state[parameter] = state
        count = 0 if new is None else new["means"].shape[0]
        for name, value in self.statistics.items():
            zeros = value.new_zeros((count, *value.shape[1:]))
            self.statistics[name] = _extend(value.index_select(0, keep), zeros)

    @torch.no_grad()
    def overwrite(self, name: str, values: Tensor) -> None:
        """Replace one parameter's values and zero its Adam moments (opacity reset)."""
        self.params[name].data.copy_(values)
        state = self.optimizer.state.get(self.params[name], {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                state[moment].zero_()

    @torch.no_grad()
    def overwrite_rows(self, rows: Tensor, values: dict[str, Tensor]) -> None:
        """Replace some Gaussians; their Adam moments and statistics start again at zero.

        Args:
            rows: [m] int64.
            values: Parameters to replace, each [m, ...]; the others keep their values, not their
                moments.
        """
        for name, parameter in self.params.items():
            if name in values:
                parameter.data[rows] = values[name]
            state = self.optimizer.state.get(parameter, {})
            for moment in ("exp_avg", "exp_avg_sq"):
                if moment in state:
                    state[moment][rows] = 0
        for statistic in self.statistics.values():
            statistic[rows] = 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs to go on bit for bit."""
        return {
            "params": {name: value.detach() for name, value in self.params.items()},
            "optimizer": self.optimizer.state_dict(),
            "statistics": self.statistics,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, on the device where this object's parameters are."""
        device = self.device
        for group in self.optimizer.param_groups:
            parameter = nn.Parameter(state["params"][group["name"]].to(device, copy=True))
            group["params"] = [parameter]
            self.params[group["name"]] = parameter
        self.optimizer.state.clear()
        # load_state_dict keeps the given moments by reference, and steps update them in place.
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.statistics = {
            name: value.to(device, copy=True) for name, value in state["statistics"].items()
        }


@dataclass(frozen=True)
class GivenGaussians:
    """Gaussians whose geometry and colour are known and held.

    Attributes:
        values: All of :data:`PARAMETERS` but ``identities``, training frame.
        degree: Of their spherical harmonics.
    """

    values: dict[str, Tensor]
    degree: int

    def with_identities(self, identity_dim: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return initial values of all parameters; encodings are as without given Gaussians."""
        count = len(self.values["means"])
        return {**self.values, "identities": _random_identities(count, identity_dim, generator)}


def gaussians_from_points(
    xyz: NDArray[np.float64],  # [P, 3] world units
    rgb: NDArray[np.uint8],  # [P, 3]
    *,
    identity_dim: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return initial values: one isotropic Gaussian a point.

    Scales are the root mean square distance to the three nearest points (3DGS), colours are the
    points', rotations are the identity, and Identity Encodings are uniform in +-0.5 / SH_C0
    (Gaussian Grouping stores them as order-0 harmonics of uniform random colours).

    Raises:
        ValueError: If there are fewer than four points.
    """
    count = xyz.shape[0]
    if count < 4:
        raise ValueError(f"need at least 4 points to start from, got {count}")
    distances, _ = cKDTree(xyz).query(xyz, k=4)
    spacing = np.sqrt(np.maximum((distances[:, 1:] ** 2).mean(axis=1), 1e-7))
    quats = torch.zeros(count, 4)
    quats[:, 0] = 1.0
    return {
        "means": torch.from_numpy(xyz.astype(np.float32)),
        "quats": quats,
        "scales": torch.from_numpy(np.log(spacing).astype(np.float32))[:, None].repeat(1, 3),
        "opacities": torch.logit(torch.full((count,), INITIAL_OPACITY)),
        "sh0": ((torch.from_numpy(rgb.astype(np.float32)) / 255.0 - 0.5) / SH_C0)[:, None],
        "shN": torch.zeros(count, 15, 3),
        "identities": _random_identities(count, identity_dim, generator),
    }


def _random_identities(count: int, identity_dim: int, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, identity_dim, generator=generator) - 0.5) / SH_C0


def _extend(head: Tensor, tail: Tensor | None) -> Tensor:
    return head.contiguous() if tail is None else torch.cat([head, tail])
