"""Whether a run's photographs and videos can be opened, before anything is planned for them."""

from __future__ import annotations

from pathlib import Path

from gradiseg_core.config.root import Settings
from gradiseg_core.config.scene import SceneConfig


def check_inputs(settings: Settings) -> None:
    """Refuse what stage `scene` would refuse once the run has begun, as far as heads tell.

    Scenes that are prepared already are left alone.

    Args:
        settings: The configuration.

    Raises:
        InputError: With the message of stage `scene`.
    """
    for name in settings.scenes:
        config = settings.section(name, "scene")
        prepared = Path(settings.root.results) / name / "scene" / "scene.json"
        if not isinstance(config, SceneConfig) or prepared.is_file():
            continue
        try:
            from gradiseg_core.stages.scene.heads import check_heads

            check_heads(config, name)
        except ImportError:  # a Snakemake whose stages have environments of their own
            return
