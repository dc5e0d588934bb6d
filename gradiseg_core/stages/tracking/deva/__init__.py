"""DEVA's driver, its package and its detections (backend `deva`)."""
