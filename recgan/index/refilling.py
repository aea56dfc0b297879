"""What is in an index of cells, as plain arrays, and back: FAISS's own files can crash whoever reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recgan.index.making import LEVELS, PACKED, SPARE, Kind, unlearned


@dataclass(frozen=True)
class Place:
    """Where "lists" stands.

    Args:
        path: a file that is not written to as long as the index lives.
        offset: of its first byte.
    """

    path: Path
    offset: int


@dataclass(frozen=True)
class Layout:
    """How the cells lie one behind the other: the codes of each in whole blocks, and behind them its ids.

    Args:
        sizes: vectors in every cell, (C,) int64.
        capacities: those that its codes have room for, (C,) int64.
        code_size: bytes of a code.
    """

    sizes: np.ndarray
    capacities: np.ndarray
    code_size: int

    @classmethod
    def of(cls, sizes: np.ndarray, width: int, packed: bool) -> Layout:
        """That of an index of so many columns; `packed` where there are four bits of each, in blocks of 32 codes."""
        block, code_size = (PACKED, (width + 1) // 2) if packed else (2, 4 * width)
        return cls(sizes, -(-sizes // block) * block, code_size)

    @property
    def code_bytes(self) -> np.ndarray:
        """Bytes of the codes of every cell, (C,) int64."""
        return self.capacities * self.code_size

    @property
    def starts(self) -> np.ndarray:
        """First byte of every cell, and the end of the last, (C + 1,) int64; all are multiples of eight."""
        return np.concatenate([[0], np.cumsum(self.code_bytes + 8 * self.sizes)])

    def cells(self) -> Iterator[tuple[int, slice, slice]]:
        """Every cell that is not empty, and the bytes of its codes and of its ids."""
        starts, lengths = self.starts, self.code_bytes
        for cell in np.flatnonzero(self.sizes).tolist():
            ids = int(starts[cell] + lengths[cell])
            yield cell, slice(int(starts[cell]), ids), slice(ids, int(starts[cell + 1]))


def contents(index: Any) -> dict[str, np.ndarray]:
    """See `NearIndex.arrays`."""
    import faiss

    lists, pq = index.invlists, getattr(index, "pq", None)
    sizes = np.array([lists.list_size(cell) for cell in range(index.nlist)], np.int64)
    layout = Layout.of(sizes, index.d, pq is not None)
    written = np.zeros(int(layout.starts[-1]) // 8, np.int64)
    raw = written.view(np.uint8)
    for cell, codes, ids in layout.cells():
        length = codes.stop - codes.start if pq is not None else int(sizes[cell]) * layout.code_size
        raw[codes][:length] = faiss.rev_swig_ptr(lists.get_codes(cell), length)
        raw[ids].view(np.int64)[:] = faiss.rev_swig_ptr(lists.get_ids(cell), int(sizes[cell]))
    found = {"sizes": sizes, "lists": written, "middles": index.quantizer.reconstruct_n(0, index.nlist)}
    books = {} if pq is None else {"codebooks": faiss.vector_to_array(pq.centroids).reshape(index.d, LEVELS)}
    return {**found, **books}


def filled(shape: tuple[int, ...], kind: Kind, arrays: Mapping[str, np.ndarray], place: Place | None) -> Any:
    """FAISS's index with these contents, for vectors of a shape (N, Q); see `NearIndex.of`."""
    numbers, sizes, lists = (_whole(arrays[name], name) for name in ("numbers", "sizes", "lists"))
    middles, there = arrays["middles"], np.flatnonzero(numbers >= 0)
    width = middles.shape[1] if middles.ndim == 2 else 0
    check(0 <= width - shape[1] <= SPARE and sound(middles, (len(sizes), width)), "middles")
    check(len(sizes) > 0 and (sizes >= 0).all() and sizes.sum() == len(there) and (sizes <= len(there)).all(), "sizes")
    check(np.array_equal(np.sort(numbers[there]), np.arange(shape[0])), "numbers")
    layout = Layout.of(sizes, width, kind == "ivf-pq")
    check(8 * len(lists) == layout.starts[-1], "lists")
    ids = [lists[own.start // 8 : own.stop // 8] for _, _, own in layout.cells()]
    check(np.array_equal(np.sort(np.concatenate([*ids, there[:0]])), there), "lists")
    if kind == "ivf-pq":
        check(sound(arrays["codebooks"], (width, LEVELS)), "codebooks")
    return _made(kind, arrays, layout, place)


def _made(kind: Kind, arrays: Mapping[str, np.ndarray], layout: Layout, place: Place | None) -> Any:
    """FAISS's index with contents that fit together, copied or mapped."""
    import faiss

    middles = arrays["middles"]
    index = unlearned(kind, middles.shape[1], len(middles))
    index.quantizer.add(middles)
    if kind == "ivf-pq":
        faiss.copy_array_to_vector(arrays["codebooks"].ravel(), index.pq.centroids)
    if place is None:
        _copy(index.invlists, layout, np.ascontiguousarray(arrays["lists"]).view(np.uint8))
    else:
        index.replace_invlists(_mapped(layout, place), True)
    index.ntotal, index.is_trained = int(layout.sizes.sum()), True
    return index


def _copy(lists: Any, layout: Layout, raw: np.ndarray) -> None:
    import faiss

    for cell, codes, ids in layout.cells():
        code, own = np.ascontiguousarray(raw[codes]), np.ascontiguousarray(raw[ids])
        lists.add_entries(cell, int(layout.sizes[cell]), faiss.swig_ptr(own.view(np.int64)), faiss.swig_ptr(code))


def _mapped(layout: Layout, place: Place) -> Any:
    """FAISS's lists that stay in a file, whose pages all processes share that read it; FAISS frees them."""
    import faiss

    length = place.path.stat().st_size
    check(place.offset % 8 == 0 and place.offset + layout.starts[-1] <= length, "lists")
    lists: Any = faiss.OnDiskInvertedLists()
    lists.nlist, lists.code_size, lists.read_only, lists.prefetch_nthread = len(layout.sizes), layout.code_size, True, 0
    lists.filename, lists.totsize = str(place.path), length
    for cell in zip(layout.sizes.tolist(), layout.capacities.tolist(), layout.starts.tolist(), strict=False):
        one: Any = faiss.OnDiskOneList()
        one.size, one.capacity, one.offset = cell[0], cell[1], cell[2] + place.offset
        lists.lists.push_back(one)
    lists.do_mmap()
    lists.thisown = False
    return lists


def in_memory(index: Any) -> Any:
    """A copy of an index that can be changed."""
    import faiss

    if not isinstance(faiss.downcast_InvertedLists(index.invlists), faiss.OnDiskInvertedLists):
        return faiss.clone_index(index)
    found = contents(index)
    packed = "codebooks" in found
    return _made("ivf-pq" if packed else "ivf", found, Layout.of(found["sizes"], index.d, packed), None)


def swept(index: Any) -> None:
    """Clear what removed vectors have left in the last block of each cell: FAISS adds new codes with a bitwise or."""
    import faiss

    lists, masks = index.invlists, [_taken(n, index.d) for n in range(PACKED)]
    sizes = np.array([lists.list_size(cell) for cell in range(index.nlist)], np.int64)
    lengths = Layout.of(sizes, index.d, packed=True).code_bytes
    for cell in np.flatnonzero(sizes % PACKED).tolist():
        length = int(lengths[cell])
        block = faiss.rev_swig_ptr(lists.get_codes(cell), length)[length - len(masks[-1]) :]
        block &= masks[sizes[cell] % PACKED]


def _taken(n: int, width: int) -> np.ndarray:
    """The bits of a block that the codes of its first n vectors take, uint8."""
    import faiss

    full = unlearned("ivf-pq", width, 1)
    full.quantizer.add(np.zeros((1, width), np.float32))
    faiss.copy_array_to_vector(np.tile(np.arange(LEVELS, dtype=np.float32), width), full.pq.centroids)
    full.is_trained = True
    full.add(np.full((n, width), LEVELS - 1, np.float32))
    return np.asarray(faiss.rev_swig_ptr(full.invlists.get_codes(0), PACKED * full.code_size).copy())


def _whole(array: np.ndarray, name: str) -> np.ndarray:
    check(array.dtype == np.int64 and array.ndim == 1, name)
    return np.ascontiguousarray(array)


def sound(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether an array is of this shape, float32 and finite."""
    return bool(array.dtype == np.float32 and array.shape == shape and np.isfinite(array).all())


def check(holds: Any, name: str) -> None:
    """Refuse an array that does not fit.

    Raises:
        ValueError: where it does not hold.
    """
    if not holds:
        raise ValueError(f"{name!r} does not fit the others or the items")
