"""Write what is generated from the configuration models: the JSON schema and the reference page.

Usage: ``python -m gradiseg_core.config.docs`` in the repository; a test keeps both in step.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gradiseg_core.config.root import RootConfig, SceneEntry
from gradiseg_core.config.variants import OwnVariant

SCHEMA_FILE = Path("schemas/config.schema.json")
PAGE_FILE = Path("docs/configuration.md")

_INTRODUCTION = """\
# Configuration reference

Generated from the models in `gradiseg_core/config/` by `python -m gradiseg_core.config.docs`; do
not edit it by hand. `schemas/config.schema.json` holds the same for editors: with

```yaml
# yaml-language-server: $schema=schemas/config.schema.json
```

as the first line of a configuration file, many editors check and complete it while you type.

A key that is left out keeps its default. An unknown key, a wrong type, a missing folder or a
combination that cannot work stops the workflow before any job starts, with a message that names the
key and the nearest valid one. Relative paths start from the folder in which `snakemake` is called;
`~` is your home folder, and variables such as `$HOME` are not replaced.

`snakemake --cores all --configfile my.yaml` uses `my.yaml` *instead of* the shipped `config.yaml`.
Targets stand before `--configfile`, which takes several files. Single values can be changed on the
command line: `--config seeds='[0, 1, 2]'`.

What a job reruns on: only the sections of the stage itself count, so a change under `metrics`
scores again but does not train again. Of `train`, the parts `igd` and `la_knn` concern only the
variants that do not set them to null.

Iterations come in two units: "iterations of 30,000" are scaled with the length of the run
(`train.iterations`), "iterations" are those of the run itself.
"""

_SCENES = """
Every scene has a name (letters, digits, `-`, `_`), which is its folder under `results/` and its
target on the command line: `snakemake --cores all my_scene --configfile my.yaml`. The smallest
scene is

```yaml
scenes:
  my_scene:
    path: photos/my_scene
```

A scene may repeat any section from `colmap` to `metrics` with the keys that it changes. They are
merged into the section, key by key: null replaces a whole mapping, and a mapping replaces null by
the defaults and its own keys. Only the merged section is checked for values that conflict.
"""

_VARIANTS = """
A variant is a training to compare: a set of changes to section `train` of the whole method. It runs
on every scene whose `variants` (the file's, or the scene's own) name it. Its keys are merged into
the scene's `train`, as the scene's are into the file's; `igd: null` and `la_knn: null` leave a
module out:

```yaml
variants: [baseline, gradiseg, late_igd, longer]
own_variants:
  late_igd:
    label: GradiSeg, IGD from 15,000
    train: {igd: {start: 15000, until: 18000}}
  longer:
    label: baseline, densified until 12,000
    train: {igd: null, la_knn: null}
```

The variants that ship have the same form, in `gradiseg_core/config/presets/variants.yaml`:

```yaml
@PRESETS@```
"""


def schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration file."""
    document = RootConfig.model_json_schema()
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "GradiSeg configuration"
    return document


def page() -> str:
    """Return the reference page as Markdown."""
    parts = [_INTRODUCTION, "\n## Top level\n\n", _table(RootConfig, skip_sections=True)]
    parts += ["\n## `scenes`\n", _SCENES, "\n", _table(SceneEntry, skip_sections=True)]
    parts += _nested(SceneEntry, "scenes.<name>", skip_overrides=True)
    parts += [
        "\n## `own_variants`\n",
        _VARIANTS.replace("@PRESETS@", _presets()),
        "\n",
        _table(OwnVariant),
    ]
    for name, field in RootConfig.model_fields.items():
        model = _section(field)
        if model is None:
            continue
        if field.default is None:  # differs from another section, whose table says it all
            parts += [f"\n## `{name}`\n\n{field.description}\n"]
            continue
        parts += [f"\n## `{name}`\n\n{_first_paragraph(model)}\n\n", _table(model)]
        parts += _nested(model, name)
    return "".join(parts)


def _presets() -> str:
    """Return the file of the variants that ship, without the comment at its head."""
    text = (Path(__file__).parent / "presets" / "variants.yaml").read_text(encoding="utf-8")
    return text.partition("\n\n")[2]


def _nested(model: type[BaseModel], path: str, skip_overrides: bool = False) -> Iterator[str]:
    for name, field in model.model_fields.items():
        below = _section(field)
        if below is None or (skip_overrides and field.default is None):
            continue
        yield f"\n### `{path}.{name}`\n\n{_first_paragraph(below)}\n\n"
        yield _table(below)
        yield from _nested(below, f"{path}.{name}")


def _table(model: type[BaseModel], skip_sections: bool = False) -> str:
    """Return one row per field; sections have tables of their own."""
    rows = ["| key | type | default | meaning | source |", "| --- | --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        if _section(field) is not None and (skip_sections or field.default is not None):
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        unit = f" Unit: {extra['unit']}." if "unit" in extra else ""
        default = "required" if field.is_required() else f"`{_yaml(field.default)}`"
        cells = (
            f"`{name}`",
            _type(field) + _limits(field),
            default,
            f"{field.description}{unit}",
            extra.get("source", ""),
        )
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section, optional or not."""
    for member in _members(field.annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _type(field: FieldInfo) -> str:
    return " or ".join(_type_name(member) for member in _members(field.annotation))


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{_yaml(value)}`" for value in arguments)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is tuple:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return "mapping"
    if annotation is type(None):
        return "null"
    return {int: "integer", float: "number", bool: "true/false", str: "text", Path: "path"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, key):g}"
        for limit in field.metadata
        for key, sign in signs.items()
        if getattr(limit, key, None) is not None
    ]
    return f", {' and '.join(found)}" if found else ""


def _yaml(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False).strip('"')


def _first_paragraph(model: type[BaseModel]) -> str:
    text = (model.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(text.split())


def files() -> dict[Path, str]:
    """Return the generated files: path in the repository and content."""
    return {SCHEMA_FILE: json.dumps(schema(), indent=2) + "\n", PAGE_FILE: page()}


def main() -> None:
    """Write the generated files below the working directory."""
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
