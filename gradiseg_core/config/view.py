"""Configuration of the page in which a trained scene can be looked at."""

from __future__ import annotations

from gradiseg_core.config.base import Section, option


class ViewConfig(Section):
    """What the page `view.html` of a run holds."""

    max_gaussians: int = option(
        1_000_000,
        "Most Gaussians in a page, about 24 bytes each.",
        source="our choice: a file that mails and phones take",
        ge=1000,
    )
