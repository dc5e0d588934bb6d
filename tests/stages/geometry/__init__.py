"""Tests of stage `geometry`."""
