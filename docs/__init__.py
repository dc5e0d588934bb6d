"""Pages, and what fills their numbers from the result files (`make docs`)."""
