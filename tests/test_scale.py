"""A training that takes every way of large catalogues, on a small one."""

from __future__ import annotations

import pytest

import recgan
from recgan.training import closed, module, scoring, validation
from recgan.training.module import ConditionalGAN


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_the_ways_of_large_catalogues_lead_to_a_good_model(interactions, small_config, monkeypatch, encoder):
    for some in (closed, scoring, validation):
        monkeypatch.setattr(some, "WHOLE", 10)
    monkeypatch.setattr(module, "SAMPLED", 10)
    monkeypatch.setattr(validation, "MEASURED", 40 * 60)
    by_rows, step = [], ConditionalGAN.training_step

    def noted(self, *arguments):
        by_rows.append((self.phase, self.by_rows))
        return step(self, *arguments)

    monkeypatch.setattr(ConditionalGAN, "training_step", noted)
    frame = interactions.assign(position=range(len(interactions))) if encoder == "sequence" else interactions
    config = small_config.changed(full_softmax_items=1, n_negatives=3, game_steps=4, encoder=encoder, epochs=8)
    info = recgan.train(frame, config=config).info()
    assert set(by_rows) == {("ranking", True), ("game", False)}
    assert info["ablation"]["both"] > 1.2 * info["ablation"]["popularity"]
    assert info["ablation"]["generator"] > 1.2 * info["ablation"]["popularity"]
