"""Makes the workflow's `_stage.py` and the checkout's modules importable from a study's script."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "workflow_scripts")]

from _stage import stage  # noqa: E402

__all__ = ["stage"]
