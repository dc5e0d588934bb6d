"""Errors that a user can act on.

Every message names what failed, where, and what to do about it. Programming errors stay
``ValueError``, ``TypeError`` or ``AssertionError``; the classes here are for faults of the user's
files, configuration or machine.
"""

from __future__ import annotations


class GradisegError(Exception):
    """Base of all errors that GradiSeg raises on purpose."""


class ConfigError(GradisegError):
    """The configuration is invalid: unknown key, wrong type, impossible combination."""


class InputError(GradisegError):
    """A file or folder that the user gave is missing, unreadable or of the wrong form."""


class ReconstructionError(GradisegError):
    """Structure from motion failed or registered too few images."""


class BackendUnavailableError(GradisegError):
    """A backend was asked for that this machine lacks (package, weights, GPU)."""


class DownloadError(GradisegError):
    """A file could not be fetched, or what arrived is not what was asked for."""
