"""GradiSeg: 3D Gaussians that know which object they belong to.

The package holds every computation of the pipeline as functions of paths and tensors. It never
imports Snakemake, and importing it needs neither a GPU nor a compiler: heavy imports are local to
the modules that use them.
"""

__version__ = "0.1.0"
