"""What each part of the relevance loses without each item of a history, exactly, at the weights of the whole history.

Every part answers with its score of K items for B users, (B, K), and what that score loses without each of L history
items, (B, L, K), both float32; histories stand oldest first, padded on the right, with every item once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recgan.histories import Histories
from recgan.linear import Factors, LowRank, SparseRows
from recgan.ranking import Blocks
from recgan.reasons.conditions import conditions_without_each

Lost = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Asked:
    """B users and the K items that are looked at for each.

    Args:
        histories: of the users, every item once.
        history: the same as item numbers, (B, L) int64.
        there: where one stands, (B, L) bool.
        items: the items that are looked at, (B, K) int64.
        stated: categories that the users say to like, (B, Q) float32, or None.
    """

    histories: Histories
    history: np.ndarray
    there: np.ndarray
    items: np.ndarray
    stated: np.ndarray | None = None

    @classmethod
    def of(cls, histories: Histories, items: np.ndarray, stated: np.ndarray | None = None) -> Asked:
        """The question for the users of some histories."""
        history, there = histories.window(np.arange(len(histories)), max(1, histories.n_items))
        return cls(histories, history, there, items, stated)

    @property
    def weights(self) -> np.ndarray:
        """What the events of the history count, (B, L) float32; 0 where there is none."""
        return self.histories.window_weights(np.arange(len(self.histories)), self.history.shape[1])

    def newest(self, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The newest items of each user, a window (B, M) and its mask, and where they stand in the whole, (B, L)."""
        items, mask = self.histories.window(np.arange(len(self.history)), most)
        first = self.histories.lengths - mask.sum(axis=1)
        return items, mask, self.there & (np.arange(self.history.shape[1]) >= first[:, None])


def generated(blocks: Blocks, asked: Asked) -> Lost:
    """The generator's part: what it would want from a user who had everything but one item."""
    vectors = blocks.columns[asked.items, : blocks.generator.vectors.shape[1]]
    items, mask, inside = asked.newest(blocks.window + 1)
    conditions = conditions_without_each(blocks.generator, torch.from_numpy(items), torch.from_numpy(mask))
    with torch.no_grad():
        whole = blocks.generator.wanted(blocks.conditions(asked.histories, asked.stated)).numpy()  # (B, D)
        rest = blocks.generator.wanted(_moved(blocks, conditions, asked)).numpy()  # (B, M, D)
    told = False if asked.stated is None else asked.stated.any(axis=1)
    nothing_left = ((asked.histories.lengths == 1) & ~np.asarray(told))[:, None, None]
    rest = np.where(nothing_left, np.float32(blocks.weights.unknown) * rest, rest)
    weights = blocks.fading_weights(asked.histories.lengths)[0]
    lost = np.zeros((*asked.history.shape, asked.items.shape[1]), np.float32)
    lost[inside] = (weights[:, None] * (whole[:, None] - rest) @ vectors.transpose(0, 2, 1))[mask]
    return weights * np.einsum("bd,bkd->bk", whole, vectors), lost


def _moved(blocks: Blocks, conditions: torch.Tensor, asked: Asked) -> torch.Tensor:
    """Conditions (B, M, C), moved by what the users state as much as that of the whole history."""
    if asked.stated is None or blocks.preferences is None:
        return conditions
    n_places = conditions.shape[1]
    stated = torch.from_numpy(np.repeat(asked.stated, n_places, axis=0))
    lengths = torch.from_numpy(np.repeat(asked.histories.lengths, n_places))
    moved: torch.Tensor = blocks.preferences(conditions.flatten(0, 1), stated, lengths)
    return moved.reshape(conditions.shape)


def dense(block: LowRank, weight: float, asked: Asked) -> Lost:
    """A sum over the history, so that each item's contribution is its own term.

    Example:
        >>> block = LowRank(np.eye(3, dtype=np.float32), np.arange(9, dtype=np.float32).reshape(3, 3))
        >>> asked = Asked.of(Histories.from_lists([np.array([0, 1])], 3), np.array([[2]]))
        >>> dense(block, 1.0, asked)[1].ravel().tolist()
        [6.0, 7.0]
    """
    lost = np.zeros((*asked.history.shape, asked.items.shape[1]), np.float32)
    for user, length in enumerate(asked.histories.lengths):
        lost[user, :length] = block.fold[asked.history[user, :length]] @ block.columns[asked.items[user]].T
    lost *= np.float32(weight) * asked.weights[..., None]
    return lost.sum(axis=1), lost


def factors(block: Factors, weight: float, asked: Asked) -> Lost:
    """The solution of the equations without one item, from the one with all of them (Sherman and Morrison, 1950).

    With the equations' matrix A, `g = A^-1 y` of an item y of the history, and the solution w, the solution without it
    is `w - s g (1 - w . y) / (1 - s g . y)`, where s is the weight of the event.

    Example:
        >>> block = Factors(np.eye(2, dtype=np.float32), unseen=0.5, ridge=0.5)
        >>> asked = Asked.of(Histories.from_lists([np.array([1])], 2), np.array([[1]]))
        >>> factors(block, 1.0, asked)[1].ravel().round(6).tolist()
        [0.5]
    """
    had = torch.from_numpy(block.columns[asked.history] * asked.there[..., None])  # (B, L, R)
    columns = torch.from_numpy(block.columns[asked.items])  # (B, K, R)
    share = torch.from_numpy(asked.weights).sqrt()  # (B, L)
    counted = had * share.unsqueeze(2)
    root = torch.linalg.cholesky(torch.baddbmm(block.prior, counted.transpose(1, 2), counted))
    wanted = torch.cholesky_solve((counted * share.unsqueeze(2)).sum(1).unsqueeze(2), root)  # (B, R, 1)
    half = torch.linalg.solve_triangular(root, counted.transpose(1, 2), upper=False)  # (B, R, L)
    asked_half = torch.linalg.solve_triangular(root, columns.transpose(1, 2), upper=False)  # (B, R, K)
    factor = share * (1.0 - (had @ wanted).squeeze(2)) / (1.0 - half.square().sum(1))  # (B, L)
    lost = weight * factor.unsqueeze(2) * (half.transpose(1, 2) @ asked_half)
    return (weight * (columns @ wanted).squeeze(2)).numpy(), lost.numpy()


def sparse(block: SparseRows, weight: float, asked: Asked) -> Lost:
    """An item's own entry, less what older items gain because they are one place nearer to the newest.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> block = SparseRows(csr_matrix(np.array([[0, 0, 4], [0, 0, 1], [0, 0, 0]], np.float32)), decay=0.5)
        >>> asked = Asked.of(Histories.from_lists([np.array([0, 1])], 3), np.array([[2]]))
        >>> sparse(block, 1.0, asked)[1].ravel().tolist()
        [2.0, -1.0]
    """
    shape = (*asked.history.shape, asked.items.shape[1])
    rows = np.broadcast_to(asked.history[:, :, None], shape).ravel()
    entries = np.asarray(block.sorted_rows[rows, np.broadcast_to(asked.items[:, None], shape).ravel()])
    entries = weight * entries.reshape(shape) * asked.weights[..., None]
    age = np.maximum(asked.histories.lengths[:, None] - 1 - np.arange(shape[1]), 0)
    own = block.weight(age)[..., None] * entries
    gained = (block.weight(np.maximum(age - 1, 0)) - block.weight(age))[..., None] * entries
    older = np.cumsum(gained, axis=1) - gained
    lost = np.where(asked.there[..., None], own - older, 0.0)
    return own.sum(axis=1).astype(np.float32), lost.astype(np.float32)
