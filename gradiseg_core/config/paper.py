"""What a configuration holds of the paper's experiments: the plan of ``paper_tables``.

:mod:`.paper_plan` makes it from the configuration; the job that writes the tables reads only this.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

#: Part of the paper -> the CSV file that its tables are written to.
FILES = {
    "Table 1": "table_1.csv",
    "Table 2": "table_2.csv",
    "Table 3": "table_3.csv",
    "Table 4": "table_4.csv",
    "Figure 6": "figure_6.csv",
    "Coverage": "coverage.csv",
}
FIGURE = "figure_6.png"


class PaperPlan(BaseModel):
    """The paper's experiments in a configuration.

    Attributes:
        scenes: Names of the scenes that belong to the paper's datasets.
        absent: Scenes that the configuration names and leaves out, and why.
        starts: Per scene of LERF-Mask, the start of IGD (paper's iterations) of `gradiseg` and of
            every variant that differs from it only in this.
        factors: Per scene of Mip-NeRF 360, how many times its images are reduced.
        labels: Names in tables of variants that have one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenes: tuple[str, ...] = ()
    absent: dict[str, str] = {}
    starts: dict[str, dict[str, int]] = {}
    factors: dict[str, int] = {}
    labels: dict[str, str] = {}
