from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import recgan
from recgan import Config, ConfigError
from recgan.config import METRICS
from recgan.metrics import RANKING


def test_unknown_and_bad_settings_are_told_together():
    with pytest.raises(ConfigError, match=r"(?s)'epoch': no such setting.*'batch_size'|'batch_size'.*'epoch'"):
        Config(epoch=3, batch_size=0)


def test_config_is_frozen_and_is_a_value_error():
    with pytest.raises(ValueError, match="frozen"):
        Config().epochs = 3
    with pytest.raises(ValueError, match="learning_rate"):
        Config(learning_rate=float("nan"))


def test_the_names_of_the_metrics_are_those_of_the_metrics():
    assert METRICS.split("|") == list(RANKING)


@pytest.mark.parametrize("metric", ["ndcg", "ndcg@0", "NDCG@10", "ngcd@10", "coverage@10"])
def test_metric_must_have_a_depth(metric):
    with pytest.raises(ConfigError, match="metric"):
        Config(metric=metric)


def test_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"epochs": 7}), encoding="utf-8")
    assert Config.read(path).epochs == 7
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match="no JSON object"):
        Config.read(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(tmp_path / "none.json")


def test_every_field_is_read_somewhere_and_described():
    package = Path(recgan.__file__).parent
    code = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.name != "config.py")
    for name in Config.model_fields:
        assert re.search(rf"config\.{name}\b", code), f"nobody reads {name}"
        assert f"        {name}: " in (Config.__doc__ or "")
