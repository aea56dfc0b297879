"""What the adversary is worth on MovieLens-100K: validation NDCG@10 over three splits for several weights of the game.

    python scripts/benchmarks/adversary.py [--weights 0 0.5 2] [--splits 3]

Prints, for every weight, the means over the splits of the ablation (both blocks; with the discriminator as ranker, out
of fold), the discriminator's last loss in the game (chance is ln 2 = .693) and the spread of the draws (1 - cosine).
"""

from __future__ import annotations

import argparse

import pandas as pd

import recgan


def measure(liked: pd.DataFrame, data: recgan.Dataset, weight: float, seed: int) -> dict[str, float]:
    """One training run on one split."""
    split = recgan.split_ratio(liked, seed=seed)
    config = recgan.Config(adversarial_weight=weight, progress=False)
    model = recgan.train(
        split.train, data.items, users=data.users, validation=split.validation, config=config, seed=seed
    )
    info = model.info()
    return {
        "both": info["ablation"]["both"],
        "with ranker": info["ablation"]["both + discriminator"],
        "discriminator loss": info["game"]["curve"][-1]["discriminator"],
        "spread": info["alarms"]["spread"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 2.0])
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args()
    data = recgan.load_dataset("ml-100k")
    liked = recgan.read_interactions(data.interactions, min_rating=4)
    rows = {
        weight: pd.DataFrame([measure(liked, data, weight, seed) for seed in range(options.splits)]).mean()
        for weight in options.weights
    }
    print(pd.DataFrame(rows).T.rename_axis("weight of the game").round(4).to_string())


if __name__ == "__main__":
    main()
