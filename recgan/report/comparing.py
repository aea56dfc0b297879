"""The table of a comparison: what the report shows of models that were judged on the same truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from recgan import metrics as formulas
from recgan.errors import ConfigError
from recgan.evaluation import evaluate
from recgan.schema import require_columns
from recgan.tables import Source, load_table, plain_numbers

MODEL, METRIC, MEAN, LOW, HIGH, P_VALUE = "model", "metric", "mean", "low", "high", "p_value"
COLUMNS = (MODEL, METRIC, MEAN, LOW, HIGH, P_VALUE)


def comparison_table(
    lists: Mapping[str, Source],
    truth: Source,
    metrics: str | Iterable[str] = ("ndcg@10", "recall@20"),
    *,
    n_resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge several models' lists on the same truth, the first model being the one in question.

    Args:
        lists: name of the model to its recommendations, as for `recgan.evaluate`.
        truth: user_id, item_id: the relevant items.
        metrics: ranking metrics with their k.
        n_resamples: resamples of the bootstrap and of the sign-flip test, at least 1.
        seed: of the resampling.

    Returns:
        One row a metric and model, in the order given: model, metric, mean, low, high (95 % percentile bootstrap
        interval of the mean over users), p_value (two-sided paired sign-flip test against the best of the models behind
        the first; NaN for that rival itself).

    Raises:
        ConfigError: for an unknown metric, one that no single user has, or no model.
        DataError: when a table cannot be used.

    Example:
        >>> truth = pd.DataFrame({"user_id": [7, 8], "item_id": ["b", "c"]})
        >>> lists = pd.DataFrame({"user_id": [7, 8], "item_id": ["b", "a"], "rank": [1, 1]})
        >>> comparison_table({"ours": lists, "theirs": lists}, truth, "hit@1")
            model metric  mean  low  high  p_value
        0    ours  hit@1   0.5  0.0   1.0      1.0
        1  theirs  hit@1   0.5  0.0   1.0      NaN
    """
    wanted = [metrics] if isinstance(metrics, str) else list(metrics)
    if not lists or n_resamples < 1 or seed < 0:
        raise ConfigError(f"comparison_table: {len(lists)} models, n_resamples={n_resamples}, seed={seed}")
    frames = {
        name: pd.DataFrame(evaluate(recommendations, truth, wanted, per_user=True))
        for name, recommendations in lists.items()
    }
    return judged(frames, wanted, list(frames)[1:], n_resamples, seed)


def judged(
    values: Mapping[str, pd.DataFrame],
    metrics: Iterable[str],
    rivals: Sequence[str],
    n_resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """The table of a comparison from every model's metrics a user.

    Args:
        values: name of the model to a frame with a row a user, the same users in the same order, a column a metric.
        metrics: columns that are judged.
        rivals: models of which the best in a metric is what the others are tested against; may be none.
        n_resamples: resamples of the bootstrap and of the sign-flip test.
        seed: of the resampling.

    Returns:
        As `comparison_table`.
    """
    rows = []
    for metric in metrics:
        columns = {name: frame[metric].to_numpy(np.float64) for name, frame in values.items()}
        best = max(rivals, key=lambda name: columns[name].mean()) if rivals else None
        for name, own in columns.items():
            low, high = formulas.mean_interval(own, n_resamples, seed)
            p_value = np.nan
            if best is not None and name != best:
                p_value = formulas.sign_flip_p_value(own - columns[best], n_resamples, seed)
            rows.append((name, metric, float(own.mean()), low, high, p_value))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_comparison(source: Source) -> pd.DataFrame:
    """Read and check the table of a comparison.

    Args:
        source: model, metric, mean, low, high and, where it exists, p_value (NaN where none was made); a frame or path.

    Returns:
        A new frame with all six columns.

    Raises:
        DataError: all that is wrong with the table in one report.
    """
    frame, problems = load_table(source, None, COLUMNS, "comparison")
    if require_columns(frame, COLUMNS[:-1], problems):
        numbers = {name: plain_numbers(frame[name], problems) for name in (MEAN, LOW, HIGH)}
        p_values = pd.to_numeric(frame.get(P_VALUE, pd.Series(np.nan, frame.index)), errors="coerce")
        words = {name: frame[name].astype(str) for name in (MODEL, METRIC)}
        repeated = pd.DataFrame(words).duplicated().to_numpy()
        if repeated.any():
            problems.add("a model has a metric more than once", np.flatnonzero(repeated))
        frame = pd.DataFrame({**words, **numbers, P_VALUE: p_values})
    problems.raise_if_any()
    return frame
