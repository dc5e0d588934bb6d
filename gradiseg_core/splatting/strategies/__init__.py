"""Strategies that change the number of Gaussians during training.

The trainer calls the hooks of :class:`gradiseg_core.splatting.strategies.base.Strategy` and never edits
parameters itself; strategies decide. What clones, splits and prunes acts through
:mod:`gradiseg_core.splatting.strategies.surgery`; :mod:`~gradiseg_core.splatting.strategies.mcmc` and the reset of
opacities overwrite rows of :class:`Gaussians` directly.
"""
