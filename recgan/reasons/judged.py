"""What the second stage's correction loses without each item of a history: its pair features, one item left out."""

from __future__ import annotations

import numpy as np
import torch

from recgan.features import COMPARED, Habit, ItemTraits, habits_of, pair_columns
from recgan.ranking import Judge
from recgan.reasons.parts import Asked, Lost


def judged(judge: Judge, weight: float, asked: Asked, profiles: np.ndarray, relevance: Lost) -> Lost:
    """The discriminator's part: its correction for a user who had everything but one item.

    Args:
        judge: the second stage.
        weight: what it counts.
        asked: users and items.
        profiles: user features, (B, P) float32.
        relevance: of stage one, (B, K), and what it loses, (B, L, K).

    Returns:
        Its correction, (B, K), and what that loses, (B, L, K), float32.
    """
    scores, gone = relevance
    whole = _corrections(judge, habits_of(judge.traits, asked.histories, asked.items), profiles, asked.items, scores)
    shape = (*asked.history.shape, asked.items.shape[1])
    rest = _habits_without_each(judge.traits, asked)
    rows = np.repeat(np.arange(len(asked.items)), shape[1])
    left = _corrections(judge, rest, profiles[rows], asked.items[rows], (scores[:, None] - gone).reshape(-1, shape[2]))
    lost = np.where(asked.there[..., None], whole[:, None] - left.reshape(shape), np.float32(0.0))
    return np.float32(weight) * whole, np.float32(weight) * lost


def _corrections(
    judge: Judge, habit: Habit, profiles: np.ndarray, items: np.ndarray, relevance: np.ndarray
) -> np.ndarray:
    features = np.concatenate([pair_columns(judge.traits, habit, profiles, items), relevance[..., None]], axis=-1)
    with torch.no_grad():
        return np.asarray(judge.discriminator(torch.from_numpy(features.astype(np.float32))).numpy())


def _habits_without_each(traits: ItemTraits, asked: Asked) -> Habit:
    """Habits of the users without each of their items, B x L of them one behind the other."""
    rest = np.maximum(asked.histories.lengths - 1, 0)[:, None]  # (B, 1)
    means = []
    for values in (traits.popularity[:, None], traits.categories, traits.year[:, None]):
        taken = np.where(asked.there[..., None], values[asked.history], 0.0)
        mean = (taken.sum(axis=1, keepdims=True) - taken) / np.maximum(rest, 1)[..., None]
        means.append(
            np.where(rest[..., None] > 0, mean, 0.0).reshape(asked.there.size, values.shape[1]).astype(np.float32)
        )
    lengths = np.broadcast_to(rest, asked.there.shape).ravel()
    return Habit(lengths, means[0][:, 0], means[1], means[2][:, 0], _similarities_without_each(traits.vectors, asked))


def _similarities_without_each(vectors: np.ndarray, asked: Asked) -> np.ndarray:
    """Nearest, mean and newest cosine without each item, (B x L, 3, K); an item out of reach changes nothing."""
    items, mask, inside = asked.newest(COMPARED + 1)
    cosines = vectors[items] @ vectors[asked.items].transpose(0, 2, 1)  # (B, M, K)
    cosines = np.where(mask[..., None], cosines, -1.0)
    count = mask.sum(axis=1)
    found = np.stack([_nearest(cosines), _mean(cosines, mask, count), _newest(cosines, count)], axis=2)
    found *= (count > 1)[:, None, None, None]
    oldest = np.repeat(found[:, :1], asked.there.shape[1], axis=1)  # without it the window stays as it is
    oldest[inside] = found[mask]
    return oldest.reshape(-1, 3, found.shape[-1]).astype(np.float32)


def _nearest(cosines: np.ndarray) -> np.ndarray:
    place = cosines.argmax(axis=1)[:, None]
    others = cosines.copy()
    np.put_along_axis(others, place, -1.0, axis=1)
    best, second = np.take_along_axis(cosines, place, 1), others.max(axis=1, keepdims=True)
    return np.where(np.arange(cosines.shape[1])[:, None] == place, second, best)


def _mean(cosines: np.ndarray, mask: np.ndarray, count: np.ndarray) -> np.ndarray:
    there = np.where(mask[..., None], cosines, 0.0)
    return np.asarray((there.sum(axis=1, keepdims=True) - there) / np.maximum(count - 1, 1)[:, None, None])


def _newest(cosines: np.ndarray, count: np.ndarray) -> np.ndarray:
    rows, last = np.arange(len(cosines)), np.maximum(count - 1, 0)
    newest, next_one = cosines[rows, last][:, None], cosines[rows, np.maximum(last - 1, 0)][:, None]
    is_last = np.arange(cosines.shape[1]) == last[:, None]
    return np.asarray(np.where(is_last[..., None], next_one, newest))
