#!/usr/bin/env bash
# Installs DEVA at the commit that gradiseg_core/stages/tracking/deva/package.py names; Snakemake
# runs this in the new environment. Without its dependencies: those of its demos and its training (gradio,
# gurobipy, a git repository without a pinned commit, ...) are not needed here.
set -euo pipefail
commit=404a112df77f9644d5c7211811329ccd8174b8c3
python -m pip install --no-deps \
  "deva @ git+https://github.com/hkchengrex/Tracking-Anything-with-DEVA@${commit}"
