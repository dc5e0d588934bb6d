"""The stages of the pipeline, a folder each.

``stage.py`` is what a rule runs; where there are several ways, they lie in ``backends/``. Stages
never import one another.
"""
