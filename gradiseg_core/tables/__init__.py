"""Tables of all runs, with published numbers beside ours."""

from gradiseg_core.tables.build import build, make_tables, terminal

__all__ = ["build", "make_tables", "terminal"]
