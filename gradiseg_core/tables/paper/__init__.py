"""Tables 1 to 4 and Figure 6 of the paper: its numbers as printed, ours beside them."""

from gradiseg_core.tables.paper.build import make_paper_tables, write_paper_tables

__all__ = ["make_paper_tables", "write_paper_tables"]
