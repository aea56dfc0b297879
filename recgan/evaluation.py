"""Offline evaluation: tables of recommendations against a table of truth, with metrics by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from recgan import metrics as formulas
from recgan.errors import ConfigError, DataError
from recgan.foreign import as_frame
from recgan.interactions import by_taste
from recgan.items import read_items
from recgan.metrics import RANKING, Bools, Floats, Ints
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM, RANK, SCORE, USER, WEIGHT, Problems, require_columns
from recgan.tables import Source, load_table, plain_ids, plain_numbers

RECS, TRUTH, TRAIN, ITEMS, HISTORY = "recommendations", "truth", "train", "items", "history"


def evaluate(
    recommendations: Source,
    truth: Source,
    metrics: str | Iterable[str] = ("ndcg@10", "recall@20"),
    *,
    per_user: bool = False,
    train: Source | None = None,
    items: Source | None = None,
    history: Source | None = None,
) -> dict[str, float] | pd.DataFrame:
    """Score recommendations against the truth: each metric per user first, then the mean over users.

    Ranking metrics (hit, map, mrr, ndcg, precision, recall, recall_capped) average over the users of the truth: a user
    without a list scores 0, a list of a user without truth does not count. List metrics (calibration, coverage,
    diversity, effective_items, long_tail, novelty, personalisation) look at all lists, and leave a user out for whom
    they are not defined. `recgan.metrics` holds every formula with its unit and source.

    Args:
        recommendations: user_id, item_id and rank (only its order counts) or, without rank, score (highest first).
        truth: user_id, item_id: the relevant items; of a table with weights, those of a weight above 0.
        metrics: names with their k, such as "ndcg@10".
        per_user: one row per user instead of means.
        train: user_id, item_id; for novelty and long_tail, and for coverage where items is not given.
        items: item_id, for coverage, and categories (joined by |), for diversity and calibration.
        history: user_id, item_id: what the users had before, for calibration.

    Returns:
        Metric to float, NaN where it is defined for no user. With per_user a frame: user_id, sorted, and a float64
        column per metric, NaN where it is not defined; users with a list only are there if a list metric is.

    Raises:
        ConfigError: when a metric is unknown, or a table that it needs is missing.
        DataError: when a table cannot be used: no rows, ids of different types, repeated pairs, missing columns.

    Example:
        >>> recommendations = pd.DataFrame({"user_id": [7, 7], "item_id": ["a", "b"], "rank": [1, 2]})
        >>> truth = pd.DataFrame({"user_id": [7, 8], "item_id": ["b", "c"]})
        >>> evaluate(recommendations, truth, ["hit@2", "mrr@2"])
        {'hit@2': 0.5, 'mrr@2': 0.25}
    """
    wanted = _parse(metrics)
    whole = [metric for metric, (name, _) in wanted.items() if name in _WHOLE]
    if per_user and whole:
        raise ConfigError(f"per_user: {', '.join(whole)} describes all lists together, not one user: leave it out")
    given = {RECS: recommendations, TRUTH: truth, TRAIN: train, ITEMS: items, HISTORY: history}
    board = _board(wanted, {name: table for name, table in given.items() if table is not None})
    values = {metric: board.value(name, k) for metric, (name, k) in wanted.items()}
    if per_user:
        return pd.DataFrame({USER: board.user_ids, **values})
    return {metric: _mean(value) for metric, value in values.items()}


@dataclass(frozen=True)
class Comparison:
    """How much better the recommendations a are than b, on the same users.

    Example:
        >>> print(Comparison("ndcg@10", 0.0123, 0.004, 0.0206, 0.0042, 1000))
        ndcg@10: a - b = +0.0123 (95 % interval +0.0040 to +0.0206, p = 0.0042, 1,000 users)
    """

    metric: str
    difference: float  # mean over the users of a's value minus b's, in the metric's unit
    low: float  # of the 95 % interval of the difference
    high: float
    p_value: float  # two-sided, of the hypothesis that a and b are interchangeable
    n_users: int  # users of the truth

    def __str__(self) -> str:
        found = f"{self.metric}: a - b = {self.difference:+.4f} (95 % interval {self.low:+.4f} to {self.high:+.4f}"
        return f"{found}, p = {self.p_value:.4f}, {self.n_users:,} user{'s' * (self.n_users != 1)})"


def compare(
    recs_a: Source, recs_b: Source, truth: Source, metric: str = "ndcg@10", *, n_resamples: int = 9999, seed: int = 0
) -> Comparison:
    """Compare two tables of recommendations on the same truth, paired by user.

    The interval is the percentile bootstrap of the mean difference (Efron and Tibshirani 1993), the p-value that of the
    paired sign-flip permutation test (Smucker et al. 2007), exact where all flips fit into n_resamples.

    Args:
        recs_a: user_id, item_id and rank or score, as for `evaluate`.
        recs_b: the same for the rival.
        truth: user_id, item_id: the relevant items.
        metric: a ranking metric with its k.
        n_resamples: resamples of the bootstrap and of the test, at least 1.
        seed: of the resampling, at least 0.

    Returns:
        A Comparison; the interval of a single user, or of equal differences, is one point.

    Raises:
        ConfigError: when metric is no ranking metric, or n_resamples or seed is out of range.
        DataError: when a table cannot be used.

    Example:
        >>> truth = pd.DataFrame({"user_id": [7, 8], "item_id": ["b", "c"]})
        >>> lists = pd.DataFrame({"user_id": [7, 8], "item_id": ["b", "a"], "score": [0.9, 0.8]})
        >>> compare(lists, lists, truth, "hit@1")
        Comparison(metric='hit@1', difference=0.0, low=0.0, high=0.0, p_value=1.0, n_users=2)
    """
    wanted = _parse([metric])
    ((name, k),) = wanted.values()
    if name not in RANKING:
        raise ConfigError(f"compare: {metric!r} is no ranking metric; the names are {', '.join(RANKING)}")
    for argument, number, least in (("n_resamples", n_resamples, 1), ("seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < least:
            raise ConfigError(f"compare: {argument} must be a whole number of at least {least}, not {number!r}")
    truth = as_frame(truth)  # what can be read once is read once
    a, b = (
        np.asarray(_board(wanted, {RECS: recs, TRUTH: truth}, label).value(name, k))
        for label, recs in (("recs_a", recs_a), ("recs_b", recs_b))
    )
    low, high = formulas.mean_interval(a - b, n_resamples, seed)
    p_value = formulas.sign_flip_p_value(a - b, n_resamples, seed)
    return Comparison(metric, float((a - b).mean()), low, high, p_value, len(a))


def _mean(value: Floats | float) -> float:
    values = np.atleast_1d(value)
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _parse(metrics: str | Iterable[str]) -> dict[str, tuple[str, int]]:
    """Metric strings to (name, k), each once."""
    wanted = {}
    if not isinstance(metrics, Iterable):
        raise ConfigError(f"metrics: names such as 'ndcg@10', not {metrics!r}")
    for text in [metrics] if isinstance(metrics, str) else metrics:
        match = re.fullmatch(r"([a-z_]+)@([1-9][0-9]*)", text) if isinstance(text, str) else None
        if match is None or match[1] not in {*RANKING, *_LISTS}:
            known = ", ".join(sorted([*RANKING, *_LISTS]))
            raise ConfigError(f"metrics: {text!r} is no name@k, such as 'ndcg@10', with k at least 1; names: {known}")
        wanted[text] = (match[1], int(match[2]))
    if not wanted:
        raise ConfigError("metrics: none given")
    return wanted


def _board(wanted: Mapping[str, tuple[str, int]], given: Mapping[str, Source], label: str = RECS) -> _Board:
    """Read the tables that the metrics need, and only those."""
    names, needed = {name for name, _ in wanted.values()}, {RECS, TRUTH}
    for metric, (name, _) in wanted.items():
        tables = _LISTS[name][0] if name in _LISTS else ()
        if name == "coverage" and ITEMS not in given:
            tables = (TRAIN,)
        missing = " and ".join(f"{table}=" for table in tables if table not in given)
        if missing:
            raise ConfigError(f"{metric} needs {missing}{' or items=' * (name == 'coverage')}")
        needed.update(tables)
    read = {name: _read(given[name], name, label) for name in sorted(needed)}
    if names & {"calibration", "diversity"} and CATEGORIES not in read[ITEMS]:
        raise DataError("items: column 'categories' missing; calibration and diversity need it")
    return _Board(read, max(k for _, k in wanted.values()), not names <= RANKING.keys(), label)


def _read(source: Source, name: str, label: str) -> pd.DataFrame:
    if name == ITEMS:
        return read_items(source).drop(columns=USER, errors="ignore")
    label, source = label if name == RECS else name, as_frame(source)
    if name == RECS and isinstance(source, pd.DataFrame) and source.empty:
        frame, problems = source, Problems(label)
    else:
        order = (RANK, SCORE) if name == RECS else (WEIGHT,)
        frame, problems = load_table(source, None, (USER, ITEM, *order), label)
    columns, checked = [USER, ITEM], {}
    if name == RECS:
        columns += [column for column in (RANK, SCORE) if column in frame][:1]
    if name == RECS and len(columns) == 2:
        problems.add("columns 'rank' and 'score' are both missing: a list needs one of them as its order")
    if name != RECS and WEIGHT in frame.columns:
        columns.append(WEIGHT)
    for column in columns if require_columns(frame, columns, problems) else []:
        check = plain_ids if column in (USER, ITEM) else plain_numbers
        checked[column] = check(frame[column], problems)
    problems.raise_if_any()
    table = pd.DataFrame(checked)
    liked = by_taste(table)[0] if name != RECS else table
    if liked.empty and not table.empty:
        raise DataError(f"{name}: no row has a weight above 0, so nothing is relevant")
    return liked


class _Board:
    """The tables in one number space: B users and N items, numbered in the order of their ids."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], depth: int, everyone: bool, label: str) -> None:
        self.tables = tables
        self.users, user_ids = _numbers(tables, USER, label)
        self.items, item_ids = _numbers(tables, ITEM, label)
        self.n_items = len(item_ids)
        self.pairs = {name: users * self.n_items + self.items[name] for name, users in self.users.items()}
        for name in (RECS, TRUTH):
            repeated = np.flatnonzero(pd.Series(self.pairs[name]).duplicated())
            _refuse(repeated, "repeated (user, item) pairs: drop them", label if name == RECS else name)
        n_relevant = np.bincount(self.users[TRUTH], minlength=len(user_ids))
        counted = n_relevant > 0
        if everyone:
            counted[self.users[RECS]] = True
        self.numbers, self.n_relevant = np.flatnonzero(counted), n_relevant[counted]
        self.row = np.where(counted, np.cumsum(counted) - 1, -1)
        ids = pd.Series(user_ids[counted])
        self.user_ids = ids if everyone else ids.astype(tables[TRUTH][USER].dtype)
        self.lists = self._ranked(depth, label)

    def _ranked(self, depth: int, label: str) -> Ints:
        """Item numbers by position, (B, K), -1 past a list's end."""
        table = self.tables[RECS]
        column = RANK if RANK in table else SCORE
        order_by = table[column].to_numpy(np.float64) * (1 if column == RANK else -1)
        rows = self.row[self.users[RECS]]
        order = np.lexsort((order_by, rows))
        order = order[rows[order] >= 0]
        rows, order_by = rows[order], order_by[order]
        if column == RANK:
            tied = (np.diff(rows) == 0) & (np.diff(order_by) == 0)
            _refuse(order[1:][tied], "rows whose rank another row of the user has too", label)
        places = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = places < depth
        lists = np.full((len(self.numbers), int(places[kept].max(initial=-1)) + 1), -1)
        lists[rows[kept], places[kept]] = self.items[RECS][order[kept]]
        return lists

    def value(self, name: str, k: int) -> Floats | float:
        """One metric: (B,) float64, NaN for users who do not count, or one number for all lists."""
        if name in _LISTS:
            return _LISTS[name][1](self, k)
        judged = self.n_relevant > 0
        values = np.full(len(judged), np.nan)
        values[judged] = RANKING[name](self.hits[judged], self.n_relevant[judged], k)
        return values

    @cached_property
    def hits(self) -> Bools:
        pairs = self.numbers[:, None] * self.n_items + self.lists  # (B, 1) + (B, K) -> (B, K)
        return np.isin(pairs, self.pairs[TRUTH]) & (self.lists >= 0)

    @cached_property
    def catalogue(self) -> Bools:
        return np.bincount(self.items[ITEMS if ITEMS in self.items else TRAIN], minlength=self.n_items) > 0

    @cached_property
    def popularity(self) -> Ints:
        return np.bincount(pd.unique(self.pairs[TRAIN]) % self.n_items, minlength=self.n_items)

    @cached_property
    def categories(self) -> Any:
        from scipy.sparse import csr_array

        lists = self.tables[ITEMS][CATEGORIES].str.split(CATEGORY_SEPARATOR, regex=False)
        names = lists.set_axis(self.items[ITEMS]).explode()
        names = names[names != ""]
        numbers, distinct = pd.factorize(names)
        flags = csr_array((np.ones(len(names)), (names.index, numbers)), shape=(self.n_items, len(distinct)))
        return flags.astype(np.bool_)  # a name given twice counts once

    @cached_property
    def profile(self) -> Any:
        pairs = pd.unique(self.pairs[HISTORY])
        rows, items = self.row[pairs // self.n_items], pairs % self.n_items
        return formulas.category_profile(rows[rows >= 0], items[rows >= 0], self.categories, len(self.numbers))


def _numbers(tables: Mapping[str, pd.DataFrame], column: str, label: str) -> tuple[dict[str, Ints], pd.Index]:
    """Ids of all tables to numbers 0.. in the order of the ids."""
    ids = {name: table[column] for name, table in tables.items() if column in table}
    kinds = {name: "integers" if pd.api.types.is_integer_dtype(values) else "text" for name, values in ids.items()}
    for name, kind in kinds.items():
        if kind != kinds[TRUTH] and len(ids[name]):
            who = label if name == RECS else name
            found = f"column {column!r} holds {kind}, but that of truth holds {kinds[TRUTH]}"
            raise DataError(f"{who}: {found}: no id would match; convert one of them, for example with .astype(str)")
    mixed = len({values.dtype for values in ids.values()}) > 1
    joined = pd.concat([values.astype(object) if mixed else values for values in ids.values()])
    numbers, distinct = pd.factorize(joined, sort=True)
    ends = np.cumsum([len(values) for values in ids.values()])
    return dict(zip(ids, np.split(numbers, ends[:-1]), strict=True)), distinct


def _refuse(rows: Ints, what: str, table: str) -> None:
    problems = Problems(table)
    if len(rows):
        problems.add(f"{len(rows)} {what}", np.sort(rows))
    problems.raise_if_any()


_WHOLE = ("coverage", "effective_items", "personalisation")
# List metrics: the tables that they need, and how they read the board.
_LISTS: dict[str, tuple[tuple[str, ...], Callable[[_Board, int], Floats | float]]] = {
    "calibration": ((ITEMS, HISTORY), lambda b, k: formulas.calibration(b.lists, b.profile, b.categories, k)),
    "coverage": ((ITEMS,), lambda b, k: formulas.coverage(b.lists, b.catalogue, k)),
    "diversity": ((ITEMS,), lambda b, k: formulas.diversity(b.lists, b.categories, k)),
    "effective_items": ((), lambda b, k: formulas.effective_items(b.lists, k)),
    "long_tail": ((TRAIN,), lambda b, k: formulas.long_tail(b.lists, b.popularity, k)),
    "novelty": ((TRAIN,), lambda b, k: formulas.novelty(b.lists, b.popularity, len(np.unique(b.users[TRAIN])), k)),
    "personalisation": ((), lambda b, k: formulas.personalisation(b.lists, k)),
}
