"""What stands on the page, section by section, as plain values for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recgan import metrics
from recgan.generative import GAP, NEAREST
from recgan.recommender import Recommender
from recgan.report import figures, reading, tail, words
from recgan.report.atlas import Atlas, draw
from recgan.report.comparing import MEAN, METRIC, MODEL
from recgan.report.reading import Catalogue
from recgan.report.theme import HUES, picture, plain
from recgan.schema import ITEM, RANK, SCORE, USER

if TYPE_CHECKING:
    from markupsafe import Markup

N = 10
"""Length of the lists."""

LEAST = 3
"""Lengths of the list from which a metric becomes a curve."""

MOST_USERS = 2000
"""Most users whose lists are counted."""

Context = dict[str, Any]


def curves(info: Mapping[str, Any]) -> Context:
    """Training curves, and what came of the game."""
    ranking, game = info["ranking"], info["game"]
    metric = str(info["config"]["metric"])
    context: Context = {"metric_figure": None, "loss_figure": None, "game": words.game(info)}
    if ranking["curve"]:
        best = int(ranking["best_epoch"])
        context["best"] = next((point for point in ranking["curve"] if int(point["epoch"]) == best), None)
        context["metric_figure"] = picture("metric", lambda f: figures.metric_curve(f, ranking["curve"], best, metric))
    if ranking["curve"] or game["curve"]:
        context["loss_figure"] = picture("losses", lambda f: figures.loss_curves(f, ranking["curve"], game["curve"]))
    return context


def realism(info: Mapping[str, Any]) -> Context | None:
    """What was measured during the game, and pictures of generated items among real ones; None without a game."""
    game = info["game"]
    points = [{"epoch": 0.0, **game.get("start", {})}, *game["curve"]]
    points = [point for point in points if "energy_distance" in point]
    pictures = game.get("pictures", [])
    if len(points) < 2 or len(pictures) < 2:
        return None
    real, *rest = (np.array(one["points"], np.float64).reshape(-1, 2) for one in pictures)
    names = [f"epoch {one['epoch']}" if one["epoch"] else "before the game" for one in pictures[1:]]
    made = dict(zip(names, rest, strict=True))
    return {
        "first": points[0],
        "last": points[-1],
        "curves": picture("fidelity", lambda f: figures.fidelity_curves(f, points)),
        "clouds": picture("clouds", lambda f: figures.clouds(f, real, made), height=1.9 * -(-len(made) // 3)),
    }


def ablation(info: Mapping[str, Any]) -> Context:
    """Validation metric of every part alone and together."""
    found, metric = info["ablation"], str(info["config"]["metric"])
    values = {name: float(found[name]) for name in sorted(found, key=words.place)}
    bars = {words.PARTS.get(name, name): value for name, value in values.items()}
    linear = values.get("linear", 0.0)
    rows: list[Context] = [{"name": name, "value": value, "change": None} for name, value in bars.items()]
    for row in rows:
        if linear and row["name"] != words.PARTS["linear"]:
            row["change"] = row["value"] / linear - 1.0
    figure = picture("ablation", lambda f: figures.bars(f, bars, metric), height=0.6 + 0.42 * len(values))
    return {"rows": rows, "metric": metric, "figure": figure, "verdict": words.verdict(values)}


def comparison(table: pd.DataFrame) -> list[Context]:
    """Figure and rows of every metric of a comparison; of one that becomes a curve only at ten places or the most."""
    blocks: list[Context] = []
    shown = table[table[METRIC].isin(_in_full(table))]
    for place, (metric, part) in enumerate(shown.groupby(METRIC, sort=False)):
        rows = [{str(name): value for name, value in row.items()} for row in part.to_dict("records")]
        for row in rows:
            row["model"] = plain(row["model"], 28)
        top = max(row["mean"] for row in rows)
        name = plain(metric, 28)
        figure = _interval_figure(f"comparison{place}", rows, name)
        blocks.append({"metric": name, "rows": rows, "top": top, "figure": figure})
    return blocks


def by_length(table: pd.DataFrame) -> list[Context]:
    """Pictures of the metrics that were measured at several lengths of the list."""
    found: list[Context] = []
    for name, part in _lengths_of(table).assign(model=table[MODEL], mean=table[MEAN]).groupby("name", sort=False):
        lines = {str(model): rows.sort_values("k") for model, rows in part.groupby("model", sort=False)}
        if part["k"].nunique() >= LEAST:
            points = {model: (rows["k"].tolist(), rows["mean"].tolist()) for model, rows in lines.items()}
            shown = f"{plain(name, 24)}@k"
            found.append({"metric": shown, "figure": _length_figure(f"lengths{len(found)}", points, shown)})
    return found


def _in_full(table: pd.DataFrame) -> set[str]:
    full = set(table[METRIC])
    for _, part in _lengths_of(table).groupby("name"):
        lengths = part["k"].unique()
        if len(lengths) >= LEAST:
            kept = N if N in lengths else lengths.max()
            full -= set(table.loc[part.index[part["k"] != kept], METRIC])
    return full


def _lengths_of(table: pd.DataFrame) -> pd.DataFrame:
    """Name and length k of the metrics that have a length."""
    parts = table[METRIC].str.extract(r"^(?P<name>.+)@(?P<k>[1-9][0-9]{0,5})$").dropna()
    return parts.astype({"k": "int64"})


def _length_figure(place: str, lines: dict[str, Any], metric: str) -> Markup:
    return picture(place, lambda f: figures.by_length(f, lines, metric))


def _interval_figure(name: str, rows: Sequence[Mapping[str, Any]], metric: str) -> Markup:
    return picture(name, lambda f: figures.intervals(f, rows, metric), height=0.8 + 0.4 * len(rows))


def exposure(model: Recommender, catalogue: Catalogue) -> Context:
    """How the lists spread over the catalogue, against the interactions."""
    counts, order = catalogue.counts, catalogue.by_popularity
    chosen = np.sort(np.random.default_rng(0).permutation(len(model.users))[:MOST_USERS])
    users, past = model.users.iloc[chosen], model._histories.take(chosen)
    frame = model.recommend_batch(users, N)
    lists = np.full((len(users), N), -1, np.int64)
    rows = pd.Index(users).get_indexer(pd.Index(frame[USER]))
    lists[rows, frame[RANK].to_numpy() - 1] = catalogue.numbers(frame[ITEM])
    shown = np.bincount(lists[lists >= 0], minlength=len(counts))
    rare = metrics.long_tail(lists, counts, N)
    return {
        "n_users": len(users),
        "n": N,
        "n_items": len(counts),
        "n_shown": int((shown > 0).sum()),
        "n_taken": int((counts > 0).sum()),
        "effective": metrics.effective_items(lists, N),
        "effective_taken": _effective(counts),
        "tail": float(rare[~np.isnan(rare)].mean()) if (~np.isnan(rare)).any() else None,
        "tail_taken": _tail(counts),
        "personal": None if len(users) < 2 else metrics.personalisation(lists, N),
        "bias": tail.popularity_bias(lists, past.rows, past.items, counts),
        "figure": picture("exposure", lambda f: figures.exposure(f, counts[order], shown[order])),
    }


def _tail(counts: np.ndarray) -> float | None:
    """Share of the interactions that the long tail has; None without any."""
    rare = metrics.long_tail(np.arange(len(counts))[:, None], counts, 1)
    return float(np.average(rare, weights=counts)) if counts.any() else None


def _effective(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def chart(found: Atlas | None) -> Context | None:
    """The map for wide and for narrow screens, with what its colours mean."""
    if found is None:
        return None
    return {
        "wide": picture("wide", lambda f: draw(f, found, 18), width=13.0, height=8.2),
        "narrow": picture("narrow", lambda f: draw(f, found, 7), width=5.2, height=5.6),
        "key": list(zip(found.categories, HUES, strict=False)),
        "n_items": len(found.items),
        "explained": found.explained.tolist(),
        "n_draws": found.draws.shape[1],
        "spread": found.spread,
        "n_users": len(found.users),
    }


def examples(model: Recommender, catalogue: Catalogue, users: list[Any]) -> list[Context]:
    """History, recommendations and adventurous recommendations of some users."""
    lists = {explore: model.recommend_batch(users, N, explore=explore) for explore in (0.0, 1.0)} if users else {}
    cards = []
    for user in users:
        past = reading.history(model, user)
        calm, bold = ([] if not len(f) else _rows(catalogue, f[f[USER] == user]) for f in lists.values())
        known = {row["name"] for row in calm}
        history = [item(catalogue, number) for number in past[:N]]
        for row in bold:
            row["new"] = row["name"] not in known
        cards.append({"user": plain(user, 40), "length": len(past), "history": history, "calm": calm, "bold": bold})
    return cards


def ideal(model: Recommender, catalogue: Catalogue, users: list[Any], n: int = 2) -> Context:
    """What the generator would make for some users, and the item nearest to it."""
    rows: list[Context] = []
    accuracy: Context = {}
    for user in users:
        found = model.ideal_items(user, n)
        accuracy = found.attrs["accuracy"]
        near = catalogue.numbers(found[NEAREST])
        for number, row in zip(near, found.to_dict("records"), strict=True):
            told = {"user": plain(user, 40), "told": words.wanted(row, accuracy), "gap": row[GAP]}
            rows.append({**told, "nearest": catalogue.names[number]})
    return {"rows": rows, "accuracy": accuracy}


def item(catalogue: Catalogue, number: int) -> Context:
    """Name and first categories of an item."""
    return {"name": catalogue.names[number], "categories": catalogue.categories[number][:4]}


def _rows(catalogue: Catalogue, frame: pd.DataFrame) -> list[Context]:
    numbers = catalogue.numbers(frame[ITEM]).tolist()
    scores = frame[SCORE].tolist()
    return [{**item(catalogue, number), "score": score} for number, score in zip(numbers, scores, strict=True)]


def similar(model: Recommender, catalogue: Catalogue, most: int = 6, n: int = 6) -> list[Context]:
    """Items like some popular ones; a category opens the section once, as long as there are others."""
    order = catalogue.by_popularity.tolist()
    first = {number: (catalogue.categories[number] or [""])[0] for number in order[:200]}
    fresh = [number for place, number in enumerate(first) if first[number] not in list(first.values())[:place]]
    chosen = sorted([*fresh, *(number for number in first if number not in fresh)][:most], key=order.index)
    return [
        {**item(catalogue, number), "rows": _rows(catalogue, model.similar_items(catalogue.ids[number], n))}
        for number in chosen
    ]
