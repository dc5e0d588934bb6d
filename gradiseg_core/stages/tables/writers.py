"""Markdown, LaTeX, CSV and terminal text of a table; numbers come rounded from the model."""

from __future__ import annotations

import csv
import io

from gradiseg_core.stages.tables.model import NOT_AVAILABLE, Cell, Column, Row, Table

#: Written to a CSV for a missing number, so that programs read it as missing. Tables for reading
#: have a dash instead, and an empty cell if nothing was published.
MISSING = "n/a"


def markdown(table: Table) -> str:
    """Return a section with a pipe table, its caption and notes; the best of ours is bold."""
    head = ["Method", *(column.header for column in table.columns)]
    lines = [
        f"## {table.title}",
        "",
        "| " + " | ".join(head) + " |",
        "| :-- |" + " --: |" * len(table.columns),
    ]
    for row in table.rows:
        texts = [
            f"**{text}**" if table.is_best(row, index) else text
            for index, text in enumerate(_texts(row, table, " ± "))
        ]
        texts = [
            text + "".join(f" [{number}]" for number in table.marks(cell))
            for text, cell in zip(texts, row.cells, strict=True)
        ]
        label = row.label + (" *(published)*" if row.published else "")
        label += "".join(f" [{number}]" for number in row.notes)
        lines.append("| " + " | ".join([label, *texts]) + " |")
    lines += ["", table.caption, ""]
    lines += [f"{number}. {note}" for number, note in enumerate(table.footnotes, start=1)]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: Table) -> str:
    """Return a ``table`` environment; needs the package booktabs."""
    columns = "l" + "r" * len(table.columns)
    head = " & ".join(["Method", *(_tex(column.header) for column in table.columns)])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
    ]
    previous = None
    for row in table.rows:
        if previous is not None and _kind(row) != _kind(previous):
            lines.append(r"\midrule")
        texts = [
            rf"\textbf{{{text}}}" if table.is_best(row, index) else text
            for index, text in enumerate(_texts(row, table, r" $\pm$ "))
        ]
        texts = [
            text.replace(NOT_AVAILABLE, "--") + _superscript(table.marks(cell))
            for text, cell in zip(texts, row.cells, strict=True)
        ]
        label = _tex(row.label) + (r" \emph{(published)}" if row.published else "")
        label += _superscript(row.notes)
        lines.append(" & ".join([label, *texts]) + r" \\")
        previous = row
    notes = "".join(
        rf" \textsuperscript{{{number}}}{_tex(note)}"
        for number, note in enumerate(table.footnotes, start=1)
    )
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{_tex(table.title)}. {_tex(table.caption)}{notes}}}",
        rf"\label{{tab:{table.name}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def csv_rows(tables: list[Table]) -> str:
    """Return one line for each number of all tables."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["table", "method", "published", "metric", "mean", "deviation", "seeds", "source", "notes"]
    )
    for table in tables:
        for row in table.rows:
            of_row = [table.notes[number - 1] for number in row.notes]
            for column, cell in zip(table.columns, row.cells, strict=True):
                mean, deviation = cell.texts(column, signed=row.difference)
                notes = " ".join([*of_row, *cell.remarks])
                instead = MISSING if cell.instead == NOT_AVAILABLE else cell.instead
                seeds = "" if row.published else cell.count
                writer.writerow(
                    [
                        table.name,
                        row.label,
                        _kind(row),
                        column.header,
                        mean or (MISSING if row.published else instead),
                        deviation,
                        seeds,
                        row.source,
                        notes,
                    ]
                )
    return file.getvalue()


def text(table: Table) -> str:
    """Return the table for a terminal, columns aligned."""
    head = ["", *(column.header for column in table.columns)]
    body = [
        [
            row.label + (" (published)" if row.published else ""),
            *(
                shown + "".join(f" [{number}]" for number in table.marks(cell))
                for shown, cell in zip(_texts(row, table, " ± "), row.cells, strict=True)
            ),
        ]
        for row in table.rows
    ]
    widths = [max(len(line[index]) for line in [head, *body]) for index in range(len(head))]
    lines = [table.title, "─" * (sum(widths) + 2 * (len(widths) - 1))]
    for line in [head, *body]:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(3, lines[1])
    lines += _wrap(table.caption)
    remarked = {number for row in table.rows for cell in row.cells for number in table.marks(cell)}
    for number in sorted(remarked):
        lines += _wrap(f"[{number}] {table.footnotes[number - 1]}")
    return "\n".join(lines) + "\n"


def _texts(row: Row, table: Table, between: str) -> list[str]:
    return [
        _cell_text(cell, column, row, between)
        for cell, column in zip(row.cells, table.columns, strict=True)
    ]


def _kind(row: Row) -> str:
    """Return the value of the CSV's column ``published`` for a row."""
    return "difference" if row.difference else "yes" if row.published else "no"


def _cell_text(cell: Cell, column: Column, row: Row, between: str) -> str:
    mean, deviation = cell.texts(column, signed=row.difference)
    if not mean:
        return "" if row.published else cell.instead
    return f"{mean}{between}{deviation}" if deviation else mean


def _superscript(numbers: tuple[int, ...]) -> str:
    return r"\textsuperscript{" + ",".join(map(str, numbers)) + "}" if numbers else ""


def _tex(value: str) -> str:
    special = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", ">": "$>$", "<": "$<$"}
    escaped = "".join(special.get(character, character) for character in value)
    return escaped.replace("±", r"$\pm$").replace(NOT_AVAILABLE, "--")


def _wrap(value: str) -> list[str]:
    import textwrap

    return textwrap.wrap(value, 96)
