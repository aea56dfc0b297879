"""A trained model on one page: what it is made of, how training went, what it recommends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recgan.errors import ConfigError
from recgan.report.comparing import comparison_table, read_comparison

if TYPE_CHECKING:
    from recgan.recommender import Recommender
    from recgan.tables import Source

__all__ = ["comparison_table", "save_map", "write_gaps", "write_report"]


def write_report(
    model: Recommender,
    path: str | os.PathLike[str],
    *,
    comparison: Source | None = None,
    users: Any = None,
    items: Any = None,
    title: str = "Recommender report",
) -> Path:
    """Write the report of a model as one HTML page that needs nothing else, whole or not at all.

    Args:
        model: a trained model; read only.
        path: the file; an older one is replaced, missing folders are made.
        comparison: results of this and other models: model, metric, mean, low, high (95 % interval) and, where it
            exists, p_value; a row a model and metric, this model first; a frame or a path. `comparison_table` makes it.
            A metric at three lengths or more (ndcg@1, ndcg@5, ndcg@20) becomes a curve.
        users: ids of known users whose lists are shown and who stand on the map; None chooses four, and a hundred
            whose lists can be searched.
        items: ids of the items on offer, for the section on gaps; None for the whole catalogue.
        title: heading of the page.

    Returns:
        The path of the page.

    Raises:
        ConfigError: when jinja2 or matplotlib is missing, or the file cannot be written.
        DataError: when the comparison cannot be used, a user is asked for twice, or none of `items` is known.
        UnknownUserError: for an unknown user.
    """
    _require_extra()
    from recgan.report.document import page

    table = None if comparison is None else read_comparison(comparison)
    return _write(path, page(model, table, users, items, title).encode("utf-8", "replace"))


def write_gaps(
    model: Recommender,
    path: str | os.PathLike[str],
    *,
    users: Any = None,
    items: Any = None,
    alpha: float = 0.01,
    n_permutations: int = 999,
    seed: int = 0,
    title: str = "Catalogue gaps",
) -> Path:
    """Write what users want and the catalogue lacks as one HTML page that needs nothing else, whole or not at all.

    Args:
        model: a trained model; read only.
        path: the file; an older one is replaced, missing folders are made.
        users: ids of the users who are asked; None for all who have a history.
        items: ids of the items on offer; None for the whole catalogue.
        alpha: probability of reporting anything withdrawn where it was withdrawn at random.
        n_permutations: random withdrawals that the real one is compared with.
        seed: of these.
        title: heading of the page.

    Returns:
        The path of the page; it shows the rows of `Recommender.gaps`, or says that there is no gap.

    Raises:
        ConfigError: when jinja2 or matplotlib is missing, a setting is bad, or the file cannot be written.
        DataError: when a user is asked twice, nobody is asked, or none of `items` is in the catalogue.
        UnknownUserError: for an unknown user.
    """
    _require_extra()
    from recgan.gaps import Settings
    from recgan.report.gaps import gaps_page

    settings = Settings(alpha, n_permutations, seed)
    return _write(path, gaps_page(model, users, items, settings, title).encode("utf-8", "replace"))


def save_map(
    model: Recommender, path: str | os.PathLike[str], *, users: Any = None, width: int = 1400, height: int = 900
) -> Path:
    """Write the map of item vectors, with users and their draws, as one PNG of less than 150 kB.

    Args:
        model: a trained model; read only.
        path: the file; an older one is replaced, missing folders are made.
        users: ids of known users on the map; None chooses four.
        width: pixels.
        height: pixels.

    Returns:
        The path of the picture.

    Raises:
        ConfigError: when matplotlib is missing, the items do not span a plane, or the file cannot be written.
        UnknownUserError: for an unknown user.
    """
    _require_extra()
    from recgan.report.document import map_picture

    return _write(path, map_picture(model, users, width, height))


def _require_extra() -> None:
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"report: {error.name or error} is not installed: pip install recgan[report]") from error


def _write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file beside its place and move it there in one rename."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(f"report: {target} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target
