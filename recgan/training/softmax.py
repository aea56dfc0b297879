"""The ranking loss of a batch: softmax over every item, or over a sample, of which a step reads only its own rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recgan import losses
from recgan.halves import fast
from recgan.networks import Generator, SequenceEncoder
from recgan.training.batches import Batch
from recgan.training.rows import Rows
from recgan.training.team import Team

UNREACHABLE = -1e4
VECTORS, EMBEDDINGS = "vectors", "encoder.embeddings"
"""Names, in the state of a generator, of the vectors that are looked for and of those that a bag reads."""
SHARED = "shared.vectors"
"""Name of what the item vectors of a category share."""
MASKS = {"items": "mask", "targets": "target_mask"}
"""Item numbers of a batch, and what tells where one stands."""


class RankingLoss(nn.Module):
    """Softmax cross-entropy of every target, with the noise-free vector.

    Args:
        generator: whose vectors are compared.
        full_softmax: whether the softmax runs over every item, or over a sample.
        n_negatives: size of the sample.
        trend: log popularity at the moments that batches name, (M, N), which is added to the logits; None for none.
        mixed: whether the logits may be of bfloat16, where these are multiplied faster.
    """

    def __init__(
        self, generator: Generator, full_softmax: bool, n_negatives: int, trend: Tensor | None, mixed: bool = False
    ) -> None:
        super().__init__()
        self.generator = generator
        self.full_softmax = full_softmax
        self.n_negatives = n_negatives
        self.mixed = mixed
        self.n_items = len(generator.vectors)
        self.trend: Tensor | None
        self.register_buffer("trend", trend, persistent=False)

    def forward(self, batch: Batch, pool: Tensor | None = None) -> Tensor:
        """The loss of a batch, a scalar, against negatives (P,) int64, or against every item where there are none."""
        generator = self.generator
        if isinstance(generator.encoder, SequenceEncoder) and "targets" not in batch:
            states = generator.states(batch["items"][:, :-1])[batch["mask"]]  # (T, C)
            targets = batch["items"][batch["mask"]].unsqueeze(1)  # (T, 1)
            there = torch.ones_like(targets, dtype=torch.bool)
            when = batch["when"][batch["mask"]] if self.trend is not None else None
            weights = batch["target_weights"][batch["mask"]].unsqueeze(1) if "target_weights" in batch else None
            return self._softmax(generator.wanted(states), targets, there, None, when, weights, pool)
        condition = generator.condition(batch["items"], batch["mask"])
        targets, mask = batch["targets"], batch["target_mask"]
        weights = batch.get("target_weights")
        return self._softmax(generator.wanted(condition), targets, mask, batch, batch.get("when"), weights, pool)

    def _softmax(
        self,
        wanted: Tensor,
        targets: Tensor,
        mask: Tensor,
        batch: Batch | None,
        when: Tensor | None,
        weights: Tensor | None,
        pool: Tensor | None,
    ) -> Tensor:
        vectors = self.generator.item_vectors()
        fashion, halves = self._fashion(when, pool), self.mixed and fast(wanted.device.type)
        if pool is None:
            chosen, whole = losses.log_sums(wanted, vectors, fashion, _history(batch), targets, halves)
            return losses.user_mean(chosen - whole, mask, weights)
        rows, columns = mask.nonzero(as_tuple=True)
        items = targets[rows, columns]  # only where a target stands: histories differ in length
        values = (wanted.index_select(0, rows) * vectors.index_select(0, items)).sum(-1)
        if when is not None and self.trend is not None:
            values = values + self.trend[when[rows], items]
        chosen = values.new_zeros(mask.shape).index_put((rows, columns), values)  # (B, T)
        own = losses.hit_places(targets, mask, pool)
        _, rest = losses.log_sums(wanted, vectors.index_select(0, pool), fashion, own, targets[:, :0], halves)
        return losses.sampled_loss(chosen, rest, self.n_items / len(pool), mask, weights)

    def negatives(self, device: torch.device, luck: torch.Generator) -> Tensor | None:
        """A sample of the catalogue, (P,) int64, or None for all of it."""
        if self.full_softmax:
            return None
        return torch.randint(self.n_items, (self.n_negatives,), generator=luck).to(device)

    def in_fashion(self, logits: Tensor, when: Tensor | None, pool: Tensor | None = None) -> Tensor:
        """Logits (B, N), or (B, P) of a pool, with the log popularity of their time."""
        added = self._fashion(when, pool)
        return logits if added is None else logits + added

    def _fashion(self, when: Tensor | None, pool: Tensor | None) -> Tensor | None:
        if when is None or self.trend is None:
            return None
        return (self.trend if pool is None else self.trend[:, pool])[when]

    def by_rows(self, batch: Batch, pool: Tensor, team: Team) -> tuple[Tensor, dict[str, Rows]]:
        """The loss of a batch as a function of the rows that it reads, so that nothing of the size of N is made.

        Args:
            batch: of all processes.
            pool: the negatives, (P,) int64.
            team: of which this process computes its part.

        Returns:
            The part of the loss, and the rows of every table of item vectors that the loss of all hangs on.
        """
        local, pool, read = self._renumbered(batch, pool)
        part, share = team.part(local)
        parameters = dict(self.generator.named_parameters())
        rows = {name: Rows.of(parameters[name], numbers) for name, numbers in read.items()}
        swapped = {f"generator.{name}": some.values for name, some in rows.items()}
        if self.generator.shared is not None:
            shared = dict(self.generator.shared.named_buffers())
            swapped |= {f"generator.shared.{name}": some[read[VECTORS]] for name, some in shared.items()}
        if self.trend is not None:
            swapped["trend"] = self.trend[:, read[VECTORS]]
        return share * functional_call(self, swapped, (part, pool)), rows

    def _renumbered(self, batch: Batch, pool: Tensor) -> tuple[Batch, Tensor, dict[str, Tensor]]:
        """A batch and a sample in numbers of the rows that they read, and which rows these are, by table."""
        there = {name: batch[name][batch[mask]] for name, mask in MASKS.items() if name in batch}
        parts, read = {"pool": pool, **there}, {}
        places: dict[str, Tensor] = {}
        if self.generator.encoder.kind == "bag":
            first = pool.new_zeros(1)  # so that there is a row where all conditions are empty
            read[EMBEDDINGS], (_, places["items"]) = _renumbered([first, parts.pop("items")])
        read[VECTORS], found = _renumbered(list(parts.values()))
        places |= dict(zip(parts, found, strict=True))
        local = {name: torch.zeros_like(batch[name]) for name in there}
        for name, numbers in local.items():
            numbers[batch[MASKS[name]]] = places[name]
        return {**batch, **local}, places["pool"], read


def _renumbered(parts: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The distinct numbers of some parts, ascending, and the parts in places among these."""
    rows, places = torch.unique(torch.cat(parts), return_inverse=True)
    return rows, places.split([len(part) for part in parts])


def without_history(logits: Tensor, batch: Batch) -> Tensor:
    """The condition's own items are no candidates: (B, N) with those set to a large negative value."""
    return logits.index_put(_history(batch), torch.full((1,), UNREACHABLE, device=logits.device))


def _history(batch: Batch | None) -> tuple[Tensor, Tensor]:
    """Rows and items of all conditions; none where there is no batch of them."""
    if batch is None:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    rows, places = batch["mask"].nonzero(as_tuple=True)
    return rows, batch["items"][rows, places]
