"""Configuration of stage `tracking`: one ID per object over all views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import SerializeAsAny

from gradiseg_core.config.backends import BackendConfig, BackendOptions, folder_of, load
from gradiseg_core.config.base import Conflict, Section, constant, option

_MEASURED = "measured (studies/association.md)"
_DEGRADED = (
    "IDs with made errors belong to the studies: write `studies: {degraded: ...}`, as "
    "studies/config/made.yaml does, and name their folder in `tracking.precomputed.folder`"
)


class RepairConfig(Section):
    """Repair of a tracker's IDs by SfM tracks; the options of `sfm` hold as well."""

    removed: ClassVar[dict[str, str]] = {
        "background_share": constant("BACKGROUND_SHARE", "stages/tracking/repair.py"),
    }

    link_points: float = option(
        5.0,
        "Weight of the tracker's ID, in shared SfM points.",
        unit="points",
        source=_MEASURED,
        gt=0.0,
    )
    window: int = option(
        5,
        "The tracker's IDs count within this many successive views; 0: in all.",
        unit="views",
        source=_MEASURED,
        ge=0,
    )


class TrackingConfig(BackendConfig):
    """How the masks of all views become consistent object IDs."""

    stage: ClassVar[str] = "tracking"
    internal: ClassVar[tuple[str, ...]] = ("options", "association")
    removed: ClassVar[dict[str, str]] = {
        "contact_sheet_views": constant("SHEET_VIEWS", "stages/tracking/stage.py"),
        "backend: deva+sfm": "write `backend: deva` and `repair: sfm`",
        "backend: degraded": _DEGRADED,
        "degraded": _DEGRADED,
    }

    backend: str = option(
        "geometry",
        "How objects get IDs. Where `masks` or `tracking.sfm` is written and this is not, it is "
        "`sfm`.",
    )
    repair: Literal["none", "sfm"] = option(
        "none",
        "`sfm` lets SfM tracks split and join the IDs of `precomputed` or `deva`.",
        source=_MEASURED,
    )
    overflow: Literal["merge_smallest", "error"] = option(
        "merge_smallest",
        "More objects than classes: merge the smallest into neighbours, or fail.",
    )
    repairing: RepairConfig = option(RepairConfig(), "Options of `repair: sfm`.")

    association: SerializeAsAny[BackendOptions] | None = option(
        None,
        "Options of backend `sfm`, for `repair: sfm` and where geometry finds nothing.",
        validate_default=False,
    )

    @classmethod
    def with_shared(cls, values: dict[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
        """Hand on the options of `sfm`, for a repair and for what geometry does not find."""
        name = values.get("backend", cls.model_fields["backend"].default)
        if values.get("repair") != "sfm" and name != "geometry":
            return values
        if values.get("association", sections) is None:
            return values  # as `after_geometry` has it: nothing of `sfm` runs
        given = values.get("association", sections.get("sfm"))
        if not isinstance(given, BackendOptions):
            given = load(cls.stage, "sfm").options.model_validate(given or {})
        return {**values, "association": given}

    @property
    def uses(self) -> tuple[str, ...]:
        """The chosen backend; for a repair also `sfm`, which it associates like."""
        return (self.backend, "sfm") if self.repair == "sfm" else (self.backend,)

    @property
    def files(self) -> list[Path]:
        """The chosen backend's file, and where `sfm` runs beside it, that of `sfm`."""
        files = super().files
        if self.repair == "sfm":
            files = [*files, folder_of(self.stage).parent / "repair.py"]
        if self.repair == "sfm" or (self.needs_geometry and self.needs_masks):
            files = [*files, load(self.stage, "sfm").file]
        return files

    @property
    def name(self) -> str:
        """Name of the method in tables and objects.json: ``deva``, or ``deva+sfm`` if repaired."""
        return f"{self.backend}+sfm" if self.repair == "sfm" else self.backend

    @property
    def needs_masks(self) -> bool:
        """Whether the stage reads the segments of stage `masks`."""
        return self.options.needs_masks

    @property
    def needs_geometry(self) -> bool:
        """Whether the stage reads the surface of stage `geometry`."""
        return self.options.needs_geometry

    @property
    def may_need_masks(self) -> bool:
        """Whether the stage reads segments, if not always then where geometry finds nothing."""
        return self.needs_masks or self.needs_geometry

    def after_geometry(self, *, failed: bool) -> TrackingConfig:
        """Return the configuration as it holds once stage `geometry` has run.

        Args:
            failed: Whether it found nothing. Backend `sfm` then joins segments; else that backend's
                options mean nothing.
        """
        if not self.needs_geometry:
            return self
        if failed:
            return TrackingConfig(backend="sfm", options=self.association, overflow=self.overflow)
        return self if self.needs_masks else self.model_copy(update={"association": None})

    def conflicts(self) -> Iterator[Conflict]:
        """Refuse to repair the IDs of `sfm` or of geometry."""
        if self.repair == "sfm" and self.backend in ("sfm", "geometry"):
            yield Conflict(
                ("repair", "backend"),
                "`repair: sfm` repairs the IDs of `precomputed` or `deva`; "
                f"`backend: {self.backend}` has no others: remove `repair`",
            )
