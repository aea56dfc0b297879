"""The trained engine: finished parts in, recommendations out."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recgan import artifact, storage
from recgan.cold import Tower
from recgan.config import Config
from recgan.errors import ConfigError
from recgan.explaining import Explaining
from recgan.growing import Growing
from recgan.histories import Histories, Strength, fingerprint
from recgan.index import ItemIndex
from recgan.ranking import ABSENT, Blocks, Judge, Query, Ranker
from recgan.schema import ITEM, SCORE, USER
from recgan.serving import _check_n, _id_series, _refuse_repeats
from recgan.vocabulary import Vocabulary


class Recommender(Explaining, Growing):
    """A trained conditional GAN with its linear block, ready to serve.

    Made by `recgan.train` or `Recommender.load`, never half-built.

    Args:
        users: numbers of the known users.
        items: numbers of the items.
        histories: interactions of the known users.
        profiles: features of the known users, (U, P) float32.
        item_table: item_id and what else is known of the items, one row an item in the order of the numbers.
        blocks: the parts of stage one.
        judge: the discriminator of stage two, or None.
        config: settings of the training run.
        report: what training measured; JSON values.
        disliked: what must never be listed to the known users; None for nothing.
        tower: predicts items without interactions from their content, or None.
    """

    def __init__(
        self,
        users: Vocabulary,
        items: Vocabulary,
        histories: Histories,
        profiles: np.ndarray,
        item_table: pd.DataFrame,
        blocks: Blocks,
        judge: Judge | None,
        config: Config,
        report: dict[str, Any],
        disliked: Histories | None = None,
        tower: Tower | None = None,
    ) -> None:
        super().__init__(users, items, histories, profiles, disliked)
        self._item_table = item_table
        self._blocks = blocks
        self._judge = judge
        self._config = config
        self._report = report
        self._tower = tower
        self._ranker = Ranker(blocks, judge, config.n_candidates)

    def _check_popularity(self, popularity: Any) -> float:
        number = isinstance(popularity, (int, float, np.number)) and not isinstance(popularity, bool)
        if not number or not np.isfinite(popularity):
            raise ConfigError(f"popularity: a finite number or None, not {popularity!r}")
        return float(popularity)

    def _rank(self, query: Query, numbers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        return self._ranker.rank(query, n)

    @property
    def _strength(self) -> Strength:
        return self._blocks.strength

    @property
    def item_table(self) -> pd.DataFrame:
        """A copy of what is known of the items, item_id first, in the order of `items`."""
        return self._item_table.copy()

    def info(self) -> dict[str, Any]:
        """Settings, sizes, versions, and what training measured: ablation, weights, curves, alarms.

        Returns:
            A dictionary of JSON values; changing it does not change the model.
        """
        return storage.copied({"config": self._config.model_dump(), **self._report})

    def score(self, user_id: Any, item_ids: Any) -> pd.DataFrame:
        """Relevance of given items for one user, whether seen or not.

        Args:
            user_id: a known user.
            item_ids: ids of items of the catalogue.

        Returns:
            A frame item_id, score (float64), in the order given; the scores are those that `recommend` shows for the
            candidates of its second stage.

        Raises:
            UnknownUserError: for an unknown user.
            UnknownItemError: for an item outside the catalogue.
        """
        user = np.array([self._one_user(user_id)])
        ids = _id_series(item_ids, ITEM)
        numbers = np.array([[self._one_item(one) for one in ids.tolist()]], np.int64)
        query = Query(self._histories.take(user), self._histories.take(user), self._profiles_of(user))
        scores = self._ranker.scores(query, numbers)[0] if len(ids) else np.empty(0)
        return pd.DataFrame({ITEM: ids, SCORE: scores.astype(np.float64)})

    def similar_items(self, item_id: Any, n: int = 10) -> pd.DataFrame:
        """The items whose vectors point the same way.

        Args:
            item_id: an item of the catalogue.
            n: most items in the list.

        Returns:
            A frame item_id, score (cosine, float64), best first, without the item itself.

        Raises:
            UnknownItemError: for an item outside the catalogue.
        """
        number, n = self._one_item(item_id), _check_n(n)
        scores, numbers = self._item_index.search(self._vectors[[number]], n + 1)
        kept = (numbers[0] != number) & (numbers[0] != ABSENT)
        return self._similar(self._items.ids(numbers[0][kept][:n]), ITEM, scores[0][kept][:n])

    def similar_users(self, user_id: Any, n: int = 10) -> pd.DataFrame:
        """The users who want the same: cosine of their noise-free wanted vectors.

        Args:
            user_id: a known user.
            n: most users in the list.

        Returns:
            A frame user_id, score (cosine, float64), best first, without the user.

        Raises:
            UnknownUserError: for an unknown user.
        """
        number, n = self._one_user(user_id), _check_n(n)
        cosines = self._user_matrix @ self._user_matrix[number]
        cosines[number] = -np.inf
        best = np.lexsort((np.arange(len(cosines)), -cosines))[: min(n, len(cosines) - 1)]
        return self._similar(self._users.ids(best), USER, cosines[best])

    def item_vectors(self) -> pd.DataFrame:
        """Unit item vectors, one row an item (index item_id), D columns float32."""
        return pd.DataFrame(self._vectors.copy(), index=pd.Index(self.items, name=ITEM))

    def user_vectors(self, users: Any = None) -> pd.DataFrame:
        """Unit wanted vectors without noise, one row a user (index user_id), D columns float32.

        Args:
            users: ids of known users; None for all.

        Raises:
            UnknownUserError: for an unknown user.
        """
        ids = self.users if users is None else _id_series(users, USER)
        numbers = np.array([self._one_user(one) for one in ids.tolist()], np.int64)
        return pd.DataFrame(self._user_matrix[numbers], index=pd.Index(ids, name=USER))

    @staticmethod
    def _similar(ids: pd.Series, column: str, scores: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({column: ids.reset_index(drop=True), SCORE: scores.astype(np.float64)})

    @cached_property
    def _item_index(self) -> ItemIndex:
        return ItemIndex(self._vectors)

    @cached_property
    def _user_matrix(self) -> np.ndarray:
        generator, rows = self._blocks.generator, []
        for start in range(0, len(self._users), 1024):
            part = self._histories.take(np.arange(start, min(start + 1024, len(self._users))))
            with torch.no_grad():
                rows.append(torch.nn.functional.normalize(generator.wanted(self._blocks.conditions(part)), dim=1))
        return np.asarray(torch.cat(rows).numpy())

    def remove_users(self, ids: Any) -> Recommender:
        """A model that no longer knows some users; this one stays as it is.

        Their ids, histories and profiles are gone, and so are hash and pictures in `info()` that they had a part in.
        What is left of them are the trained weights: networks, linear blocks, popularity and what the second stage
        knows of the items, which no longer tell users apart; train anew without them to be rid of these as well. Older
        model folders, checkpoints, logs and batch files are not touched.

        Args:
            ids: ids of known users.

        Returns:
            The new model; `info()["removed_users"]` counts those removed from it so far. Lists of the other users are
            what they were, and a removed user is an unknown one.

        Raises:
            UnknownUserError: for an unknown user.
            DataError: when a user is named twice.
        """
        series = _id_series(ids, USER)
        _refuse_repeats(series)
        gone = np.array([self._one_user(one) for one in series.tolist()], np.int64)
        kept = np.setdiff1d(np.arange(len(self._users)), gone)
        histories = self._histories.take(kept)
        report = storage.copied(self._report)
        report["data"] = fingerprint(histories)
        report["removed_users"] = report.get("removed_users", 0) + len(gone)
        report.get("game", {}).pop("pictures", None)
        return type(self)(
            Vocabulary(self._users.ids(kept), USER),
            self._items,
            histories,
            self._profiles[kept],
            self._item_table,
            self._blocks,
            self._judge,
            self._config,
            report,
            None if self._disliked is None else self._disliked.take(kept),
            self._tower,
        )

    @property
    def _parts(self) -> storage.Parts:
        known = self._users, self._items, self._histories, self._profiles, self._item_table
        return storage.Parts(*known, self._blocks, self._judge, self._disliked, self._tower)

    def _with(self, parts: storage.Parts) -> Recommender:
        report = storage.copied(self._report)
        report["data"] = fingerprint(parts.histories)
        return self.of(parts, self._config, report)

    @classmethod
    def of(cls, parts: storage.Parts, config: Config, report: dict[str, Any]) -> Recommender:
        """The recommender that is made of some parts."""
        return cls(
            parts.users,
            parts.items,
            parts.histories,
            parts.profiles,
            parts.item_table,
            parts.blocks,
            parts.judge,
            config,
            report,
            parts.disliked,
            parts.tower,
        )

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder of safetensors, Parquet and JSON, whole or not at all.

        Args:
            folder: where; an older model there is replaced.

        Raises:
            ArtifactError: when the place holds something else or cannot be written.
        """
        storage.save(folder, self._parts, self._config, self._report)

    @classmethod
    def load(cls, folder: str | Path) -> Recommender:
        """Read a model that `save` wrote; every byte is checked first, and no file can run code.

        Args:
            folder: the model folder.

        Returns:
            A recommender whose lists equal those of the saved one.

        Raises:
            ArtifactError: when the folder is missing, damaged or foreign.
        """
        return cls.of(*storage.load(folder))


