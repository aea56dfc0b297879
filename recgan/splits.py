"""Cut interactions into a part to learn from and parts to judge by.

Every part keeps the columns of the table and the order of its rows. The random splits do not depend on the order of the
rows; the splits by time depend on it only where times are equal (the later row counts as the later event).

What is disliked (weight 0 or less) is no part of a truth: shares and numbers are those of what is liked. Dislikes stay
with what is learned from; those that the splits by time would hold out are in no truth, but in the histories behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from recgan.errors import ConfigError, DataError
from recgan.foreign import as_frame
from recgan.interactions import pair_numbers, plain_times, read_interactions
from recgan.schema import ITEM, TIMESTAMP, USER, WEIGHT, Problems, check_ids, order_column, require_columns
from recgan.tables import Source, decoded, plain_numbers

MOST_HELD_OUT = 600
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Holdout:
    """Users to judge a model by.

    Args:
        history: interactions that the model is shown, one row each.
        truth: interactions that it has to find, one row each; its users may lack a history only in a split by time.
    """

    history: pd.DataFrame
    truth: pd.DataFrame

    @classmethod
    def checked(cls, validation: object) -> Holdout:
        """The same, where it is one.

        Raises:
            ConfigError: when it is something else, such as the whole split.
        """
        if not isinstance(validation, cls):
            told = f"validation: a Holdout, such as split.validation, not {type(validation).__name__}"
            raise ConfigError(told)
        return validation


@dataclass(frozen=True, eq=False)
class Split:
    """A part to learn from, one to choose settings by, and one to look at once."""

    train: pd.DataFrame
    validation: Holdout
    test: Holdout


def split_users(
    interactions: Source,
    n_test: int | None = None,
    n_validation: int | None = None,
    history: float = 0.8,
    seed: int = 0,
) -> Split:
    """Hold out whole users, whose items are divided at random: how well are people served that training never saw?

    Args:
        interactions: a frame with user_id, item_id (no repeated pair), or a path for `read_interactions`.
        n_test: number of test users; None: a tenth of all users, at least 1, at most 600.
        n_validation: number of validation users, likewise.
        history: share of a held-out user's items that is the history; one item at least lies on each side.
        seed: 0 or more; decides which users and which items.

    Returns:
        train without any row of a held-out user; users with fewer than two items are always in train.

    Raises:
        DataError: when the table is not usable or too few users have two items.
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": [1, 2, 1, 2, 1, 2]})
        >>> split = split_users(inter, n_test=1, n_validation=1)
        >>> len(split.train), len(split.test.history), len(split.test.truth)
        (2, 1, 1)
    """
    _check_share("history", history)
    rng = _random(seed)
    frame = _table(interactions)
    liked = _liked(frame)
    users, counts = _user_numbers(frame, liked)
    n_test, n_validation = _held_out_numbers(counts, n_test, n_validation)
    eligible = rng.permutation(np.flatnonzero(counts >= 2))
    part = np.zeros(len(counts), np.int8)
    part[eligible[:n_test]] = 2
    part[eligible[n_test : n_test + n_validation]] = 1
    kept = np.clip(_rounded(history * counts), 1, counts - 1)[users]
    shown = ~liked | (_random_ranks(frame, users, counts, liked, rng) < kept)
    held = part[users]
    validation = Holdout(_rows(frame, (held == 1) & shown), _rows(frame, (held == 1) & ~shown))
    test = Holdout(_rows(frame, (held == 2) & shown), _rows(frame, (held == 2) & ~shown))
    return Split(_rows(frame, held == 0), validation, test)


def split_leave_last(interactions: Source) -> Split:
    """Hold out every user's last item for the test and the one before for validation: what comes next?

    Args:
        interactions: a frame with user_id, item_id (no repeated pair) and timestamp or position, or a path for
            `read_interactions`. Equal times: the later row counts as the later event.

    Returns:
        train without those two items; users with fewer than three items are in train entirely and nowhere else.
        validation.history is their train part, test.history everything but the last item.

    Raises:
        DataError: when the table is not usable, has no order, or no user has three items.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [10, 30, 20], "timestamp": [1, 3, 2]})
        >>> split = split_leave_last(inter)
        >>> split.test.truth.item_id.tolist(), split.test.history.item_id.tolist()
        ([30], [10, 20])
    """
    frame = _table(interactions)
    time = _times(frame, order_column(frame))
    liked = _liked(frame)
    users, counts = _user_numbers(frame, liked)
    if counts.max() < 3:
        raise DataError("interactions: no user has three items, so nothing can be held out")
    from_end = counts[users] - liked - _liked_before(users, counts, liked, np.lexsort((time, users)))
    held = counts[users] >= 3
    return Split(
        _rows(frame, ~held | (from_end >= 2)),
        Holdout(_rows(frame, held & (from_end >= 2)), _rows(frame, held & liked & (from_end == 1))),
        Holdout(_rows(frame, held & (from_end >= 1)), _rows(frame, held & liked & (from_end == 0))),
    )


def split_by_time(interactions: Source, fraction: float = 0.1, validation_fraction: float | None = None) -> Split:
    """Cut at one moment for everybody: what happens after today?

    Args:
        interactions: a frame with user_id, item_id and timestamp, or a path for `read_interactions`. Equal times: the
            later row counts as the later event. A frame may repeat pairs: a repeat is never in a truth.
        fraction: share of all rows, the latest ones, that is the test.
        validation_fraction: share of the rows before, the latest ones, that is the validation; None: `fraction`.

    Returns:
        The truths hold users and items never seen before, too. A history is every earlier row of the truth's users, so
        test.history holds train and validation rows; a new user has none.

    Raises:
        DataError: when the table is not usable, has no timestamp, or a part would be empty.
        ConfigError: when a fraction is not between 0 and 1.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 2], "timestamp": [1, 4, 2, 3]})
        >>> split = split_by_time(inter, fraction=0.25)
        >>> split.test.truth.user_id.tolist(), split.validation.truth.user_id.tolist(), len(split.train)
        ([1], [2], 2)
    """
    validation_fraction = fraction if validation_fraction is None else validation_fraction
    _check_share("fraction", fraction)
    _check_share("validation_fraction", validation_fraction)
    frame = _table(interactions, repeats=True)
    liked = _liked(frame)
    users, _ = _user_numbers(frame, liked)
    order = np.argsort(_times(frame, TIMESTAMP), kind="stable")
    n_test = max(1, round(fraction * len(frame)))
    n_validation = max(1, round(validation_fraction * (len(frame) - n_test)))
    part = np.zeros(len(frame), np.int8)
    newest = order[::-1]
    part[newest[: n_test + n_validation]] = 1
    part[newest[:n_test]] = 2
    new = np.empty(len(frame), bool)
    new[order] = ~pd.Series(pair_numbers(frame)[order]).duplicated()
    new &= liked
    if not (part == 0).any() or not (new & (part == 1)).any() or not (new & (part == 2)).any():
        raise DataError(f"interactions: {len(frame)} rows are too few to cut off a test and a validation part")
    return Split(_rows(frame, part == 0), _later(frame, users, part, new, 1), _later(frame, users, part, new, 2))


def split_ratio(interactions: Source, test: float = 0.2, validation: float | None = None, seed: int = 0) -> Split:
    """Hold out a random share of every user's items: what belongs to the rest?

    Args:
        interactions: a frame with user_id, item_id (no repeated pair), or a path for `read_interactions`.
        test: share of a user's items, rounded; one item at least stays in train.
        validation: share of the items left, likewise; None: `test`.
        seed: 0 or more; decides which items.

    Returns:
        validation.history is the train part of the users in its truth, test.history their train and validation part.

    Raises:
        DataError: when the table is not usable or a truth would be empty.
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1] * 5, "item_id": [1, 2, 3, 4, 5]})
        >>> split = split_ratio(inter)
        >>> len(split.train), len(split.validation.truth), len(split.test.truth), len(split.test.history)
        (3, 1, 1, 4)
    """
    validation = test if validation is None else validation
    _check_share("test", test)
    _check_share("validation", validation)
    rng = _random(seed)
    frame = _table(interactions)
    liked = _liked(frame)
    users, counts = _user_numbers(frame, liked)
    n_test = np.minimum(_rounded(test * counts), np.maximum(counts - 1, 0))
    n_validation = np.minimum(_rounded(validation * (counts - n_test)), np.maximum(counts - n_test - 1, 0))
    if not n_test.any() or not n_validation.any():
        raise DataError("interactions: no user has enough items to hold out a test and a validation part")
    ranks = _random_ranks(frame, users, counts, liked, rng)
    part = np.where(ranks < n_test[users], 2, np.where(ranks < (n_test + n_validation)[users], 1, 0))
    part[~liked] = 0
    every = np.ones(len(frame), bool)
    return Split(_rows(frame, part == 0), _later(frame, users, part, every, 1), _later(frame, users, part, every, 2))


def _table(interactions: Source, *, repeats: bool = False) -> pd.DataFrame:
    interactions = as_frame(interactions)
    if not isinstance(interactions, pd.DataFrame):
        return read_interactions(interactions)
    problems = Problems("interactions")
    if require_columns(interactions, (USER, ITEM), problems):
        interactions = interactions.assign(**{name: decoded(interactions[name]) for name in (USER, ITEM)})
        check_ids(interactions[USER], problems)
        check_ids(interactions[ITEM], problems)
    if interactions.empty:
        problems.add("the table has no rows")
    problems.raise_if_any()
    if not repeats:
        repeated = np.flatnonzero(pd.Series(pair_numbers(interactions)).duplicated())
        if len(repeated):
            problems.add("repeated (user, item) pairs: read_interactions merges them", repeated)
    problems.raise_if_any()
    return interactions.reset_index(drop=True)


def _times(frame: pd.DataFrame, column: str | None) -> np.ndarray:
    problems = Problems("interactions")
    wanted = "'timestamp' or 'position'" if column is None else f"{column!r}"
    if column is None or column not in frame.columns:
        problems.add(f"this split needs a column {wanted}")
        problems.raise_if_any()
    times = decoded(frame[column])
    told = column == TIMESTAMP and not pd.api.types.is_numeric_dtype(times.dtype)
    times = plain_times(times, problems) if told else plain_numbers(times, problems)
    problems.raise_if_any()
    return times.to_numpy()


def _liked(frame: pd.DataFrame) -> np.ndarray:
    """Which rows are no dislikes, (rows,) bool."""
    if WEIGHT not in frame.columns:
        return np.ones(len(frame), bool)
    problems = Problems("interactions")
    weights = plain_numbers(frame[WEIGHT], problems)
    problems.raise_if_any()
    return np.asarray(weights.to_numpy() > 0)


def _user_numbers(frame: pd.DataFrame, liked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of every row's user, (rows,), and how many liked items each has, (users,)."""
    users, names = pd.factorize(frame[USER], sort=True)
    return users, np.bincount(users[liked], minlength=len(names))


