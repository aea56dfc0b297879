"""The main job on MovieLens-100K: train, compare with the tuned classics, recommend, report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import recgan
from recgan.progress import Progress
from recgan.report.comparing import judged
from recgan.schema import CATEGORIES, ITEM, RANK, SCORE, TITLE, USER, YEAR

METRICS = ("ndcg@10", "recall@20", "coverage@10")
LENGTHS = ("ndcg@1", "ndcg@3", "ndcg@5", "ndcg@20")
"""Further metrics, for the curve in the report."""
OURS = "recgan"
OURS_PLAIN = "recgan, ids only"


def run(out: str | Path = "demo", *, quick: bool = False, seeds: int = 3, min_rating: float = 4.0) -> dict[str, Any]:
    """Do the main job from nothing and leave everything in a folder.

    Args:
        out: folder for the model, the recommendations, the comparison and the report.
        quick: train and compare once, with few epochs and few rival settings: a test that it runs, no measurement.
        seeds: splits that the comparison is repeated on.
        min_rating: ratings from here on count as liked.

    Returns:
        What was measured: the table's rows, the p-value, the best classic and the seconds of each stage; also written
        to `out/comparison.json`.

    Raises:
        DataError: when the data set cannot be fetched.
        ConfigError: when the extras `bench` and `report` are not installed.
    """
    folder, console = Path(out), Console()
    folder.mkdir(parents=True, exist_ok=True)
    data = recgan.load_dataset("ml-100k")
    liked = recgan.read_interactions(data.interactions, min_rating=min_rating)
    _profile(console, liked, min_rating)
    values, notes = _comparison(data, liked, 1 if quick else seeds, quick)
    table, result = _judged(values)
    result |= {"seeds": 1 if quick else seeds, "rows": json.loads(table.to_json(orient="records")), **notes}
    _show_comparison(console, table, result)
    started = time.perf_counter()
    model = recgan.train(liked, data.items, users=data.users, config=_config(quick, progress=True))
    result["seconds"]["final training"] = round(time.perf_counter() - started, 1)
    model.save(folder / "model")
    lists = _titled(model, model.recommend_batch(n=10))
    lists.to_parquet(folder / "recommendations.parquet", index=False)
    _show_user(console, model, liked, int(lists[USER].iloc[0]))
    from recgan.report import save_map, write_report

    write_report(model, folder / "report.html", comparison=table, title="recgan on MovieLens-100K")
    save_map(model, folder / "map.png")
    (folder / "comparison.json").write_text(json.dumps(result, indent=1, allow_nan=False), encoding="utf-8")
    console.print(f"\nWritten to {folder}/: model/, recommendations.parquet, comparison.json, map.png and report.html")
    return result


def _config(quick: bool, progress: bool = False) -> recgan.Config:
    fast = {"epochs": 2, "game_steps": 20} if quick else {}
    return recgan.Config(**fast, progress=progress)


def _profile(console: Console, liked: pd.DataFrame, min_rating: float) -> None:
    users, items = liked[USER].nunique(), liked[ITEM].nunique()
    console.print(
        f"MovieLens-100K, ratings from {min_rating:g}: {users} users, {items} films, {len(liked)} likes "
        f"({len(liked) / users / items:.1%} of all pairs)"
    )


def _rivals(quick: bool) -> dict[str, type]:
    names = ("Popular", "ItemKNN", "EASE") if quick else ("Popular", "ItemKNN", "EASE", "IALS", "BPR")
    return {name: getattr(recgan.baselines, name) for name in names}


def _comparison(
    data: recgan.Dataset, liked: pd.DataFrame, seeds: int, quick: bool
) -> tuple[dict[str, list[pd.DataFrame]], dict[str, Any]]:
    """Values a user of every model on every split, the chosen settings and the seconds."""
    values: dict[str, list[pd.DataFrame]] = {}
    settings: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {}
    rivals = _rivals(quick)
    with Progress() as progress:
        tick = progress.steps("comparing models", seeds * (len(rivals) + 2))
        for seed in range(seeds):
            split = recgan.split_ratio(liked, seed=seed)
            for name, model, spent in _models(data, split, seed, quick, rivals):
                lists = model.recommend_batch(histories=_known(split.test.history, model), n=20)
                values.setdefault(name, []).append(_values(lists, split))
                settings.setdefault(name, []).append(_setting(model))
                seconds.setdefault(name, []).append(spent)
                tick(1)
    spent_on = {name: round(float(np.mean(spent)), 1) for name, spent in seconds.items()}
    return values, {"settings": settings, "seconds": spent_on}


def _known(histories: pd.DataFrame, model: Any) -> pd.DataFrame:
    """Rows of items that the model can know; a rare film may stand in the hidden part alone."""
    return histories[histories[ITEM].isin(model.items)]


def _models(
    data: recgan.Dataset, split: recgan.Split, seed: int, quick: bool, rivals: dict[str, type]
) -> Iterator[tuple[str, Any, float]]:
    for name, tables in ((OURS, {"items": data.items, "users": data.users}), (OURS_PLAIN, {})):
        started = time.perf_counter()
        model = recgan.train(split.train, **tables, validation=split.validation, config=_config(quick), seed=seed)
        yield name, model, time.perf_counter() - started
    for name, kind in rivals.items():
        started = time.perf_counter()
        tuned = kind.tune(split.train, split.validation)  # type: ignore[attr-defined]
        yield name, tuned, time.perf_counter() - started


def _values(lists: pd.DataFrame, split: recgan.Split) -> pd.DataFrame:
    frame = pd.DataFrame(recgan.evaluate(lists, split.test.truth, METRICS[:2] + LENGTHS, per_user=True)).set_index(USER)
    whole = recgan.evaluate(lists, split.test.truth, METRICS[2:], train=split.train)
    frame.attrs = {"coverage@10": dict(whole)["coverage@10"]}
    return frame


def _setting(model: Any) -> str:
    return str(getattr(model, "params", "defaults"))


def _judged(values: dict[str, list[pd.DataFrame]]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Mean, interval and p-value of every model; a user counts once, with the mean over the splits."""
    means = {name: pd.concat(frames).groupby(level=0).mean() for name, frames in values.items()}
    classics = [name for name in means if name not in (OURS, OURS_PLAIN)]
    table = judged(means, METRICS[:2] + LENGTHS, classics)
    table["deviation"] = [
        float(np.std([float(one[metric].mean()) for one in values[name]]))
        for name, metric in zip(table["model"], table["metric"], strict=True)
    ]
    table["coverage"] = [float(np.mean([one.attrs["coverage@10"] for one in values[name]])) for name in table["model"]]
    ours = table[(table["model"] == OURS) & (table["metric"] == METRICS[0])].iloc[0]
    best = max(classics, key=lambda name: float(means[name][METRICS[0]].mean()))
    return table, {"best_classic": best, "p_value": float(ours["p_value"])}


