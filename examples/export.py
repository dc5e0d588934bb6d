"""Hand a trained scene to other programs: one object, all objects, labels, a table.

python examples/export.py results/demo/gradiseg/seed0 exported
"""

import sys
from pathlib import Path

import gradiseg_core

scene = gradiseg_core.load(sys.argv[1])
out = Path(sys.argv[2])

# The object of most Gaussians, for Niantic's tools; a name such as "white teapot" does as well.
largest = max((row for row in scene.objects if row.id), key=lambda row: row.count)
scene.export(out / "object.spz", objects=largest.name or largest.id)

# Every object as a file, for viewers of 3D Gaussian Splatting.
for path in scene.export(out / "objects", "ply", split=True):
    print(path)

# The whole scene with the ID of every Gaussian: splat-transform cuts objects out of it.
scene.export(out / "scene.ply", object_id=True)

# Labels for programs that know points and no Gaussians, and where objects are.
scene.export(out / "labels.ply", "labels")
scene.export(out / "objects.json")
