"""How the hole that an object leaves is closed, and LaMa's published weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, ValidationError, WithJsonSchema

from gradiseg_core.config.base import Conflict, InputPath, Section, option
from gradiseg_core.config.checkpoints import Checkpoint

#: Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (WACV 2022),
#: as a program of TorchScript: IOPaint's export of the authors' `big-lama`. The hash is that of
#: the file whose MD5, e3aa4aaa15225a33ec84f9f4bc47e500, IOPaint checks.
LAMA = Checkpoint(
    "lama",
    "Big-LaMa in TorchScript: colours of what nothing saw",
    "Apache-2.0",
    205_669_692,
    url="https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
    sha256="344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
)


class Fill(Section):
    """How a hole is closed where that is not left to the default."""

    backend: Literal["embedded", "lama"] = option(
        "embedded", "Where colours come from: smoothly from around the hole, or LaMa, a network."
    )
    checkpoint: InputPath | None = option(
        None, "LaMa's file, a program of TorchScript; null downloads it."
    )

    def conflicts(self) -> list[Conflict]:
        """Only LaMa has a file."""
        if self.checkpoint is not None and self.backend != "lama":
            return [Conflict(("checkpoint",), "checkpoint belongs to `backend: lama`; name both")]
        return []

    def weights(self) -> dict[str, Path | None]:
        """Return LaMa's checkpoint, if it is used."""
        return {LAMA.name: self.checkpoint} if self.backend == "lama" else {}


def _fill(value: Any) -> bool | Fill:
    """Validate what a user writes; messages of mappings name the key."""
    if isinstance(value, bool | Fill):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(
            f"expected true, false or a mapping such as {{backend: lama}}, got {value!r}"
        )
    try:
        return Fill.model_validate(dict(value))
    except ValidationError as error:
        from gradiseg_core.config.messages import explain

        lines = [line.removeprefix("config: ") for line in explain(error, Fill)]
        raise ValueError("; ".join(lines)) from error


def _plain(value: bool | Fill) -> Any:
    if isinstance(value, Fill):
        return value.model_dump(mode="json", exclude_defaults=True)
    return value


Filled = Annotated[
    Any,
    PlainValidator(_fill),
    PlainSerializer(_plain),
    WithJsonSchema({"type": ["boolean", "object"]}),
]
"""True, false, or a :class:`Fill`."""


def fill_option() -> Any:
    """Declare the field `fill` of an operation that leaves a hole."""
    return option(
        True,
        "Close the hole that no training view saw; `{backend: lama, checkpoint: ...}`: in LaMa's "
        "colours.",
    )
