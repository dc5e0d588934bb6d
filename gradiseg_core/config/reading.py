"""Reading configuration files outside Snakemake, as Snakemake reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from gradiseg_core.config.layers import merge
from gradiseg_core.errors import ConfigError


def read_files(paths: Iterable[Path]) -> dict[str, Any]:
    """Return what configuration files say, each laid over those before it.

    Args:
        paths: YAML files, as for ``snakemake --configfile``.

    Raises:
        ConfigError: If a file cannot be read, or is not a mapping in YAML.
    """
    raw: dict[str, Any] = {}
    for path in paths:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: no valid YAML: {error}") from error
        if not isinstance(values, dict | None):
            raise ConfigError(f"{path}: the configuration must be a mapping (key: value)")
        raw = merge(raw, values or {})
    return raw