_loaded: dict[tuple[str, int], Recommender] = {}


def recommend(
    user_id: Any = None, n: int = 10, model: str | Path | Recommender | None = None, **options: Any
) -> pd.DataFrame:
    """The best items for one user from a model folder, which is loaded once.

    Args:
        user_id: the caller's id.
        n: most items in the list.
        model: a Recommender or a model folder; None reads the folder named by the environment's RECGAN_MODEL.
        options: the other arguments of `Recommender.recommend`.

    Returns:
        A frame user_id, item_id, rank, score.

    Raises:
        ConfigError: when no model is named.
        ArtifactError: when the folder is missing, damaged or foreign.
    """
    if isinstance(model, Recommender):
        return model.recommend(user_id, n, **options)
    folder = model or os.environ.get("RECGAN_MODEL")
    if not folder:
        raise ConfigError("recommend: give model=, a folder or a Recommender, or set RECGAN_MODEL")
    return _cached(Path(folder)).recommend(user_id, n, **options)


def _cached(folder: Path) -> Recommender:
    manifest = artifact.standing(folder) / artifact.MANIFEST
    key = (str(folder.resolve()), manifest.stat().st_mtime_ns if manifest.is_file() else 0)
    if key not in _loaded:
        model = Recommender.load(folder)
        _loaded.clear()
        _loaded[key] = model
    return _loaded[key]
