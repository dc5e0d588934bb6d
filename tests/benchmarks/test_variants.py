"""The benchmark of variants, on a tiny scene."""

from __future__ import annotations

import torch

from benchmarks.gpu_parts.scenes import synthetic
from benchmarks.variants import HELD, LATE, STEPS, iterate, make_trainer


def test_what_is_timed_are_iterations_of_the_named_phase_that_change_no_number() -> None:
    scene = synthetic(200, 48, 32, torch.device("cpu"))
    for step, share in ((HELD, 0.0), (LATE, 1.0)):
        trainer = make_trainer(scene, "gradiseg_plus", step)
        shares: list[float] = []
        rasterize = trainer.rasterizer

        def watched(*arguments, rasterize=rasterize, shares=shares, **options):
            shares.append(options["identity_geometry"])
            return rasterize(*arguments, **options)

        trainer.rasterizer = watched
        assert iterate(trainer, step) > 0
        assert iterate(trainer, step) > 0
        assert trainer.step == step + STEPS
        assert shares == [share] * 2 * STEPS
        assert len(trainer.gaussians) == 200
        trainer.prefetcher.close()
