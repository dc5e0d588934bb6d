"""Configuration: one frozen model a stage, assembled in :mod:`gradiseg_core.config.root`."""
