"""Tables 1 to 4 and Figure 6 of the paper: its numbers as printed, ours beside them."""
