"""Metrics beside other libraries: ir-measures on random cases here, RecTools and LensKit on stored figures."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from recgan.errors import DataError
from recgan.evaluation import evaluate

CASES = 1200
MEASURES = {"ndcg": nDCG, "precision": P, "recall": R, "map": AP, "mrr": RR, "hit": Success}
STORED = Path(__file__).parent / "fixtures" / "parity.json"


def case(number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A random case: ties, negative scores, short lists, users without a list, and lists without a truth."""
    random = np.random.default_rng(number)
    users = [f"u{user}" for user in range(random.integers(1, 6))]
    items = np.array([f"i{item}" for item in range(random.integers(1, 30))])
    lists, truth = [], []
    for user in users:
        shown = random.permutation(items)[: random.integers(0, len(items) + 1)]
        scores = random.integers(-3, 3, len(shown)) if random.random() < 0.5 else random.normal(size=len(shown))
        lists.append(pd.DataFrame({"user_id": user, "item_id": shown, "score": scores.astype(float)}))
        wanted = random.permutation(items)[: random.integers(0, 8)]
        truth.append(pd.DataFrame({"user_id": user, "item_id": wanted}))
    truth.append(pd.DataFrame({"user_id": ["nobody's"], "item_id": ["i0"]}))
    return pd.concat(lists, ignore_index=True), pd.concat(truth, ignore_index=True)


@pytest.mark.parametrize("part", range(4))
def test_equal_to_ir_measures_on_random_cases(part):
    checked = 0
    for number in range(part * CASES // 4, (part + 1) * CASES // 4):
        lists, truth = case(number)
        ks = (1, 3, 10)
        wanted = {f"{name}@{k}": measure @ k for name, measure in MEASURES.items() for k in ks}
        found = evaluate(lists, truth, list(wanted), per_user=True).set_index("user_id")
        assert set(found.index) == set(truth["user_id"])
        # Ties: recgan keeps the order of the rows; ir-measures would break them by id, so it is given places.
        order = lists.sort_values("score", ascending=False, kind="stable")
        places = order.groupby("user_id").cumcount()
        run = pd.DataFrame({"query_id": order["user_id"], "doc_id": order["item_id"], "score": -places.astype(float)})
        qrels = pd.DataFrame({"query_id": truth["user_id"], "doc_id": truth["item_id"], "relevance": 1})
        expected = np.zeros((len(found), len(wanted)))
        row = {user: place for place, user in enumerate(found.index)}
        column = {measure: place for place, measure in enumerate(wanted.values())}
        for one in ir_measures.iter_calc(list(column), qrels, run) if len(run) else ():
            expected[row[one.query_id], column[one.measure]] = one.value
        np.testing.assert_allclose(found[list(wanted)], expected, rtol=0, atol=1e-9)
        mean = evaluate(lists, truth, list(wanted))
        np.testing.assert_allclose(list(mean.values()), expected.mean(axis=0), rtol=0, atol=1e-9)
        assert found.to_numpy().min() >= 0
        assert found.to_numpy().max() <= 1
        checked += found.size
    assert checked > 10_000


def test_figures_of_other_libraries_are_as_stored():
    """Equal where the definition is the same; where it is not, by as much as the stored reason says."""
    stored = json.loads(STORED.read_text())
    lists, truth = pd.DataFrame(stored["lists"]), pd.DataFrame(stored["truth"])
    own = evaluate(lists, truth, list(stored["recgan"]))
    assert own == pytest.approx(stored["recgan"], abs=1e-12)
    for library, told in stored["libraries"].items():
        assert told["version"]
        for name, value in told["figures"].items():
            differs = told["differs"].get(name)
            assert (abs(own[name] - value) < 1e-6) == (differs is None), (library, name, own[name], value)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=2, max_size=12))
def test_repeated_items_are_refused_and_no_others(rows):
    lists = pd.DataFrame(rows, columns=["user_id", "item_id"]).assign(rank=range(1, len(rows) + 1))
    truth = pd.DataFrame({"user_id": [0], "item_id": [0]})
    if lists.duplicated(["user_id", "item_id"]).any():
        with pytest.raises(DataError, match="repeated"):
            evaluate(lists, truth, "ndcg@5")
    else:
        assert 0 <= evaluate(lists, truth, "ndcg@5")["ndcg@5"] <= 1
