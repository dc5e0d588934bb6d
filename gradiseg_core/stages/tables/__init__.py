"""Tables of all runs, with published numbers beside ours."""
