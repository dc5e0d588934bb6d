"""Edits against the truth: tables rendered without an object, or with two swapped.

    python -m studies.removal RUN --without "white teapot" [--select 1,13]
    python -m studies.removal RUN --swap "blue mug" "red apple"

RUN is a trained scene of the embedded table, or of another one with `--config`. No photograph can
show what an edit should look like; the generator can, with the shadow gone as well. Ways of
editing are compared:

`threshold_hull`  Gaussian Grouping's: probability above 0.3, and all that the convex hull holds; a
                  swap takes the halo along in every way
`class`           most probable ID, nothing else
`clean`           with cut, halo and inside
`clean_fill`      the same, and the hole closed
`clean_fill_shadow`  the same, and the shadow gone: what `remove` does if nothing else is asked for;
                  and what `swap` does then, which leaves shadows for what comes

Scores are taken in the objects' pixels of the test views, known exactly, before the edit and after
it, and `MARGIN_PX` around them: PSNR and SSIM there, and the residue: of the pixels in which the
photograph differs visibly from the truth, the share whose colour is nearer to the photograph.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import yaml

from gradiseg_core.editing.scene import load
from studies.options import TabletopConfig
from studies.removal_scores import WAYS, compare, operations
from studies.removal_tables import edited, index_of
from studies.removal_truth import render_truth
from studies.tabletop.layout import arrange


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Score edits against rendered truth.")
    parser.add_argument("run", type=Path, help="<results>/<scene>/<variant>/seed<n>")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--without", help="prompt of the object to remove")
    what.add_argument("--swap", nargs=2, help="prompts of the objects to swap")
    parser.add_argument("--select", nargs="+", help="what they are in the trained scene, in YAML")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--config", type=Path, help="options of another table, YAML")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = yaml.safe_load(options.config.read_text()) if options.config else {}
    config = TabletopConfig(**given)
    things = arrange(config)
    prompts = [options.without] if options.without else options.swap
    selected = [yaml.safe_load(text) for text in options.select] if options.select else prompts
    edits = {way: operations(way, selected) for way in options.ways}
    truth = render_truth(config, edited(things, prompts), options.out / "truth")
    ids = [index_of(things, prompt) + 1 for prompt in prompts]
    scene = load(options.run, device="cpu")
    compare(scene, truth, ids, edits, options.out)


if __name__ == "__main__":
    main()