def _show_comparison(console: Console, table: pd.DataFrame, result: dict[str, Any]) -> None:
    title = f"Hidden likes of {result['seeds']} random splits; the classics are tuned, recgan is not"
    shown = Table(title=title, box=SIMPLE, padding=(0, 1))
    for column in ("model", "NDCG@10", "95 % interval", "Recall@20", "coverage", "seconds"):
        shown.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    recalls = table[table["metric"] == METRICS[1]].set_index("model")["mean"].to_dict()
    rows = table[table["metric"] == METRICS[0]].sort_values("mean", ascending=False)
    for row in rows.to_dict("records"):
        name = row["model"]
        shown.add_row(
            name,
            f"{row['mean']:.4f}",
            f"{row['low']:.3f}-{row['high']:.3f}",
            f"{recalls[name]:.4f}",
            f"{row['coverage']:.0%}",
            f"{result['seconds'][name]:.1f}",
        )
    console.print(shown)
    console.print(
        f"recgan against the best classic, {result['best_classic']}: "
        f"p = {result['p_value']:.4f} (paired sign flips, NDCG@10)"
    )


def _titled(model: recgan.Recommender, lists: pd.DataFrame) -> pd.DataFrame:
    columns = [column for column in (ITEM, TITLE, YEAR, CATEGORIES) if column in model.item_table.columns]
    return lists.merge(model.item_table[columns], on=ITEM, how="left")


def _show_user(console: Console, model: recgan.Recommender, liked: pd.DataFrame, user: int) -> None:
    history = _titled(model, liked[liked[USER] == user].sort_values("timestamp").tail(5)[[ITEM]])
    console.print(f"\nUser {user} liked last: " + "; ".join(map(_named, history.to_dict("records"))))
    shown = Table(title=f"Recommended to user {user}", box=SIMPLE, padding=(0, 1))
    for column in ("rank", "film", "categories", "score"):
        shown.add_column(column, justify="right" if column in ("rank", "score") else "left")
    for row in _titled(model, model.recommend(user, 10)).to_dict("records"):
        kinds = str(row[CATEGORIES]).replace("|", ", ")
        shown.add_row(str(row[RANK]), _named(row), kinds, f"{row[SCORE]:.2f}")
    console.print(shown)


def _named(row: dict[Any, Any]) -> str:
    year = row.get(YEAR)
    return f"{row[TITLE]} ({int(year)})" if year and not pd.isna(year) else str(row[TITLE])
