"""The results of ``benchmarks/gpu.py`` as Markdown, beside their aims."""

from __future__ import annotations

AIM_SCENE = "1 M, 986 x 728"
LARGE_SCENE = "3 M, 1600 x 1064"


def find(summary: dict, part: str, scene: str, code: str) -> dict | None:
    """Return the record whose code begins so, or None."""
    for record in summary["records"]:
        if (record["part"], record["scene"]) == (part, scene) and record["code"].startswith(code):
            return record
    return None


def aims(summary: dict) -> list[tuple[str, float | None, str, bool | None]]:
    """Return what was aimed at: name, value, aim, and whether it was met (None: not measured)."""

    def ratio(
        over: dict | None, under: dict | None, key: str = "ms", factor: float = 1.0
    ) -> float | None:
        if over is None or under is None or not under[key] or over[key] is None:
            return None
        return factor * over[key] / under[key]

    codes = [
        find(summary, "iteration", AIM_SCENE, f"ours, gradiseg, {channels}")
        for channels in ("split", "padded")
    ]
    measured = [record for record in codes if record is not None]
    ours = min(measured, key=lambda record: record["ms"], default=None)
    colour = find(summary, "iteration", AIM_SCENE, "colour alone")
    naive = find(summary, "identity head", "986 x 728", "naive")
    head = find(summary, "identity head", "986 x 728", "ours")
    la_knn = find(summary, "LA-KNN, all", AIM_SCENE, "ours")
    large = find(summary, "iteration", LARGE_SCENE, "ours, gradiseg, split")
    large_mb = large and large.get("total_mb")
    rows = [
        ("iteration over colour alone, 1 M", ratio(ours, colour), "<= 1.3", 1.3, False),
        ("naive head's time over ours", ratio(naive, head), ">= 10", 10.0, True),
        ("naive head's memory over ours", ratio(naive, head, "peak_mb"), ">= 20", 20.0, True),
        ("LA-KNN, 1 M, 1000 samples, ms", la_knn and la_knn["ms"], "<= 2", 2.0, False),
        (f"memory of {LARGE_SCENE}, GB", large_mb and large_mb / 1e3, "<= 24", 24.0, False),
    ]
    return [
        (name, value, aim, None if value is None else (value >= bound) == at_least)
        for name, value, aim, bound, at_least in rows
    ]


def markdown(summary: dict) -> str:
    """Return the results as a document."""
    about = summary["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    rates = summary["rates"]
    lines = [
        "# GPU core",
        "",
        f"`{summary['command']}`, {summary.get('seconds', 0):.0f} s. {about['device']}, CUDA "
        f"{about['cuda']}, {versions}. Copy {rates['bytes_per_s'] / 1e9:.0f} GB/s, float32 "
        f"product {rates['flop_per_s'] / 1e12:.2f} TFLOP/s, both measured in this run.",
        "",
        "| aim | measured | aimed at | met |",
        "| --- | --- | --- | --- |",
    ]
    for name, value, aim, met in aims(summary):
        shown = "not measured" if value is None else f"{value:.2f}"
        lines.append(
            f"| {name} | {shown} | {aim} | {'' if met is None else (met and 'yes') or 'no'} |"
        )
    lines += [
        "",
        "Limit: bytes over the copy's rate or operations over the product's, whichever is longer.",
        "",
        "| part | scene | code | ms | best | peak MB | limit ms | limit / ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in summary["records"]:
        peak = "" if r["peak_mb"] is None else f"{r['peak_mb']:.0f}"
        limit = "" if r["limit_ms"] is None else f"{r['limit_ms']:.3f}"
        share = "" if r["limit_ms"] is None else f"{r['limit_ms'] / r['ms']:.0%}"
        lines.append(
            f"| {r['part']} | {r['scene']} | {r['code']} | {r['ms']:.3f} | {r['best_ms']:.3f} | "
            f"{peak} | {limit} | {share} |"
        )
    notes = dict.fromkeys((r["part"], r["note"]) for r in summary["records"] if r["note"])
    lines += ["", *(f"- **{part}**: {note}." for part, note in notes)]
    for name, error in summary["failed"].items():
        lines.append(f"- **failed**, {name}: {error}")
    if summary["skipped"]:
        lines.append(f"- **not started within the time**: {', '.join(summary['skipped'])}")
    return "\n".join(lines) + "\n"
