"""Results as Markdown and as a plot, for a terminal and for `docs/benchmarks.md`."""

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["budget_table", "write_docs"]

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PLOT = DOCS / "benchmarks.md", DOCS / "images" / "benchmarks.png"
MARKS = "<!-- results -->", "<!-- end of results -->"


def write_docs(results: Path) -> None:
    """Put table and plot of a results file into the docs; the text around them stays."""
    found = json.loads(results.read_text())
    draw(found["cases"], PLOT)
    before, _, rest = PAGE.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    PAGE.write_text(f"{before}{MARKS[0]}\n{to_markdown(found)}\n{MARKS[1]}{after}")


def to_markdown(found: dict[str, Any]) -> str:
    """Facts of the machine, budgets, and one table for each case."""
    facts = "\n".join(f"- {name}: {value}" for name, value in found["facts"].items())
    cases = "\n\n".join(_case_table(case) for case in found["cases"])
    return f"\n{facts}\n\n{budget_table(found['cases'])}\n\n## Every row\n\n{cases}\n"


def budget_table(cases: list[dict[str, Any]]) -> str:
    """Budgets and measurements."""
    lines = ["| job | budget | measured | met |", "|---|---|---|---|"]
    for case in cases:
        if case["budget"]:
            met = {True: "yes", False: "**no**", None: "not measured"}[case["budget"]["met"]]
            lines.append(f"| {case['title']} | {case['budget']['text']} | {_measured(case)} | {met} |")
    return "\n".join(lines)


def _measured(case: dict[str, Any]) -> str:
    """The result of ours in the unit of its budget."""
    ours, *others = case["results"]
    if not ours["values"]:
        return ours["failure"]
    parts = []
    if case["budget"]["max_value"] is not None:
        parts.append(f"{_spread(ours['values'])} {case['unit']}")
    if case["budget"]["max_excess"] is not None and others[0]["values"]:
        excess = median(ours["values"]) - median(others[0]["values"])
        parts.append(f"{_number(excess)} {case['unit']} more than {others[0]['way']}")
    compared = others[:1] if case["budget"]["min_speed"] is not None else []
    compared += [other for other in others if other["way"] in case["budget"]["also"]]
    parts += [f"{_spread(each['speeds'])} x as fast as {each['way']}" for each in compared if each["speeds"]]
    return "; ".join(parts)


def _case_table(case: dict[str, Any]) -> str:
    n_rounds = max(len(result["values"]) for result in case["results"])
    lines = [
        f"### {case['title']}",
        "",
        f"The best possible: {case['limit']}. {case['note']} In {n_rounds} rounds.".replace("  ", " "),
        "",
        f"| | {case['unit']} | CPU | relative speed of ours |",
        "|---|---|---|---|",
    ]
    for result in case["results"]:
        if result["values"]:
            cpu = f"{_number(median(result['cpu']))}" if result["cpu"] else ""
            speed = _spread(result["speeds"]) if result["speeds"] else ""
            lines.append(f"| {result['way']} | {_spread(result['values'])} | {cpu} | {speed} |")
        else:
            reason = result["failure"].replace("|", "/")
            lines.append(f"| {result['way']} | cannot: {reason} | | |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    """Median, and the least and the greatest."""
    low, high = _number(min(values)), _number(max(values))
    return f"{_number(median(values))} ({low}-{high})" if len(values) > 1 else _number(values[0])


def _number(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _kind(way: str) -> str:
    """The peer, or what else a way is."""
    if way.startswith(("camhd_access", "decode by")):
        return "ours, otherwise"
    if way.startswith(("bare", "lower", "the slice")):
        return "what bounds it"
    return re.split(r", | \(", way)[0]


def draw(cases: list[dict[str, Any]], path: Path) -> None:
    """How many times as fast ours is, for each way of each case, with the range of all rounds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = [case for case in cases if any(result["speeds"] for result in case["results"][1:])]
    names = list(dict.fromkeys(r["way"] for case in shown for r in case["results"] if r["speeds"]))
    kinds = {name: _kind(name) for name in names}
    marks = dict(zip(dict.fromkeys(kinds.values()), "osD^vP*Xp<>hd" * 2, strict=False))
    figure, axes = plt.subplots(figsize=(10, 0.42 * len(shown) + 1.4), layout="constrained")
    colors = {kind: f"C{i}" for i, kind in enumerate(marks)}
    for row, case in enumerate(reversed(shown)):
        for result in case["results"][1:]:
            if not result["speeds"]:
                continue
            kind, middle = kinds[result["way"]], median(result["speeds"])
            axes.hlines(row, min(result["speeds"]), max(result["speeds"]), color=colors[kind], linewidth=1)
            axes.plot(middle, row, marks[kind], color=colors[kind], label=kind, markersize=6, alpha=0.85)
    axes.axvline(1, color="0.3", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(shown)), [case["title"] for case in reversed(shown)], fontsize=8)
    axes.set_xlabel("times as fast (or as small) as the other: median, least to greatest", fontsize=9)
    axes.grid(axis="x", color="0.9")
    legend = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside upper center", ncols=5, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
