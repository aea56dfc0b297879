"""Approximate search over the item vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recgan.index.exact import finite, finite_queries
from recgan.index.making import SPARE, Kind, cells, graph, spread

MOST_EFFORT = 4096
"""Candidates that a search in the graph keeps at most."""
MARKS: dict[Kind, bytes] = {"ivf-pq": b"IwPf", "ivf": b"IwFl", "hnsw": b"IHNf"}
"""With what the file of an index begins."""

ROOM = 17
"""Times a file's size that a table of its index may have: FAISS allows for one of "ivf-pq" that it never makes."""


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

    Raises:
        DataError: when a vector holds NaN or infinity.

    Example:
        >>> index = NearIndex(np.eye(3, dtype=np.float32), "ivf")
        >>> index.search(np.array([[0.1, 0.9, 0.5]], np.float32), 2, index.most)[1].tolist()
        [[1, 2]]
    """

    def __init__(self, vectors: np.ndarray, kind: Kind) -> None:
        from threadpoolctl import threadpool_limits

        vectors = finite(vectors)
        with threadpool_limits(1):
            built = graph(spread(vectors)) if kind == "hnsw" else cells(spread(vectors), kind)
        self._hold(built, kind, vectors.shape[1], np.arange(len(vectors)))

    def _hold(self, index: Any, kind: Kind, width: int, numbers: np.ndarray) -> None:
        self._index, self.kind, self.width, self._numbers = index, kind, width, numbers

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
        scores, ids = self._index.search(spread(finite_queries(queries)), k, params=parameters)
        return np.where(ids < 0, np.float32(-np.inf), scores), np.where(ids < 0, -1, self._numbers[ids])

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
        import faiss
        from threadpoolctl import threadpool_limits

        vectors, kept = finite(vectors), origin >= 0
        if not self.takes(vectors.shape[1]):
            raise ValueError(f"a {self.kind} index of {self.width} columns cannot take vectors of {vectors.shape[1]}")
        ids = np.argsort(self._numbers, kind="stable")[len(self._numbers) - len(self) :]  # by item number
        numbers = np.full(len(self._numbers) + int((~kept).sum()), -1, np.int64)
        numbers[ids[origin[kept]]] = np.flatnonzero(kept)
        numbers[len(self._numbers) :] = np.flatnonzero(~kept)
        index = faiss.deserialize_index(faiss.serialize_index(self._index))  # a copy that owns its memory
        with threadpool_limits(1):
            index.remove_ids(np.setdiff1d(ids, ids[origin[kept]]))  # type: ignore[arg-type]
            index.add_with_ids(spread(vectors[~kept], self._index.d), np.arange(len(self._numbers), len(numbers)))
        other = NearIndex.__new__(NearIndex)
        other._hold(index, self.kind, vectors.shape[1], numbers)
        return other

    def save(self, path: Path) -> None:
        """Write FAISS's part of the index; `numbers` and `width` are the caller's to keep.

        Raises:
            OSError: when it cannot be written.
        """
        import faiss

        try:
            faiss.write_index(self._index, str(path))
        except RuntimeError as error:
            raise OSError(str(error)) from error

    @classmethod
    def load(cls, path: Path, kind: Kind, width: int, numbers: np.ndarray) -> NearIndex:
        """The index that `save` wrote, mapped into memory: what is searched is read when it is needed.

        Args:
            path: a file whose hash has been checked, and which nobody writes into.
            kind: of the index.
            width: columns of the vectors, Q.
            numbers: what `numbers` was, (M,) int64.

        Raises:
            ValueError: when the file is none of this kind, or does not fit.
        """
        index = _read(path, kind)
        there, found = np.flatnonzero(numbers >= 0), _ids(index, kind)
        if not width <= index.d <= width + SPARE or index.metric_type != 0 or not np.array_equal(there, found):
            raise ValueError(f"{path.name}: an index of {len(found)} vectors of {index.d} columns that does not fit")
        if not np.array_equal(np.sort(numbers[there]), np.arange(len(there))):
            raise ValueError(f"{path.name}: its numbers are not those of {len(there)} items")
        other = cls.__new__(cls)
        other._hold(index, kind, width, numbers)
        return other


def _read(path: Path, kind: Kind) -> Any:
    """FAISS's index in a file that says that it is of this kind; none of its tables may be much larger than it."""
    import faiss

    with path.open("rb") as file:
        if file.read(4) != MARKS[kind]:
            raise ValueError(f"{path.name}: is no index of the kind {kind!r}")
    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(ROOM * path.stat().st_size)
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ValueError(f"{path.name}: cannot be read: {' '.join(str(error).split())[-200:]}") from error
    finally:
        faiss.set_deserialization_vector_byte_limit(before)


def _ids(index: Any, kind: Kind) -> np.ndarray:
    """Ids of all vectors, ascending."""
    import faiss

    if kind == "hnsw":
        return np.arange(index.ntotal)
    lists = index.invlists
    sizes = [(cell, lists.list_size(cell)) for cell in range(index.nlist)]
    ids = [faiss.rev_swig_ptr(lists.get_ids(cell), size).copy() for cell, size in sizes if size]
    return np.sort(np.concatenate([np.empty(0, np.int64), *ids]))
