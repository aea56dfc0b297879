"""The trained engine: finished parts in, recommendations out."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recgan import storage
from recgan.cold import Tower
from recgan.config import Config
from recgan.errors import ConfigError
from recgan.explaining import Explaining
from recgan.growing import Growing
from recgan.histories import Histories, Strength, fingerprint
from recgan.index import ItemIndex
from recgan.ranking import ABSENT, Asked, Blocks, Exact, Judge, Near, Query, Ranker, Search, chosen, kept
from recgan.schema import ITEM, SCORE, USER
from recgan.serving import check_n, id_series, refuse_repeats
from recgan.vocabulary import Vocabulary

MOST_POPULARITY = 1e6
"""Beyond, scores would be no numbers any more."""


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
        near: an approximate search for stage one; None for the exact one.
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
        near: Near | Exact | None = None,
    ) -> None:
        super().__init__(users, items, histories, profiles, disliked)
        self._item_table = item_table
        self._blocks = blocks
        self._judge = judge
        self._config = config
        self._report = report
        self._tower = tower
        self._ranker = Ranker(blocks, judge, config.n_candidates, near)

    def _check_popularity(self, popularity: Any) -> float:
        number = isinstance(popularity, (int, float, np.number)) and not isinstance(popularity, bool)
        if not number or not abs(popularity) <= MOST_POPULARITY:
            raise ConfigError(
                f"popularity: a number from {-MOST_POPULARITY:g} to {MOST_POPULARITY:g} or None, not {popularity!r}"
            )
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
        """Settings, sizes, versions, what training measured (ablation, weights, curves, alarms), the search's recall.

        Returns:
            A dictionary of JSON values; changing it does not change the model.
        """
        near = self._ranker.near
        search = {} if near is None else {"search": near.measured}
        return storage.copied({"config": self._config.model_dump(), **self._report, **search})

    def with_search(self, kind: Asked | None, recall: float = 0.95, memory: float | None = None) -> Recommender:
        """A model whose first stage searches approximately, for catalogues beyond a hundred thousand items.

        The least effort that finds so many of the exact search's candidates is looked for on some users; the recall on
        others is measured and told by `info()["search"]`. Lists stay full, and the second stage, filters and rules are
        as before; what `items` limits is searched exactly. `save` writes the index too. Items that
        come and go change the cells that they belong to; all is built anew where it no longer comes as near.

        Args:
            kind: "ivf-pq", cells of k-means with four bits a column; "ivf", with whole vectors; "hnsw", a graph, which
                lost against both; or "auto": the first of the first two that comes as near within the memory, else, or
                up to 100,000 items, the exact search. None for the exact search, untold.
            recall: the share of the 100 best by the blocks' columns that it has to find, at most 1; of as many as the
                second stage re-orders where there is one.
            memory: MiB that the index may take beside the model; None for as many as it needs.

        Returns:
            The new model; this one stays as it is.

        Raises:
            ConfigError: for another kind, recall or memory, or when that kind does not come as near or takes more.
        """
        if kind is None:
            return self.of(self._parts, self._config, self._report)
        near = chosen(self._blocks, self._histories, Search(kind, recall, memory), self._ranker.n_searched)
        return self.of(self._parts, self._config, self._report, near)

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
        ids = id_series(item_ids, ITEM)
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
        number, n = self._one_item(item_id), check_n(n)
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
        number, n = self._one_user(user_id), check_n(n)
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
        ids = self.users if users is None else id_series(users, USER)
        numbers = self._many_users(ids)
        return pd.DataFrame(self._user_matrix[numbers], index=pd.Index(ids, name=USER))

    @staticmethod
    def _similar(ids: pd.Series, column: str, scores: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({column: ids.reset_index(drop=True), SCORE: scores.astype(np.float64)})

    @cached_property
    def _item_index(self) -> ItemIndex:
        return ItemIndex(self._vectors)

    @cached_property
    def _user_matrix(self) -> np.ndarray:
        generator, rows = self._blocks.generator, [torch.zeros(0, self._blocks.generator.vectors.shape[1])]
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
        series = id_series(ids, USER)
        refuse_repeats(series)
        gone = self._many_users(series)
        kept = np.setdiff1d(np.arange(len(self._users)), gone)
        histories = self._histories.take(kept)
        report = storage.copied(self._report)
        report["data"] = fingerprint(histories)
        report["removed_users"] = report.get("removed_users", 0) + len(gone)
        report.get("game", {}).pop("pictures", None)
        parts = replace(
            self._parts,
            users=Vocabulary(self._users.ids(kept), USER),
            histories=histories,
            profiles=self._profiles[kept],
            disliked=None if self._disliked is None else self._disliked.take(kept),
        )
        return self.of(parts, self._config, report, self._ranker.near)

    @property
    def _parts(self) -> storage.Parts:
        known = self._users, self._items, self._histories, self._profiles, self._item_table
        return storage.Parts(*known, self._blocks, self._judge, self._disliked, self._tower)

    def _with(self, parts: storage.Parts) -> Recommender:
        report = storage.copied(self._report)
        report["data"] = fingerprint(parts.histories)
        near = self._ranker.near
        if near is not None:
            origin = self._items.numbers(parts.items.all_ids)
            near = kept(near, self._blocks, parts.blocks, parts.histories, origin, self._ranker.n_searched)
        return self.of(parts, self._config, report, near)

    @classmethod
    def of(
        cls, parts: storage.Parts, config: Config, report: dict[str, Any], near: Near | Exact | None = None
    ) -> Recommender:
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
            near,
        )

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder of safetensors, Parquet and JSON, whole or not at all.

        Args:
            folder: where; an older model there is replaced.

        Raises:
            ArtifactError: when the place holds something else or cannot be written.
        """
        storage.save(folder, self._parts, self._config, self._report, self._ranker.near)

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
