"""What was measured, as tables for the terminal or in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from protocols import LABELS, Protocol
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

NAMES = {"hit": "HR", "mrr": "MRR", "ndcg": "NDCG", "precision": "Precision", "recall": "Recall"}
NOTHING = "-"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Args:
        title: over it.
        columns: their names; the first one is flush left, and so are those in `left`.
        rows: the cells.
        left: numbers of other columns that are flush left.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = ()

    def show(self, console: Console) -> None:
        """Print it to a terminal."""
        table = Table(title=self.title, box=SIMPLE, padding=(0, 1), title_justify="left")
        for number, column in enumerate(self.columns):
            flush = "left" if number == 0 or number in self.left else "right"
            table.add_column(column, justify=flush, no_wrap=number not in self.left, overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        """The same in Markdown."""
        rule = ["---" if number == 0 or number in self.left else "---:" for number in range(len(self.columns))]
        bold = [[f"**{cell[:-2]}**" if cell.endswith(" *") else cell for cell in row] for row in self.rows]
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, rule, *bold)]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"


def show(found: Sequence[Sheet], style: str, width: int) -> None:
    """Print tables in Markdown, or in columns: as wide as the terminal, else as `width`."""
    console = Console()
    console = console if console.is_terminal else Console(width=width)
    for sheet in found:
        if style == "markdown":
            print(sheet.markdown())
        else:
            sheet.show(console)


def sheets(result: Row, protocol: Protocol) -> list[Sheet]:
    """All tables of a result."""
    everything = [*result["rows"], *result["published"]]
    found = [
        _comparison(result["title"], everything, metrics, protocol.main_metric(metrics), costs=True)
        for metrics in protocol.metric_sets
    ]
    for name, table in result["groups"].items():
        metrics = protocol.metric_sets[0]
        users = table[0]["users"] if table else 0
        found.append(_comparison(f"{name} ({users:,})", table, metrics, protocol.main_metric(metrics), costs=False))
    found.append(_settings(result["rows"], protocol))
    found.append(_inside(result["recgan"]))
    return [sheet for sheet in found if sheet.rows]


def metric_name(metric: str) -> str:
    """As papers write it: "hit@10" is HR@10."""
    name, k = metric.split("@")
    return f"{NAMES.get(name, name)}@{k}"


def _comparison(title: str, table: Sequence[Row], metrics: Sequence[str], main: str, *, costs: bool) -> Sheet:
    best = {metric: max((_mean(row, metric) for row in table), default=0.0) for metric in metrics}
    columns = ["model", *map(metric_name, metrics), f"p, {metric_name(main)}"]
    columns += ["fit s", "tuning s", "MiB"] * costs
    cells = []
    for row in sorted(table, key=lambda row: -_mean(row, main)):
        values = [_cell(row, metric, best[metric]) for metric in metrics]
        cells.append([row["label"], *values, _p_value(row, main), *(_costs(row) if costs else ())])
    return Sheet(title, columns, cells)


def _mean(row: Row, metric: str) -> float:
    return float(row["metrics"].get(metric, {"mean": float("-inf")})["mean"])


def _cell(row: Row, metric: str, best: float) -> str:
    value = row["metrics"].get(metric)
    if value is None:
        return NOTHING
    shown = f"{value['mean']:.4f}"
    if value.get("deviation") is not None and row["kind"] == "recgan":
        shown += f" ±{value['deviation']:.4f}"
    return f"{shown} *" if value["mean"] == best else shown


def _p_value(row: Row, metric: str) -> str:
    p_value = row["metrics"].get(metric, {}).get("p_value")
    if p_value is None:
        return "best rival" if row["kind"] == "rival" else NOTHING
    return "< .001" if p_value < 0.001 else f"{p_value:.3f}"


def _costs(row: Row) -> list[str]:
    seconds = row.get("seconds")
    if seconds is None:
        return [NOTHING] * 3
    tuning = NOTHING if seconds["tuning"] is None else f"{seconds['tuning']:,.0f}"
    return [f"{seconds['fit']:,.1f}", tuning, f"{row['peak_mib']:,.0f}"]


def _settings(table: Sequence[Row], protocol: Protocol) -> Sheet:
    cells = []
    for row in table:
        for split, found in row["tuning"].items():
            name = f"{row['label']}, split {split}" if protocol.split_varies else row["label"]
            told = ", ".join(f"{key}={value}" for key, value in found["params"].items()) or "none"
            remarks = [f"at the edge: {', '.join(found['edges'])}"] * bool(found["edges"])
            remarks += [f"stopped by the budget of {found['budget']:.0f} s"] * (not found["finished"])
            cells.append([name, told, f"{found['value']:.4f}", str(found["tried"]), "; ".join(remarks) or NOTHING])
    columns = ["rival", "setting", f"validation {metric_name(protocol.tuning_metric)}", "tried", "remarks"]
    return Sheet("Settings of the rivals, chosen on the validation part", columns, cells, left=(1, 4))


def _inside(told: Sequence[Row]) -> Sheet:
    """The ablation and the weights of recgan's rows, means over the seeds."""
    models = list(dict.fromkeys(one["model"] for one in told if one["ablation"]))
    metric = metric_name(told[0]["config"]["metric"]) if told else ""
    parts = list(told[0]["ablation"]) if models else []
    cells = []
    for model in models:
        own = [one for one in told if one["model"] == model]
        values = [f"{np.mean([one['ablation'][part] for one in own]):.4f}" for part in parts]
        cells.append([LABELS.get(model, model), *values, _weights(own), _reached(own)])
    columns = ["row", *parts, "weights", "s to the best rival's value"]
    return Sheet(f"Inside recgan: {metric} on its own validation users", columns, cells, left=(len(parts) + 1,))


def _weights(own: Sequence[Row]) -> str:
    names = [name for name in own[0]["weights"] if name != "unknown"]
    means = {name: float(np.mean([one["weights"][name] for one in own])) for name in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in means.items() if value)


def _reached(own: Sequence[Row]) -> str:
    seconds = [one["reached_best_rival"]["seconds"] for one in own if one["reached_best_rival"]]
    return f"{np.mean(seconds):.0f}" if len(seconds) == len(own) else NOTHING
