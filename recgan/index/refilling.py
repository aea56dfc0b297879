"""What is in an index of cells, as plain arrays, and back: FAISS's own files can crash whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recgan.index.making import LEVELS, PACKED, SPARE, Kind, spread, unlearned


def contents(index: Any) -> dict[str, np.ndarray]:
    """See `NearIndex.arrays`."""
    import faiss

    lists, pq = index.invlists, getattr(index, "pq", None)
    sizes = np.array([lists.list_size(cell) for cell in range(index.nlist)], np.int64)
    some = np.flatnonzero(sizes).tolist()
    ids = [faiss.rev_swig_ptr(lists.get_ids(cell), int(sizes[cell])).copy() for cell in some]
    found = {"sizes": sizes, "ids": np.concatenate([np.empty(0, np.int64), *ids])}
    found["middles"] = index.quantizer.reconstruct_n(0, index.nlist)
    if pq is None:
        return found
    lengths = code_bytes(sizes, index.d)
    codes = [faiss.rev_swig_ptr(lists.get_codes(cell), int(lengths[cell])).copy() for cell in some]
    found["codes"] = np.concatenate([np.empty(0, np.uint8), *codes])
    return {**found, "codebooks": faiss.vector_to_array(pq.centroids).reshape(index.d, LEVELS)}


def filled(vectors: np.ndarray, kind: Kind, arrays: Mapping[str, np.ndarray]) -> Any:
    """FAISS's index with these contents; see `NearIndex.of`."""
    import faiss

    numbers, sizes, ids = (_whole(arrays[name], name) for name in ("numbers", "sizes", "ids"))
    middles, there = arrays["middles"], np.flatnonzero(numbers >= 0)
    width, scale = middles.shape[1] if middles.ndim == 2 else 0, arrays["scale"]
    check(0 <= width - vectors.shape[1] <= SPARE and sound(middles, (len(sizes), width)), "middles")
    check(len(sizes) > 0 and (sizes >= 0).all() and sizes.sum() == len(ids) and (sizes <= len(ids)).all(), "sizes")
    check(np.array_equal(np.sort(ids), there), "ids")
    check(np.array_equal(np.sort(numbers[there]), np.arange(len(vectors))), "numbers")
    index = unlearned(kind, width, len(sizes))
    index.quantizer.add(middles)
    if kind == "ivf":
        codes, lengths = spread(vectors[numbers[ids]], scale, width).view(np.uint8).ravel(), sizes * 4 * width
    else:
        codes, lengths, books = arrays["codes"], code_bytes(sizes, width), arrays["codebooks"]
        check(codes.dtype == np.uint8 and codes.shape == (lengths.sum(),), "codes")
        check(sound(books, (width, LEVELS)), "codebooks")
        faiss.copy_array_to_vector(books.ravel(), index.pq.centroids)
    ends, stops = np.cumsum(sizes), np.cumsum(lengths)
    for cell in np.flatnonzero(sizes).tolist():
        own, code = ids[ends[cell] - sizes[cell] : ends[cell]], codes[stops[cell] - lengths[cell] : stops[cell]]
        index.invlists.add_entries(cell, len(own), faiss.swig_ptr(own), faiss.swig_ptr(code))
    index.ntotal, index.is_trained = len(ids), True
    return index


def swept(index: Any) -> None:
    """Clear what removed vectors have left in the last block of each cell: FAISS adds new codes with a bitwise or."""
    import faiss

    lists, masks = index.invlists, [_taken(n, index.d) for n in range(PACKED)]
    sizes = np.array([lists.list_size(cell) for cell in range(index.nlist)], np.int64)
    for cell in np.flatnonzero(sizes % PACKED).tolist():
        length = int(code_bytes(sizes[cell], index.d))
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
    return contents(full)["codes"]


def code_bytes(sizes: np.ndarray, width: int) -> np.ndarray:
    """Bytes of the codes of cells of such sizes in "ivf-pq": whole blocks, two columns a byte."""
    return np.asarray(-(-sizes // PACKED) * PACKED * ((width + 1) // 2), np.int64)


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
