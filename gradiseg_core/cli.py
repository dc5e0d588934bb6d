"""The command `gradiseg`: runs the workflow, and does what none of its stages does.

    gradiseg run            everything from a folder of photographs or a video
    gradiseg doctor         whether training can run on a GPU here
    gradiseg show           the tables of a results folder
    gradiseg status         what is done, running, failed, stopped and missing
    gradiseg paper-tables   the paper's tables of what has run so far
    gradiseg view           a trained scene in the browser
    gradiseg select         which Gaussians are meant, shown and kept in a file
    gradiseg edit           an edited copy of a trained scene
    gradiseg export         a trained scene, or objects of it, as a file of another program
    gradiseg import-grouping  a scene that Gaussian Grouping trained

`python -m gradiseg_core` is the same where the package is not installed. One more command is one
function here and its entry in :data:`COMMANDS`: it declares its arguments and returns the function
that runs. Its name and docstring are the command's name and help. Imports happen when it runs, so
that `gradiseg --help` is quick.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gradiseg_core.arguments import capabilities, npz, one_of, parsed, positive
from gradiseg_core.errors import GradisegError
from gradiseg_core.version import __version__

Run = Callable[[argparse.Namespace], int]
Command = Callable[[argparse.ArgumentParser], Run]


def run(parser: argparse.ArgumentParser) -> Run:
    """Make everything from a folder of photographs or a video.

    Writes a short configuration beside results/, says what will run and how long it will take, runs
    it, and says where to look. The same command goes on after a stop. It is plain Snakemake, whose
    command is printed; arguments after -- are Snakemake's.
    """
    parser.add_argument(
        "path",
        type=Path,
        nargs="+",
        help="a folder of photographs (or all files in it), a video, or a configuration (my.yaml)",
    )
    parser.add_argument(
        "--quality",
        type=one_of("draft", "standard", "paper"),
        metavar="{draft,standard,paper}",
        help="how much is trained; default: standard, or what the configuration says",
    )
    parser.add_argument("--cores", type=positive, help="default: all")
    parser.add_argument(
        "--plan", "--dry-run", action="store_true", help="say what would run; write nothing"
    )
    parser.add_argument(
        "--replace", action="store_true", help="replace results of a larger quality, too"
    )

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.planning.launch import run
        from gradiseg_core.planning.own_scene import one_path

        return run(
            one_path(options.path),
            quality=options.quality,
            cores=options.cores,
            plan_only=options.plan,
            replace=options.replace,
            extra=options.snakemake,
        )

    return run


def doctor(parser: argparse.ArgumentParser) -> Run:
    """Check whether this machine can train on a GPU, and compile what that needs.

    Driver, toolkit, compiler, PyTorch and gsplat must fit together. Every line says what was found;
    one that begins with FAIL also says what to do. The exit status is 1 if training on a GPU would
    fail.
    """
    parser.add_argument("--no-compile", action="store_true", help="report only")
    parser.add_argument(
        "--arch",
        type=capabilities,
        metavar="X.Y",
        help="compile for this compute capability, without a GPU: 9.0 (several: 8.0,9.0)",
    )

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.compute.doctor import examine

        return examine(options.arch, compiles=not options.no_compile)

    return run


def show(parser: argparse.ArgumentParser) -> Run:
    """Print the tables of all finished runs, and where their pictures are."""
    parser.add_argument(
        "results",
        nargs="?",
        default=Path("results"),
        type=Path,
        help="folder of results, of a scene or of one run, or a copy; default: results",
    )

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.stages.tables.show import describe

        print(describe(options.results))
        return 0

    return run


def status(parser: argparse.ArgumentParser) -> Run:
    """Print what is done, running, failed, stopped and missing, and how to go on.

    Also while a run goes on. Of a failed job it gives the log file and the last error in it.
    Missing is what the configuration asks for and what has not begun. Jobs that would run again
    because something changed count as done; `snakemake --dry-run` lists them.
    """
    parser.add_argument(
        "results",
        nargs="?",
        type=Path,
        help="folder of results, of a scene, or a configuration; default: the configuration's, or "
        "results",
    )
    parser.add_argument(
        "--configfile",
        nargs="+",
        default=[],
        type=Path,
        help="as for snakemake: its scenes alone; default: all that is known of that folder",
    )
    parser.add_argument("--json", action="store_true", help="a list of jobs as JSON")

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.planning.showing import show_status

        show_status(options.results, options.configfile, as_json=options.json)
        return 0

    return run


def paper_tables(parser: argparse.ArgumentParser) -> Run:
    """Print the paper's tables of what has run so far.

    They take the runs that a configuration names and that are finished, whether the others are
    still running, failed, or will never run.
    """
    parser.add_argument(
        "configfile", nargs="+", type=Path, help="as for snakemake --configfile: config/paper.yaml"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write the files there instead of printing"
    )

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.planning.place import Place
        from gradiseg_core.stages.tables.paper.so_far import tables_so_far

        files = [path.absolute() for path in options.configfile]
        out = None if options.out is None else options.out.absolute()
        with Place.where_ran(files[0]).entered():
            text = tables_so_far(files, out)
        print(text if options.out is None else f"written to {options.out}")
        return 0

    return run


def export(parser: argparse.ArgumentParser) -> Run:
    """Write a trained scene, or objects of it, as a file of another program.

    Formats, and which program reads which: docs/exporting.md. Axes and units are those of the
    COLMAP model.
    """
    parser.add_argument(
        "folder", type=Path, help="results/<scene>/<variant>/seed<n>, or an edited scene"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write; a folder where it is several files"
    )
    parser.add_argument(
        "--format",
        help="ply, compressed_ply, spz, glb, labels, gaussian_grouping, objects, nerfstudio, "
        "colmap; default: by the end of --out",
    )
    parser.add_argument(
        "--objects",
        nargs="+",
        default=(),
        metavar="WHAT",
        help="names, IDs, or what edits take: '{of: mug, largest_part: true}'; default: all",
    )
    parser.add_argument("--split", action="store_true", help="one file for each object")
    parser.add_argument("--object-id", action="store_true", help="ply, glb: IDs of Gaussians")
    parser.add_argument("--axes", default="colmap", help="colmap, or y_up")

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.editing.scene import load
        from gradiseg_core.editing.written import read_what

        objects = [read_what(text) for text in options.objects]
        written = load(options.folder, device="cpu").export(
            options.out,
            options.format,
            objects=objects,
            split=options.split,
            object_id=options.object_id,
            axes=options.axes,
        )
        for path in written:
            print(path)
        return 0

    return run


def select(parser: argparse.ArgumentParser) -> Run:
    """Show which Gaussians of a trained scene are meant, and keep them in a file.

    What is meant is written as in edits (docs/editing.md), which can name the selection:
    gradiseg select results/demo/gradiseg/seed0 '{of: white teapot, grow: 0.01}' --out demo.npz
    --name handle
    """
    parser.add_argument(
        "folder", type=Path, help="results/<scene>/<variant>/seed<n>, or an edited scene"
    )
    parser.add_argument("what", help="what is meant, in YAML; or a file (.npz) to show")
    parser.add_argument(
        "--out", type=npz, metavar="FILE", help="file (.npz) to write it to, or to add it to"
    )
    parser.add_argument("--name", default="selection", help="its name there; default: selection")

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.editing.scene import load
        from gradiseg_core.editing.selecting import described
        from gradiseg_core.editing.written import read_selections

        scene = load(options.folder, device="cpu")
        for name, selection in read_selections(scene, options.what, options.name).items():
            print(described(scene, name, selection))
            if options.out is not None:
                held = scene.load_selections(options.out) if options.out.exists() else {}
                scene.save_selections(options.out, {**held, name: selection})
                print(f"in edits: {{selection: {{file: {options.out}, name: {name}}}}}")
        return 0

    return run


def edit(parser: argparse.ArgumentParser) -> Run:
    """Edit a trained scene: remove, recolour, move, swap, insert objects.

    Operations are those of section `edits` of the configuration (docs/editing.md):
    gradiseg edit results/demo/gradiseg/seed0 '[{remove: white teapot}]' --out without_teapot
    """
    parser.add_argument(
        "folder", type=Path, help="results/<scene>/<variant>/seed<n>, or an edited scene"
    )
    parser.add_argument("operations", help="a list of operations in YAML, or a file that holds one")
    parser.add_argument("--out", type=Path, required=True, help="folder of the edited scene")
    parser.add_argument("--no-video", action="store_true", help="write no turntable.mp4")

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.editing.written import read_edit
        from gradiseg_core.stages.edits.stage import edit_run

        steps = read_edit(options.operations)
        edited = edit_run(
            run_dir=options.folder,
            out_dir=options.out,
            edit=steps,
            video=not options.no_video,
        )
        for record in edited.history[-len(steps) :]:  # those before are of the folder's own edit
            print(f"{record['operation']}: {record['selected']} Gaussians selected, "
                  f"{record['after']} in the scene")  # fmt: skip
        print(options.out)
        return 0

    return run


def view(parser: argparse.ArgumentParser) -> Run:
    """Look at a trained scene in the browser, ask for objects, try edits and save them.

    It serves the page view.html of the run to this machine alone, at an address that nobody else
    knows, and ends when the page is closed.
    """
    parser.add_argument("folder", type=Path, help="results/<scene>/<variant>/seed<n>")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("--keep", action="store_true", help="go on when the page is closed")
    parser.add_argument(
        "--edits",
        type=Path,
        default=Path("edits.yaml"),
        metavar="FILE",
        help="configuration that edits are saved to; default: edits.yaml",
    )
    parser.add_argument(
        "--configfile",
        nargs="+",
        default=[],
        type=Path,
        help="as for snakemake; its sections grounding and view hold for questions and the page",
    )

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.serving import serve

        serve(
            options.folder,
            port=options.port,
            opens=not options.no_browser,
            keep=options.keep,
            edits_file=options.edits,
            configfiles=options.configfile,
        )
        return 0

    return run


def import_grouping(parser: argparse.ArgumentParser) -> Run:
    """Take a scene that Gaussian Grouping trained, as a trained scene.

    Its objects can then be looked at, edited and exported like those of a run.
    """
    parser.add_argument("model", type=Path, help="folder that its train.py wrote (-m)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder to write; results/<scene>/<variant>/seed<n> to have cameras and names",
    )

    def run(options: argparse.Namespace) -> int:
        from gradiseg_core.exporting.grouping import import_grouping

        print(import_grouping(options.model, options.out))
        return 0

    return run


#: Every command, in the order of `gradiseg --help`.
COMMANDS: tuple[Command, ...] = (
    run, doctor, show, status, paper_tables, view, select, edit, export, import_grouping,
)  # fmt: skip


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command, and those of its commands by name."""
    parser = argparse.ArgumentParser(
        prog="gradiseg",
        description="From photographs to 3D Gaussians that know which object they belong to.",
    )
    parser.add_argument("--version", action="version", version=f"gradiseg {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    own = {}
    for command in COMMANDS:
        text = (command.__doc__ or "").strip()
        title = text.partition("\n")[0].rstrip(".")
        name = command.__name__.replace("_", "-")
        below = commands.add_parser(
            name,
            help=title[0].lower() + title[1:],
            description=re.sub(r"\n +", "\n", text),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        below.set_defaults(run=command(below))
        own[name] = below
    return parser, own


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    Errors that the user can act on are a message without a traceback.

    Args:
        arguments: Those of the command line by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    after: list[str] = []
    if given[:1] == ["run"] and "--" in given:
        place = given.index("--")
        given, after = given[:place], given[place + 1 :]
    try:
        options = parsed(*_parsers(), given)
        options.snakemake = after
        status: int = options.run(options)
        sys.stdout.flush()
    except GradisegError as error:
        print(f"gradiseg: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `gradiseg show | head`; Python flushes once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        OSError
    ) as error:  # of the user's folders: no right to write, a file in the way, disk full
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"gradiseg: {where}{error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gradiseg: stopped", file=sys.stderr)
        return 130  # as shells report it
    return status
