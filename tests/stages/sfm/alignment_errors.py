"""How far cameras are from others, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradiseg_core.alignment import Alignment


def errors_of(alignment: Alignment) -> dict[str, Any]:
    """The number of views, and the mean, median and largest errors of all views."""
    result: dict[str, Any] = {"views": len(alignment.position_error)}
    for key in ("position_error", "rotation_error_deg"):
        values = np.array(list(getattr(alignment, key).values()))
        result[key] = {
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "max": float(values.max()),
        }
    return result
