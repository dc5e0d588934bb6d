"""The training loop (GradiSeg, Algorithm 1 and Eq. 5; Gaussian Grouping where it is silent)."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections import deque
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gradiseg_core.cameras import scene_extent
from gradiseg_core.compute.placement import loss_backends
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import ConfigError, GradisegError
from gradiseg_core.splatting.gaussians import Gaussians, gaussians_from_points
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.parts import Iteration, Run, Schedule, strategies_of, terms_of
from gradiseg_core.splatting.rasterization.interface import Rasterizer, Rendering
from gradiseg_core.splatting.rasterization.registry import make_rasterizer
from gradiseg_core.splatting.views import Prefetcher, TrainingData, TrainingView, of_one_colour

logger = logging.getLogger(__name__)

_CPU = torch.device("cpu")
#: Adam's rates of the parameters that have none in the configuration (3DGS).
LEARNING_RATES = {
    "quats": 1e-3,
    "scales": 5e-3,  # logarithms
    "opacities": 5e-2,  # logits
    "sh0": 2.5e-3,
    "shN": 2.5e-3 / 20,
}
#: Degrees of spherical harmonics are added one by one this often, iterations of 30,000 (3DGS).
SH_DEGREE_EVERY = 1000
#: Iterations between looks at the losses of a GPU.
WATCH_EVERY = 100


class Trainer:
    """One training of one scene from one seed, with the parts that the configuration asks for.

    All randomness comes from one generator whose state is checkpointed, so that a resumed run goes
    on exactly where it was. On a GPU a second generator draws the samples of the spatial loss and
    MCMC's noise there, because copying them would be slow.
    """

    def __init__(
        self,
        data: TrainingData,
        config: TrainConfig,
        seed: int,
        rasterizer: Rasterizer | None = None,
        device: torch.device = _CPU,
    ) -> None:
        """Initialise Gaussians from the scene's points.

        Args:
            data: Views and points.
            config: Training parameters; without ``igd`` and ``la_knn`` it is Gaussian Grouping.
            seed: Seed of initialisation, view order, samples and splits.
            rasterizer: Overrides the compiled core (tests, benchmarks).
            device: Where the Gaussians live.

        Raises:
            BackendUnavailableError: If the configuration asks for what the device does not have.
        """
        self.data, self.config, self.device = data, config, device
        self.seed = seed
        self.rasterizer = rasterizer or make_rasterizer(config, device)
        self.prefetcher = Prefetcher(data.train, device, int(config.gpu_views_gb * 1e9))
        self.watch = LossWatch(device)
        self.schedule = Schedule(config.iterations, views=len(data.train))
        self.extent = scene_extent(data.train.cameras)
        self.generator = torch.Generator().manual_seed(seed)
        self.device_generator = (
            self.generator if device.type == "cpu" else torch.Generator(device).manual_seed(seed)
        )
        self.step = 0
        self.queue: list[int] = []
        self.gaussians = self._first_gaussians()
        self.classifier = IdentityClassifier(
            data.num_classes, config.identity_dim, generator=self.generator
        ).to(device)
        self.classifier_optimizer = torch.optim.Adam(
            self.classifier.parameters(), lr=config.learning_rates.classifier, fused=self._fused
        )
        run = Run(
            config,
            self.schedule,
            data.train.cameras,
            self.extent,
            device,
            loss_backends(device),
            self.generator,
            self.device_generator,
        )
        self.strategies = {} if data.given is not None else strategies_of(run)
        self.terms = terms_of(run)
        self.needs_depth = any(term.needs_depth for term in self.terms.values())
        self.background = torch.full(
            (3,), 1.0 if config.background == "white" else 0.0, device=device
        )

    def _first_gaussians(self) -> Gaussians:
        """Return Gaussians at the scene's points, or the given ones, with random identities."""
        dim, rates = self.config.identity_dim, self.config.learning_rates
        if self.data.given is None:
            values = gaussians_from_points(
                self.data.points, self.data.colors, identity_dim=dim, generator=self.generator
            )
            of_geometry = LEARNING_RATES | {"means": rates.means * self.extent}
        else:
            values = self.data.given.with_identities(dim, self.generator)
            # Gradients stay, since LA-KNN takes its direction from those of positions.
            of_geometry = dict.fromkeys(values, 0.0)
        return Gaussians(
            {name: value.to(self.device) for name, value in values.items()},
            of_geometry | {"identities": rates.identities},
        )

    @property
    def _fused(self) -> bool | None:
        return True if self.device.type == "cuda" else None

    @property
    def sh_degree(self) -> int:
        """Degree of spherical harmonics in use."""
        if self.data.given is not None:
            return self.data.given.degree
        return min(self.config.sh_degree, self.schedule.count(self.step, SH_DEGREE_EVERY))

    def render(
        self, view: TrainingView, identities: Tensor | None = None, *, with_depth: bool = False
    ) -> Rendering:
        """Render one view with the current Gaussians.

        Args:
            view: The view.
            identities: [N, D] to blend in place of the encodings, which None takes.
            with_depth: Whether depth is rendered as well.
        """
        begun = self.schedule.after(self.step, self.config.losses.identity_geometry_start)
        return self.rasterizer(
            *self.gaussians.drawn,
            self.gaussians.params["identities"] if identities is None else identities,
            viewmat=view.viewmat,
            K=view.K,
            width=view.camera.width,
            height=view.camera.height,
            sh_degree=self.sh_degree,
            background=self.background,
            with_depth=with_depth,
            identity_geometry=1.0 if begun else 0.0,
        )

    def iterate(self) -> dict[str, Tensor | None]:
        """Run one iteration; return the loss and its parts, detached (None: left out this time).

        Raises:
            ConfigError: If two terms log under one name.
            GradisegError: If the loss is not finite; on a GPU this may be noticed some iterations
                late, see :class:`LossWatch`.
        """
        self.step += 1
        self._set_position_rate()
        view = self.prefetcher.get(self._next_view(), self.queue[-1] if self.queue else None)
        assert view.labels is not None
        rendering = self._render_for_losses(view)
        now = Iteration(self.step, view, rendering, self.gaussians, self.classifier)
        loss, log = self._loss(now)
        self.watch.observe(self.step, loss, view.camera.name, len(self.gaussians))
        loss.backward()
        with torch.no_grad():
            for strategy in self.strategies.values():
                strategy.step_post_backward(self.step, self.gaussians, rendering)
            for term in self.terms.values():
                term.step_post_backward(self.gaussians, rendering)
        self.gaussians.optimizer.step()
        self.gaussians.optimizer.zero_grad(set_to_none=True)
        self.classifier_optimizer.step()
        self.classifier_optimizer.zero_grad(set_to_none=True)
        self._run_strategies()
        return log

    def _loss(self, now: Iteration) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Return the weighted sum of all terms and penalties, and what goes into the log."""
        loss: Tensor | None = None
        log: dict[str, Tensor | None] = {}
        for key, term in self.terms.items():
            value = term.value(now)
            logged = term.logged(None if value is None else value.detach())
            twice = logged.keys() & {"loss", *log}
            if twice:
                raise ConfigError(
                    f"loss term `{key}` logs {', '.join(sorted(twice))}, as another term or the "
                    "sum does; give it a name of its own in its file, such as the file's"
                )
            log |= logged
            if value is not None:
                weighted = term.weight * value
                loss = weighted if loss is None else loss + weighted
        assert loss is not None, "the colour term is always there"
        for strategy in self.strategies.values():
            penalty = strategy.penalty(now.step, now.gaussians)
            if penalty is not None:
                loss = loss + penalty
        return loss, {"loss": loss.detach(), **log}

    def _run_strategies(self) -> None:
        for strategy in self.strategies.values():
            before = self.gaussians.rebuilds
            changed = strategy.step_post_optimizer(self.step, self.gaussians)
            # Not by its word alone: search trees of Gaussians that are gone give wrong indices.
            if changed or self.gaussians.rebuilds != before:
                for term in self.terms.values():
                    term.gaussians_changed()
        if len(self.gaussians) == 0:
            raise GradisegError(
                f"no Gaussian is left at iteration {self.step}: all were pruned. Poses and images "
                "probably do not belong together; check the reconstruction"
            )

    def _render_for_losses(self, view: TrainingView) -> Rendering:
        if self.config.losses.blended == "encodings":
            return self.render(view, with_depth=self.needs_depth)
        assert view.ids is not None
        from gradiseg_core.splatting.losses.blended import GROUP, class_channels

        channels = class_channels(self.gaussians.params["identities"], self.classifier, view.ids)
        groups = channels.split(GROUP, dim=1)
        first = self._blend(view, groups[0], with_depth=self.needs_depth)
        others = [self._blend(view, group) for group in groups[1:]]
        blended = [first.identity, *(other.identity for other in others)]
        return replace(first, identity=torch.cat(blended, dim=-1))

    def _blend(self, view: TrainingView, values: Tensor, *, with_depth: bool = False) -> Rendering:
        """Render [N, I] values, padded with zeros to a number of channels that rasterizers have."""
        from gradiseg_core.splatting.losses.blended import PADDED

        count = values.shape[1]
        rendering = self.render(view, pad(values, (0, -count % PADDED)), with_depth=with_depth)
        return replace(rendering, identity=rendering.identity[..., :count])

    @torch.no_grad()
    def evaluate(self) -> float | None:
        """Return the mean PSNR over the test views, dB, or None without test views.

        As in the metrics, views of one colour, such as black ones, do not count.
        """
        values = []
        for held_out in self.data.test:
            if of_one_colour(held_out.image.numpy()):
                continue
            view = held_out.to(self.device)
            rendered = self.render(view).color.clamp(0.0, 1.0)
            squares = (rendered - view.image.to(torch.float32) / 255.0) ** 2
            if view.ignored is not None:
                squares = squares[~view.ignored]
                if squares.numel() == 0:
                    continue
            error = squares.mean().item()
            values.append(-10.0 * math.log10(max(error, 1e-10)))
        return sum(values) / len(values) if values else None

    def _set_position_rate(self) -> None:
        if self.data.given is not None:
            return
        rates = self.config.learning_rates
        progress = self.step / self.config.iterations
        rate = math.exp(
            (1.0 - progress) * math.log(rates.means) + progress * math.log(rates.means_final)
        )
        self.gaussians.set_learning_rate("means", rate * self.extent)

    def _next_view(self) -> int:
        if not self.queue:
            self.queue = torch.randperm(len(self.data.train), generator=self.generator).tolist()
        return self.queue.pop()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during a run."""
        return {
            "step": self.step,
            "queue": list(self.queue),
            "generator": self.generator.get_state(),
            "device_generator": None
            if self.device_generator is self.generator
            else self.device_generator.get_state(),
            "gaussians": self.gaussians.state_dict(),
            "classifier": self.classifier.state_dict(),
            "classifier_optimizer": self.classifier_optimizer.state_dict(),
            "strategies": {name: s.state_dict() for name, s in self.strategies.items()},
            "terms": {name: term.state_dict() for name, term in self.terms.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, also of a run on another device.

        On the same kind of device the run goes on bit for bit, as far as the device's kernels do.
        """
        self.step, self.queue = state["step"], list(state["queue"])
        self.generator.set_state(state["generator"])
        if self.device_generator is not self.generator:
            if state["device_generator"] is None:  # the run was on a CPU
                self.device_generator.manual_seed(self.step)
            else:
                self.device_generator.set_state(state["device_generator"])
        self.gaussians.load_state_dict(state["gaussians"])
        self.classifier.load_state_dict(state["classifier"])
        optimizer = copy.deepcopy(state["classifier_optimizer"])
        for group in optimizer["param_groups"]:
            group["fused"] = self._fused  # before its step counters are put on a device by it
        self.classifier_optimizer.load_state_dict(optimizer)
        # A part that the saved run did not have, as where a study branches off, starts afresh.
        for name, saved in state["strategies"].items():
            if name in self.strategies:
                self.strategies[name].load_state_dict(saved)
        for name, saved in state["terms"].items():
            if name in self.terms:
                self.terms[name].load_state_dict(saved)


class Throughput:
    """Iterations per second since the last measurement."""

    def __init__(self, step: int) -> None:
        """Start counting at ``step``."""
        self._step, self._time = step, time.perf_counter()

    def measure(self, step: int) -> float:
        """Return iterations a second since the last call."""
        now = time.perf_counter()
        rate = (step - self._step) / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return rate


class LossWatch:
    """Raises when a loss is infinite or not a number.

    On a CPU the loss is checked in every iteration. On a GPU the host would have to wait for the
    device each time. There the device notes the first bad iteration, and the host reads it every
    :data:`WATCH_EVERY` iterations and whenever :meth:`check` is called.
    """

    def __init__(self, device: torch.device) -> None:
        """Set up for losses on ``device``."""
        self._on_device = device.type != "cpu"
        self._first_bad = torch.zeros((), dtype=torch.int64, device=device)
        self._checked = 0
        self._names: deque[tuple[int, str, int]] = deque(maxlen=2 * WATCH_EVERY)

    def observe(self, step: int, loss: Tensor, view: str, count: int) -> None:
        """Look at the loss of one iteration, before its gradient is used.

        Args:
            step: Iteration, from 1.
            loss: Scalar.
            view: Name of the view, for the message.
            count: Number of Gaussians, for the message.

        Raises:
            GradisegError: If the loss, or on a GPU one of an earlier iteration, is not finite.
        """
        if not self._on_device:
            if not math.isfinite(loss.item()):
                raise self._error(f"became {loss.item()} at", step, view, count)
            return
        self._names.append((step, view, count))
        bad = (self._first_bad == 0) & ~torch.isfinite(loss.detach())
        self._first_bad = torch.where(bad, step, self._first_bad)
        if step - self._checked >= WATCH_EVERY:
            self.check(step)

    def check(self, step: int) -> None:
        """Wait for the device, and raise if any loss so far was not finite.

        Raises:
            GradisegError: If one was not.
        """
        if not self._on_device:
            return
        self._checked = step
        first = int(self._first_bad.item())
        if first:
            known = {name[0]: name[1:] for name in self._names}
            view, count = known.get(first, ("an unknown view", 0))
            raise self._error("was not finite at", first, view, count)

    @staticmethod
    def _error(what: str, step: int, view: str, count: int) -> GradisegError:
        return GradisegError(
            f"the loss {what} iteration {step} on {view} ({count} Gaussians); lower "
            "train.learning_rates or check that view's pose. The last checkpoint is kept"
        )
