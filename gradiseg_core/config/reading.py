"""Reading configuration files outside Snakemake, as Snakemake reads them; repeated keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from gradiseg_core.config.layers import merge
from gradiseg_core.errors import ConfigError


def read_files(paths: Iterable[Path]) -> dict[str, Any]:
    """Return the content of configuration files, each merged over those before it.

    Args:
        paths: YAML files, as for ``snakemake --configfile``.

    Raises:
        ConfigError: If a file cannot be read, is not a mapping in YAML, or has a key twice.
    """
    paths = list(paths)
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
    refuse_repeated_keys(paths)
    return raw


def refuse_repeated_keys(paths: Iterable[Path]) -> None:
    """Refuse files that have a key twice in one mapping: YAML silently keeps the last.

    Args:
        paths: YAML files. Missing files and invalid YAML are left to the reader.

    Raises:
        ConfigError: With a line for every such key that names file, key and lines.
    """
    problems = []
    for path in paths:
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            continue
        problems += [f"{path}: {line}" for line in _repeated(root, "", set())]
    if problems:
        raise ConfigError("the configuration is not valid:\n  " + "\n  ".join(problems))


def _repeated(node: yaml.Node | None, above: str, seen: set[int]) -> list[str]:
    """Return the repeated keys in a node and below; anchored nodes are visited once."""
    if node is None or id(node) in seen:
        return []
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        return [line for item in node.value for line in _repeated(item, above, seen)]
    if not isinstance(node, yaml.MappingNode):
        return []
    found: list[str] = []
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        name = str(key.value)
        path = f"{above}.{name}" if above else name
        here = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, name) in lines:
                found.append(
                    f"line {here}: key '{path}' is there already, in line "
                    f"{lines[key.tag, name]}, which would be lost; write both in one"
                )
            lines.setdefault((key.tag, name), here)
        found += _repeated(value, path, seen)
    return found
