"""Tabletop scenes made of procedural shapes and textures, rendered by Mitsuba 3.

Units are metres; z points up; the table's top is z = 0 and its middle the origin.
"""
