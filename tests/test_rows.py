from __future__ import annotations

import numpy as np
import pytest
import torch
from test_training import N, batch_of, histories, module  # noqa: F401

from recgan import losses
from recgan.training.rows import PORTION, RowAdam, RowAverage, Rows
from recgan.training.team import Team

SETTINGS = {"full_softmax_items": 1, "n_negatives": 2}


def sparse(table: torch.nn.Parameter, rows: list[int], gradient: torch.Tensor) -> None:
    some = Rows.of(table, torch.tensor(rows))
    some.values.grad = gradient
    some.hand_over()


def test_rows_that_all_move_in_every_step_move_as_under_adamw():
    torch.manual_seed(0)
    table, same = (torch.nn.Parameter(torch.arange(5.0).unsqueeze(1)) for _ in range(2))
    ours, theirs = RowAdam([table], 0.1, 0.3), torch.optim.AdamW([same], lr=0.1, weight_decay=0.3)
    for _ in range(7):
        same.grad = torch.randn(5, 1)
        sparse(table, list(range(5)), same.grad.clone())
        ours.step(), theirs.step()
    torch.testing.assert_close(table, same)


def test_every_row_counts_its_own_steps_and_the_others_rest():
    torch.manual_seed(0)
    table = torch.nn.Parameter(torch.randn(4, 3))
    start, optimizer = table.detach().clone(), RowAdam([table], 0.1, 0.0)
    gradients = {rows: torch.randn(len(rows), 3) for rows in [(0, 2), (2, 3), (0, 2)]}
    steps = [(0, 2), (2, 3), (0, 2)]
    for rows in steps:
        sparse(table, list(rows), gradients[rows])
        optimizer.step()
    assert torch.equal(table[1], start[1])
    for row in (0, 2, 3):
        expected, mean, square, count = start[row].clone(), torch.zeros(3), 0.0, 0
        for rows in steps:
            if row in rows:
                gradient, count = gradients[rows][rows.index(row)], count + 1
                mean = 0.9 * mean + 0.1 * gradient
                square = 0.999 * square + 0.001 * float(gradient.square().mean())
                root = (square / (1 - 0.999**count)) ** 0.5 + 1e-8
                expected -= 0.1 * mean / (1 - 0.9**count) / root
        torch.testing.assert_close(table[row].detach(), expected)


@pytest.mark.parametrize("n_rows", [6, PORTION + 3])
def test_an_average_of_rows_is_the_average_of_every_step(n_rows):
    torch.manual_seed(0)
    table = torch.randn(n_rows, 2)
    slow, average = table.clone(), RowAverage({"a": table}, {"a": table.clone()})
    for step in range(9):
        rows = torch.randperm(n_rows)[:3].sort().values
        average.before("a", rows)
        table[rows] += torch.randn(3, 2)
        decay = min(0.9, step / 5)
        average.step(decay)
        slow.lerp_(table, 1.0 - decay)
        if step in (4, 8):
            torch.testing.assert_close(average.whole()["a"], slow)


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_loss_and_gradients_by_rows_are_those_of_the_whole_tables(histories, encoder, known, shared):  # noqa: F811
    some, batch = module(encoder, game=False, **SETTINGS), batch_of(histories, encoder, game=False)
    some.generator.eval()
    if shared:
        some.generator.share(torch.rand(N, 5) * (torch.rand(N, 5) < 0.4))
        torch.nn.init.normal_(some.generator.shared.vectors)
    if not known and encoder == "bag":
        batch["mask"] = torch.zeros_like(batch["mask"])
    pool = torch.tensor([3, 17, 3, 39])
    whole = some.ranking(batch, pool)
    whole.backward()
    expected = {name: value.grad.clone() for name, value in some.generator.named_parameters() if value.grad is not None}
    some.generator.zero_grad(set_to_none=True)
    loss, rows = some.ranking.by_rows(batch, pool, Team())
    loss.backward()
    for one in rows.values():
        one.hand_over()
    torch.testing.assert_close(loss, whole)
    assert set(rows) == ({"vectors", "encoder.embeddings"} if encoder == "bag" else {"vectors"})
    for name, value in some.generator.named_parameters():
        if name in expected:
            torch.testing.assert_close(value.grad.to_dense(), expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_a_step_moves_the_rows_that_it_reads_and_the_average_follows(histories, encoder):  # noqa: F811
    some, batch = module(encoder, game=False, **SETTINGS), batch_of(histories, encoder, game=False)
    batch = {name: value[:2] for name, value in batch.items()}
    assert some.by_rows
    optimizers = some.configure_optimizers()
    some.optimizers, some.manual_backward = lambda: optimizers, lambda loss: loss.backward()
    before = {name: value.clone() for name, value in some.generator.state_dict().items()}
    some.training_step(batch, 0)
    moved = (some.generator.vectors != before["vectors"]).any(1).nonzero()[:, 0]
    assert 0 < len(moved) < N
    assert set(moved.tolist()) <= set(some.rows["vectors"].numbers.tolist())
    for name, value in some.generator.state_dict().items():
        expected = before[name].lerp(value, 1.0 - 2.0 / 11.0)
        torch.testing.assert_close(some.average[name], expected)


def test_a_small_catalogue_keeps_whole_tables():
    assert not module(game=False, full_softmax_items=1, n_negatives=3).by_rows
    assert not module(game=False).by_rows
    assert not module(game=True, **SETTINGS).by_rows


def test_a_users_own_targets_are_found_in_the_sample():
    random = np.random.default_rng(0)
    for _ in range(20):
        targets, pool = torch.from_numpy(random.integers(0, 9, (6, 4))), torch.from_numpy(random.integers(0, 9, 12))
        mask = torch.from_numpy(random.random((6, 4)) < 0.6)
        expected = ((targets.unsqueeze(2) == pool) & mask.unsqueeze(2)).any(1)
        assert torch.equal(losses.hits(targets, mask, pool), expected)
