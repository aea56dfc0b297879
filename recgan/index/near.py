"""Approximate search over the item vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recgan.index.exact import finite, finite_queries
from recgan.index.making import KINDS, Kind, cells, graph, spread
from recgan.index.refilling import Place, check, contents, filled, in_memory, sound, swept

MOST_EFFORT = 4096
"""Candidates that a search in the graph keeps at most."""


class NearIndex:
    """Approximate maximum inner product search over the item vectors, by FAISS; how near it comes must be measured.

    "ivf" looks into the cells of k-means whose middles are nearest to the query (Sivic and Zisserman, ICCV 2003);
    "ivf-pq" does so with four bits a column instead of the vectors (Jegou et al., TPAMI 2011; Andre et al., TPAMI
    2021), an eighth of the memory and faster, but its order is rough: ask it for a few times as many and score them;
    "hnsw" walks a graph of neighbours (Malkov and Yashunin, TPAMI 2020). Built in one thread, so that equal vectors
    give an equal index on equal machines.

    Args:
        vectors: item vectors, (N, Q) float32; copied, all finite.
        kind: "ivf", "ivf-pq" or "hnsw".
        scale: of their columns, by which queries are divided, so that k-means heeds what these heed, (Q,) float32;
            None for 1.

    Raises:
        DataError: when a vector holds NaN or infinity.

    Example:
        >>> index = NearIndex(np.eye(3, dtype=np.float32), "ivf")
        >>> index.search(np.array([[0.1, 0.9, 0.5]], np.float32), 2, index.most)[1].tolist()
        [[1, 2]]
    """

    def __init__(self, vectors: np.ndarray, kind: Kind, scale: np.ndarray | None = None) -> None:
        from threadpoolctl import threadpool_limits

        vectors = finite(vectors)
        scale = np.ones(vectors.shape[1], np.float32) if scale is None else scale
        with threadpool_limits(1):
            built = graph(vectors, scale) if kind == "hnsw" else cells(vectors, scale, kind)
        self._hold(built, kind, scale, np.arange(len(vectors)))

    def _hold(self, index: Any, kind: Kind, scale: np.ndarray, numbers: np.ndarray) -> None:
        self._index, self.kind, self.scale, self._numbers = index, kind, scale, numbers

    @property
    def width(self) -> int:
        """Columns of the vectors, Q."""
        return len(self.scale)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def most(self) -> int:
        """The largest effort: all cells, or the most candidates kept in the graph."""
        return MOST_EFFORT if self.kind == "hnsw" else int(self._index.nlist)

    @property
    def numbers(self) -> np.ndarray:
        """Item number of every id that was ever given to a vector, (M,) int64; -1 where it is gone."""
        return self._numbers

    def search(self, queries: np.ndarray, k: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
        """The k items with the largest inner products, as far as they are found.

        Args:
            queries: (B, Q) float32, finite.
            k: how many; at most N come back.
            effort: cells that are looked into, or candidates that are kept in the graph, those of the list included.

        Returns:
            Scores (B, k) float32, descending, and item numbers (B, k) int64; -inf and -1 behind a short list's end.

        Raises:
            DataError: when a query holds NaN or infinity.
        """
        import faiss

        k = min(k, len(self))
        if self.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(k, effort))  # type: ignore[attr-defined]
        else:
            parameters = faiss.SearchParametersIVF(nprobe=effort)  # type: ignore[call-arg]
        scores, ids = self._index.search(self._asked(queries), k, params=parameters)
        return np.where(ids < 0, np.float32(-np.inf), scores), np.where(ids < 0, -1, self._numbers[ids])

    def _asked(self, queries: np.ndarray) -> np.ndarray:
        return spread(finite_queries(queries), 1 / self.scale, self._index.d)

    def takes(self, width: int) -> bool:
        """Whether it can be `changed` to vectors of so many columns: a graph cannot at all."""
        return self.kind != "hnsw" and self.width <= width <= int(self._index.d)

    def changed(self, vectors: np.ndarray, origin: np.ndarray) -> NearIndex:
        """An index of cells for other vectors, most of which are in this one: the cells stay, nothing is learned.

        Args:
            vectors: item vectors, (N, Q) float32, finite; as many columns as this index has, or one more that is 0 in
                all that is kept.
            origin: number in this index of the same vector, (N,) int64; -1 for one that is not in it.

        Returns:
            A new index; this one stays as it is.

        Raises:
            DataError: when a vector holds NaN or infinity.
            ValueError: for a graph, from which nothing can be taken, or other columns.
        """
        from threadpoolctl import threadpool_limits

        vectors, kept = finite(vectors), origin >= 0
        if not self.takes(vectors.shape[1]):
            raise ValueError(f"a {self.kind} index of {self.width} columns cannot take vectors of {vectors.shape[1]}")
        ids = np.argsort(self._numbers, kind="stable")[len(self._numbers) - len(self) :]  # by item number
        numbers = np.full(len(self._numbers) + int((~kept).sum()), -1, np.int64)
        numbers[ids[origin[kept]]] = np.flatnonzero(kept)
        numbers[len(self._numbers) :] = np.flatnonzero(~kept)
        scale = np.concatenate([self.scale, np.ones(vectors.shape[1] - self.width, np.float32)])
        index, first = in_memory(self._index), len(self._numbers)
        with threadpool_limits(1):
            index.remove_ids(np.setdiff1d(ids, ids[origin[kept]]))
            if self.kind == "ivf-pq":
                swept(index)
            index.add_with_ids(spread(vectors[~kept], scale, self._index.d), np.arange(first, len(numbers)))
        other = NearIndex.__new__(NearIndex)
        other._hold(index, self.kind, scale, numbers)
        return other

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learned and assigned, from which `of` makes the index again without k-means.

        Returns:
            scale, and numbers, as the properties; of cells also middles (cells, q) float32, sizes (cells,) int64, and
            lists, the codes and ids cell by cell, int64; of "ivf-pq" also codebooks (q, 16) float32. A graph is built
            anew.
        """
        return {"scale": self.scale, "numbers": self._numbers, **({} if self.kind == "hnsw" else contents(self._index))}

    @classmethod
    def of(
        cls, vectors: np.ndarray, kind: Kind, arrays: Mapping[str, np.ndarray], place: Place | None = None
    ) -> NearIndex:
        """The index whose `arrays` these are, each of which is checked.

        Args:
            vectors: that it holds by now, (N, Q) float32, finite.
            kind: of the index.
            arrays: of `arrays`.
            place: where their "lists" stands in a file, which is then read where it is asked for; None copies it.

        Raises:
            ValueError: when they do not fit together, or the vectors.
            KeyError: when one is missing.
        """
        check(kind in KINDS, "kind")
        check(sound(arrays["scale"], vectors.shape[1:]) and (arrays["scale"] > 0).all(), "scale")
        if kind == "hnsw" or "ids" in arrays:  # a graph, or cells as they were kept when they could not be mapped
            return cls(vectors, kind, arrays["scale"])
        other = cls.__new__(cls)
        other._hold(filled(vectors.shape, kind, arrays, place), kind, arrays["scale"], arrays["numbers"])
        return other