def _held_out_numbers(counts: np.ndarray, n_test: int | None, n_validation: int | None) -> tuple[int, int]:
    default = max(1, min(MOST_HELD_OUT, int(len(counts) * HELD_OUT_SHARE)))
    n_test, n_validation = _count(n_test, default), _count(n_validation, default)
    able = int((counts >= 2).sum())
    if able < n_test + n_validation or len(counts) <= n_test + n_validation:
        raise DataError(
            f"interactions: {len(counts)} users, {able} of them with two items or more, are too few "
            f"for {n_test} test and {n_validation} validation users and one to train on"
        )
    return n_test, n_validation


def _liked_before(users: np.ndarray, counts: np.ndarray, liked: np.ndarray, order: np.ndarray) -> np.ndarray:
    """How many liked rows of its user stand before each row, when `order` sorts by user and then as wanted."""
    starts = np.cumsum(counts) - counts
    before = np.empty(len(users), np.int64)
    before[order] = np.cumsum(liked[order]) - liked[order] - starts[users[order]]
    return before


def _random_ranks(
    frame: pd.DataFrame, users: np.ndarray, counts: np.ndarray, liked: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    items, _ = pd.factorize(frame[ITEM], sort=True)
    order = np.lexsort((items, users))
    noise = np.zeros(len(frame))
    noise[order[liked[order]]] = rng.random(int(liked.sum()))
    return _liked_before(users, counts, liked, np.lexsort((noise, users)))


def _rows(frame: pd.DataFrame, mask: np.ndarray) -> pd.DataFrame:
    return frame[mask].reset_index(drop=True)


def _later(frame: pd.DataFrame, users: np.ndarray, part: np.ndarray, new: np.ndarray, number: int) -> Holdout:
    truth = new & (part == number)
    wanted = np.bincount(users[truth], minlength=users.max() + 1) > 0
    return Holdout(_rows(frame, (part < number) & wanted[users]), _rows(frame, truth))


def _rounded(shares: np.ndarray) -> np.ndarray:
    return np.floor(shares + 0.5 + 1e-9).astype(np.int64)


def _random(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"seed must be an integer of 0 or more, found {seed!r}")
    return np.random.default_rng(seed)


def _count(value: int | None, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ConfigError(f"n_test and n_validation must be integers of 0 or more, or None, found {value!r}")
    return int(value)


def _check_share(name: str, value: float) -> None:
    if not isinstance(value, Real) or not 0 < value < 1:
        raise ConfigError(f"{name} must lie between 0 and 1, both excluded, found {value!r}")
