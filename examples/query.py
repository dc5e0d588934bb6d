"""Which objects are there, and which one is that: `python examples/query.py RUN [VIEW X Y]`.

RUN is `results/<scene>/<variant>/seed<n>`; X and Y are a pixel of a photograph.
"""

import sys

import gradiseg_core


def main(run: str, view: str | None = None, x: str = "0", y: str = "0") -> None:
    """Print the table of objects, and what lies at a pixel."""
    scene = gradiseg_core.load(run)
    for row in scene.objects:
        length, width, height = row.box.size
        print(
            f"{row.id:4d}  {row.name or '-':24s} {row.count:7d} Gaussians, "
            f"{length:.2f} x {width:.2f} x {height:.2f}, probability {row.probability:.2f}"
        )
    if view is not None:
        clicked = scene.select(click={"view": view, "at": (float(x), float(y))})
        found = scene.ids[clicked.rows[0]]
        print(f"at ({x}, {y}) of {view}: ID {found}, {scene.names_of_ids.get(int(found), '-')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
