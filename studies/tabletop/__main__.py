"""Render the embedded scene's files: ``python -m studies.tabletop FOLDER``.

What lies in FOLDER is kept, so that an interrupted rendering continues; an empty folder renders
everything.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from studies.options import TabletopConfig
from studies.tabletop.dataset import render_tabletop


def main() -> None:
    """Render into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Render the embedded scene in LERF-Mask's layout.")
    parser.add_argument("folder", type=Path, help="folder to fill")
    folder: Path = parser.parse_args().folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder.mkdir(parents=True, exist_ok=True)
    render_tabletop(TabletopConfig(), folder, name="demo", seed=0, threads=os.cpu_count() or 1)


if __name__ == "__main__":
    main()
