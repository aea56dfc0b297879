"""Which dense linear block a run tries, and what decides."""

from __future__ import annotations

import numpy as np
import pytest

from recgan import linear
from recgan.training import closed
from recgan.training.closed import ClosedForms
from recgan.training.data import read_data
from recgan.training.scoring import by_block


@pytest.fixture(scope="module")
def forms(interactions, small_config):
    data = read_data(interactions, None, None, None, small_config)
    return ClosedForms(data.histories, data.validation, seed=0)


@pytest.fixture
def large(monkeypatch):
    """A catalogue whose whole spectrum cannot be had, and small ranks."""
    monkeypatch.setattr(closed, "EASE_ITEMS", 0)
    monkeypatch.setattr(closed.linear, "FULL_SPECTRUM", 0)
    monkeypatch.setattr(closed, "LOW_PASS", (2, 4, 8))
    return monkeypatch


def ranks_tried(forms, monkeypatch, value) -> list[int]:
    """Ranks in the order in which they are tried, where a block is worth what `value` says of its rank."""
    tried = []

    def valued(self, scorer):
        tried.append(scorer.columns.shape[1])
        return value(tried[-1])

    monkeypatch.setattr(ClosedForms, "_value", valued)
    best = forms.dense()
    assert best.settings["rank"] == max(tried, key=value)
    return tried


def test_ranks_are_doubled_for_as_long_as_that_is_better(forms, large):
    assert ranks_tried(forms, large, lambda rank: rank) == [2, 4, 8, 16, 32]
    assert ranks_tried(forms, large, lambda rank: -abs(rank - 16)) == [2, 4, 8, 16, 32]
    assert ranks_tried(forms, large, lambda rank: -rank) == [2, 4, 8]


def test_ranks_stay_within_what_can_be_held(forms, large):
    n_rows = len(forms.histories) + forms.histories.n_items
    large.setattr(closed, "LOW_PASS_CELLS", 6 * n_rows)
    assert ranks_tried(forms, large, lambda rank: rank) == [2, 4, 6]
    large.setattr(closed, "LOW_PASS_CELLS", 0)
    assert ranks_tried(forms, large, lambda rank: rank) == [2]


def test_a_chosen_low_pass_filter_can_be_fitted_anew(forms, large):
    best = forms.dense()
    again = best.fit(forms.histories)
    np.testing.assert_allclose(again.scores(forms.histories), best.block.scores(forms.histories), atol=1e-3)
    assert best.value == pytest.approx(forms._value(by_block(best.block)))


@pytest.mark.parametrize(("winner", "name"), [("ease", "regularisation"), ("low_pass", "rank")])
def test_in_between_both_are_tried_and_the_better_one_is_taken(forms, monkeypatch, winner, name):
    monkeypatch.setattr(closed.linear, "FULL_SPECTRUM", 10)
    monkeypatch.setattr(closed, "LOW_PASS", (4,))
    wide = linear.ease(linear.spectrum(forms.histories), 20.0).columns.shape[1]
    good = {"ease": lambda rank: rank == wide, "low_pass": lambda rank: rank != wide}[winner]
    monkeypatch.setattr(ClosedForms, "_value", lambda self, scorer: float(good(scorer.columns.shape[1])))
    assert next(iter(forms.dense().settings)) == name


@pytest.mark.parametrize("small", [True, False])
def test_neighbours_that_keep_what_is_popular_are_tried_in_small_catalogues(forms, monkeypatch, small):
    if not small:
        monkeypatch.setattr(closed, "WHOLE", forms.histories.n_items - 1)
    tried = []
    monkeypatch.setattr(forms, "_rows", lambda fit, block, settings: tried.append(settings) or rated(settings))

    def rated(settings):
        return closed.Chosen(lambda histories: None, None, 1.0 - settings["to_power"], settings)

    monkeypatch.setattr(type(forms.histories), "ordered", False)
    found = forms.sparse().settings
    assert tried == [*closed.NEIGHBOURS, *[closed.POPULAR_NEIGHBOURS] * small]
    assert found == (closed.POPULAR_NEIGHBOURS if small else closed.NEIGHBOURS[0])
