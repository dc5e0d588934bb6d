"""Render the embedded scene's files: ``python -m gradiseg_core.scene.demo FOLDER``.

What lies in FOLDER is kept, so that an interrupted rendering continues; an empty folder renders
everything.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from gradiseg_core.config.scene import DemoConfig
from gradiseg_core.scene.demo.dataset import render_demo


def main() -> None:
    """Render into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Render the embedded scene in LERF-Mask's layout.")
    parser.add_argument("folder", type=Path, help="folder to fill")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    render_demo(DemoConfig(), arguments.folder, name="demo", seed=0, threads=os.cpu_count() or 1)


if __name__ == "__main__":
    main()
