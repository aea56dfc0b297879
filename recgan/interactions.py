"""Interactions: who met what, how much and when."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from recgan.errors import ConfigError, DataError
from recgan.schema import EVENT, ITEM, RATING, TIMESTAMP, USER, WEIGHT, Problems, order_column, require_columns
from recgan.tables import INTERACTION_COLUMNS, Source, decoded, load_table, plain_ids, plain_numbers

DUPLICATES = ("last", "sum", "error")
YEAR_9999 = 253_402_300_799
"""Seconds from 1970 to its end."""
LARGEST = 2.0**62
"""Weights and sums of them beyond are refused, before whole numbers overflow."""
DATES = 19_000_101, 21_001_231
"""Numbers that may be dates such as 20260131, which are no seconds."""


def read_interactions(
    source: Source,
    columns: Mapping[str, str] | None = None,
    min_rating: float | None = None,
    min_user_items: int = 1,
    duplicates: str | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    max_dislike_rating: float | None = None,
) -> pd.DataFrame:
    """Read and check a table of interactions.

    Well-known spellings of the columns (userId, movieId, ts, ...) are accepted where exactly one fits. Integer and
    float timestamps are seconds since 1970; dates, times and ISO 8601 text become such seconds, UTC where they name no
    time zone. Repeated pairs are merged first, then come `min_rating` and `min_user_items`.

    A weight says how much an event counts; training chooses on validation how far it heeds weights. Events of weight 0
    or less are dislikes: no reason to list anything, themselves never listed to that user, no part of a truth.

    Args:
        source: a frame of pandas, polars, Arrow or SciPy (`recgan.foreign` tells how; never written to), or the path of
            a CSV or TSV file (also .gz), a Parquet file or a folder of Parquet files. An id column of a CSV is int64
            where every value survives the round trip, else text.
        columns: names in the table to canonical names, such as `{"uid": "user_id"}`.
        min_rating: rows with a lower rating are dropped.
        min_user_items: users with fewer rows left are dropped.
        duplicates: what a repeated (user, item) pair becomes: "last" keeps its latest row by timestamp, else by
            position, else by row order; "sum" keeps that row and adds up rating or weight (without either column a
            weight counts the rows); "error" refuses. None: "sum" with `weights`, else "last".
        weights: weight of every kind of event, such as `{"view": 1, "cart": 3, "buy": 5, "dislike": -10}`; the column
            `event` (well-known spellings too) becomes a column `weight`.
        max_dislike_rating: rows with this rating or a lower one are kept as dislikes: the column `rating` becomes a
            column `weight`, 1 or -1.

    Returns:
        One row a pair, in the order of the table: user_id, item_id (integers or text, in the caller's dtype), rating or
        weight, timestamp (seconds, int64 or float64) and position where given, then the other columns as they are.

    Raises:
        DataError: all that is wrong with the table in one report, or that a filter leaves nothing.
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> clicks = pd.DataFrame({"userId": [7, 7, 8], "item": ["a", "a", "b"], "ts": [20, 10, 30]})
        >>> read_interactions(clicks)
           user_id item_id  timestamp
        0        7       a         20
        1        8       b         30
    """
    duplicates = duplicates or ("last" if weights is None else "sum")
    _check_arguments(min_rating, max_dislike_rating, min_user_items, duplicates)
    wanted = INTERACTION_COLUMNS if weights is None else (*INTERACTION_COLUMNS, EVENT)
    frame, problems = load_table(source, columns, wanted, "interactions")
    for name, value in (("min_rating", min_rating), ("max_dislike_rating", max_dislike_rating)):
        if value is not None and RATING not in frame.columns:
            problems.add(f"{name} needs a column 'rating'")
    if weights is not None:
        frame = _weighed(frame, weights, problems)
    frame = checked(frame, problems)
    frame = _merged(frame, duplicates, problems.table)
    frame = _rated(frame, min_rating, max_dislike_rating, problems.table)
    frame = _with_enough_items(frame, min_user_items, problems.table)
    return frame.reset_index(drop=True)


def pair_numbers(frame: pd.DataFrame) -> np.ndarray:
    """One number for every distinct (user, item) pair, (rows,) int64."""
    users, _ = pd.factorize(frame[USER])
    items, distinct = pd.factorize(frame[ITEM])
    return users.astype(np.int64) * len(distinct) + items


def by_taste(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that tell what a user likes, and the dislikes: rows of weight 0 or less, where there are weights.

    Example:
        >>> liked, disliked = by_taste(pd.DataFrame({"user_id": [1, 1], "item_id": [2, 3], "weight": [1.0, -1.0]}))
        >>> liked["item_id"].tolist(), disliked["item_id"].tolist()
        ([2], [3])
    """
    if WEIGHT not in frame.columns:
        return frame, frame.iloc[:0]
    likes = frame[WEIGHT].to_numpy() > 0
    return frame[likes], frame[~likes]


def _weighed(frame: pd.DataFrame, weights: Mapping[str, float], problems: Problems) -> pd.DataFrame:
    """The table with the weights of its events in the place of their names."""
    if EVENT not in frame.columns:
        problems.add("weights needs a column 'event'")
        return frame
    events = frame[EVENT]
    if pd.api.types.is_integer_dtype(events) and all(isinstance(name, str) for name in weights):
        events = events.astype(str)  # what names an event on a command line is text
    found = events.map(dict(weights))
    unknown = found.isna().to_numpy()
    if unknown.any():
        names = ", ".join(sorted({repr(one)[:40] for one in frame[EVENT][unknown]})[:5])
        problems.add(f"column 'event' holds {names}, which weights= does not name", np.flatnonzero(unknown))
        return frame
    if WEIGHT in frame.columns:
        problems.add("column 'weight' is there already: leave out weights=, or drop it")
        return frame
    return frame.drop(columns=EVENT).assign(**{WEIGHT: found.astype(np.float64)})


def _rated(frame: pd.DataFrame, least: float | None, most: float | None, table: str) -> pd.DataFrame:
    """The rows that are rated at least so high, and as dislikes those that are rated at most so high."""
    if least is None and most is None:
        return frame
    ratings = frame[RATING]
    disliked = np.zeros(len(frame), bool) if most is None else (ratings <= most).to_numpy()
    liked = ~disliked if least is None else (ratings >= least).to_numpy()
    if not liked.any():
        raise DataError(f"{table}: min_rating={least} leaves no row" + " that is liked" * bool(disliked.any()))
    kept = liked | disliked
    if most is None:
        return frame[kept]
    weight = np.where(disliked, -1.0, 1.0)[kept]
    return frame[kept].rename(columns={RATING: WEIGHT}).assign(**{WEIGHT: weight})


def _check_arguments(min_rating: float | None, most: float | None, min_user_items: int, duplicates: str) -> None:
    if duplicates not in DUPLICATES:
        raise ConfigError(f"duplicates must be one of {', '.join(map(repr, DUPLICATES))}, found {duplicates!r}")
    if isinstance(min_user_items, bool) or not isinstance(min_user_items, int | np.integer) or min_user_items < 1:
        raise ConfigError(f"min_user_items must be an integer of 1 or more, found {min_user_items!r}")
    for name, rating in (("min_rating", min_rating), ("max_dislike_rating", most)):
        if rating is not None and (isinstance(rating, bool | str) or not np.isfinite(rating)):
            raise ConfigError(f"{name} must be a finite number or None, found {rating!r}")
    if min_rating is not None and most is not None and most >= min_rating:
        raise ConfigError(f"max_dislike_rating must lie below min_rating={min_rating}, found {most}")


def checked(frame: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The frame with sound ids, numbers and times in seconds, canonical columns first.

    Raises:
        DataError: with everything that is wrong, noted before or here.
    """
    require_columns(frame, (USER, ITEM), problems)
    if RATING in frame.columns and WEIGHT in frame.columns:
        problems.add("columns 'rating' and 'weight' are both given: drop or rename one of them")
    first = [name for name in INTERACTION_COLUMNS if name in frame.columns]
    checked = {name: _checked_column(frame[name], problems) for name in first}
    problems.raise_if_any()
    others = {name: frame[name] for name in frame.columns if name not in checked}
    return pd.DataFrame(checked | others)


def _checked_column(values: pd.Series, problems: Problems) -> pd.Series:
    if values.name in (USER, ITEM):
        return plain_ids(values, problems)
    if values.name == TIMESTAMP:
        return plain_times(values, problems)
    return _within_reach(plain_numbers(values, problems), problems)


def _within_reach(numbers: pd.Series, problems: Problems) -> pd.Series:
    """A column of weights, ratings or positions, none of which is too large to be multiplied."""
    if numbers.dtype.kind in "iuf":
        sizes = np.abs(numbers.to_numpy(np.float64))
        beyond = np.isfinite(sizes) & (sizes > LARGEST)
        if beyond.any():
            first = numbers.to_numpy()[beyond][0]
            problems.add(f"column {numbers.name!r} holds {first}, beyond 2^62; scale it down", np.flatnonzero(beyond))
    return numbers


def plain_times(values: pd.Series, problems: Problems) -> pd.Series:
    """The checked column of times in seconds since 1970, (rows,); dates and ISO 8601 text are converted."""
    values = decoded(values)
    if isinstance(values.dtype, pd.ArrowDtype) and pd.api.types.is_string_dtype(values.dtype):
        values = values.astype(object)
    kind = pd.api.types.infer_dtype(values, skipna=True)
    is_text = kind == "string" and pd.to_numeric(values.dropna().head(100), errors="coerce").isna().all()
    if not is_text and kind not in ("datetime", "datetime64", "date"):
        return _within_the_calendar(plain_numbers(values, problems), problems)
    times = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601" if is_text else None)
    missing = values.isna().to_numpy()
    wrong = times.isna().to_numpy() & ~missing
    if wrong.any():
        first = str(values.to_numpy()[wrong][0])[:40]
        problems.add(f"column {values.name!r} holds {first!r}, which is no ISO 8601 time", np.flatnonzero(wrong))
    if missing.any():
        problems.add(f"column {values.name!r} has missing times", np.flatnonzero(missing))
    if wrong.any() or missing.any():
        return values
    micros = times.dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
    whole = not (micros % 1_000_000).any()
    return pd.Series(micros // 1_000_000 if whole else micros / 1e6, name=values.name)


def _within_the_calendar(seconds: pd.Series, problems: Problems) -> pd.Series:
    if seconds.dtype.kind in "iuf":
        beyond = np.abs(seconds.to_numpy(np.float64)) > YEAR_9999
        if beyond.any():
            advice = "numbers are seconds since 1970; divide milliseconds by 1000, or name the column position"
            first = seconds.to_numpy()[beyond][0]
            problems.add(
                f"column {seconds.name!r} holds {first}, beyond the year 9999: {advice}", np.flatnonzero(beyond)
            )
        elif _like_dates(seconds.head(100)):
            first = str(int(seconds.iloc[0]))
            advice = f"write {first[:4]}-{first[4:6]}-{first[6:]}, or name the column position"
            problems.add(f"column {seconds.name!r} holds {first}, a date where seconds belong: {advice}")
    return seconds


def _like_dates(numbers: pd.Series) -> bool:
    """Whether all of some numbers are days of the calendar, such as 20260131."""
    if not len(numbers) or not numbers.between(*DATES).all() or (numbers % 1).any():
        return False
    return bool(pd.to_datetime(numbers.astype(np.int64).astype(str), format="%Y%m%d", errors="coerce").notna().all())


def _merged(frame: pd.DataFrame, duplicates: str, table: str) -> pd.DataFrame:
    pairs = pair_numbers(frame)
    if duplicates == "sum":
        frame = _summed(frame, pairs)
    repeated = pd.Series(pairs).duplicated(keep="last").to_numpy(copy=True)
    if not repeated.any():
        return frame
    if duplicates == "error":
        problems = Problems(table)
        rows = np.flatnonzero(pd.Series(pairs).duplicated())
        problems.add(f"{len(rows)} repeated (user, item) pairs: use duplicates='last' or 'sum', or drop them", rows)
        problems.raise_if_any()
    if (time := order_column(frame)) is not None:
        order = np.argsort(frame[time].to_numpy(), kind="stable")
        repeated[order] = pd.Series(pairs[order]).duplicated(keep="last")
    return frame[~repeated]


def _summed(frame: pd.DataFrame, pairs: np.ndarray) -> pd.DataFrame:
    name = RATING if RATING in frame.columns else WEIGHT
    values = frame[name] if name in frame.columns else pd.Series(np.ones(len(frame), np.int64))
    values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    sums = values.groupby(pairs, sort=False).transform("sum")
    whole = values.dtype.kind == "i"
    rough = values.astype(np.float64).groupby(pairs, sort=False).transform("sum") if whole else sums
    if not (np.abs(rough) <= LARGEST).all():
        raise DataError(f"column {name!r}: sums of repeated pairs are beyond every number; scale it down")
    names = dict.fromkeys((USER, ITEM, name, *frame.columns))
    return frame.assign(**{name: sums})[list(names)]


def _with_enough_items(frame: pd.DataFrame, at_least: int, table: str) -> pd.DataFrame:
    if at_least == 1:
        return frame
    users, _ = pd.factorize(frame[USER])
    frame = frame[np.bincount(users)[users] >= at_least]
    if frame.empty:
        raise DataError(f"{table}: min_user_items={at_least} leaves no user")
    return frame
