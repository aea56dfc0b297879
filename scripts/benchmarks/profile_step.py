"""What a step of the ranking phase is made of, and how near each part is to what the machine can do.

    python scripts/benchmarks/profile_step.py [--out FILE] [--cases bag,rows,sequence] [--steps 100]

Three cases with planted data and the default settings: a bag with the softmax over every item, a bag of which a step
moves only some rows, and sequences with a sampled softmax. A part's floor is its multiplications at the rate of the
same products by themselves, plus the least bytes that its operations move at the bandwidth of an addition of arrays
as long; both are measured here, on the same thread. "of the floor" is the floor as a share of the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import FLOAT, Machine, Work, work
from measuring import write_json
from planting import Planted
from results import environment, plain
from tables import NOTHING, Sheet, show
from torch.utils.data import IterableDataset

import recgan
from recgan.histories import Histories
from recgan.networks import Generator, build_generator
from recgan.schema import ITEM, USER
from recgan.training.batches import Batch, SequenceBatches, SplitBatches
from recgan.training.fitting import run_phase, seeded
from recgan.training.module import ConditionalGAN
from recgan.training.plan import Plan, plan
from recgan.vocabulary import Vocabulary

HERE = Path(__file__).parent
WARM = 20
"""Steps before the clock runs."""
CASES = {
    "bag": ("bag, softmax over 3,700 items", Planted(575_000, 3_700, 6_000)),
    "rows": ("bag, rows of 100,000 items", Planted(1_000_000, 100_000, 50_000)),
    "sequence": ("sequences, sample of 12,000 items", Planted(200_000, 12_000, 22_000, ordered=True)),
}
PARTS = ("batch", "rows", "encoder forward", "softmax forward", "softmax backward", "encoder backward")
PARTS = (*PARTS, "clipping", "optimizer", "average", "rest")


class Laps:
    """Processor seconds of the parts of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.step = dict.fromkeys(PARTS, 0.0)
        self.last = time.process_time()

    def lap(self, part: str) -> None:
        """What has passed since the last call belongs to this part."""
        now = time.process_time()
        self.step[part] += now - self.last
        self.last = now

    def turn(self) -> None:
        """The step is over."""
        self.steps.append(self.step)
        self.step = dict.fromkeys(PARTS, 0.0)

    def usual(self) -> dict[str, float]:
        """Median seconds of every part after the first steps: other work on the machine shows in the mean."""
        return {part: float(np.median([step[part] for step in self.steps[WARM:]])) for part in PARTS}


class Timed(IterableDataset[Batch]):
    """Batches whose making is a part; what they hold is counted."""

    def __init__(self, batches: SequenceBatches | SplitBatches, laps: Laps) -> None:
        self.batches, self.laps = batches, laps
        self.sizes: list[dict[str, int]] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.batches)
        while True:
            self.laps.lap("rest")
            batch = next(batches, None)
            self.laps.lap("batch")
            if batch is None:
                return
            self.sizes.append(sizes(batch))
            yield batch


def sizes(batch: Batch) -> dict[str, int]:
    """Users of a batch, places of its histories, items in them, and targets."""
    users, places = batch["items"].shape
    items = int(batch["mask"].sum())
    targets = int(batch["target_mask"].sum()) if "targets" in batch else items
    return {"users": users, "places": places, "items": items, "targets": targets}


class Profiled(ConditionalGAN):
    """A module that tells the parts of its steps apart."""

    def __init__(self, laps: Laps, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.laps = laps
        self.moved: list[dict[str, int]] = []
        _watch(self.generator, laps)
        average = self._row_average
        if average is not None:
            average.before = _between(average.before, laps, "clipping", "average")  # type: ignore[method-assign]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Those of training, which tell when they step."""
        found = super().configure_optimizers()
        for optimizer in found:
            optimizer.register_step_pre_hook(lambda *_: self.laps.lap("clipping"))
            optimizer.register_step_post_hook(lambda *_: self.laps.lap("optimizer"))
        return found

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One step, whose parts are timed after the first ones."""
        self.laps.lap("rest")
        super().training_step(batch, batch_index)
        self.moved.append({name: len(some.numbers) for name, some in self.rows.items()})
        self.laps.lap("rest")
        self.laps.turn()

    def ranking_loss(self, batch: Batch) -> torch.Tensor:
        """The loss of training."""
        loss = super().ranking_loss(batch)
        self.laps.lap("softmax forward")
        return loss

    def manual_backward(self, loss: torch.Tensor, *arguments: Any, **settings: Any) -> None:
        """The backward pass of training."""
        self.laps.lap("rest")
        super().manual_backward(loss, *arguments, **settings)
        self.laps.lap("encoder backward")

    def _average(self) -> None:
        self.laps.lap("rest")
        super()._average()
        self.laps.lap("average")


def _between(what: Callable[..., Any], laps: Laps, before: str, after: str) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        laps.lap(before)
        found = what(*arguments)
        laps.lap(after)
        return found

    return timed


def _watch(generator: Generator, laps: Laps) -> None:
    """Where the encoder begins, where its vectors are made, and where their gradient has arrived."""
    wanted = generator.wanted

    def made(condition: torch.Tensor) -> torch.Tensor:
        vectors = wanted(condition)
        vectors.register_hook(lambda gradient: laps.lap("softmax backward"))
        laps.lap("encoder forward")
        return vectors

    generator.wanted = made  # type: ignore[assignment,method-assign]
    for name in ("condition", "states"):
        read = _between(getattr(generator, name), laps, "rows", "encoder forward")
        setattr(generator, name, read)


def profiled(name: str, steps: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The parts of the usual step of a case, with their floors."""
    title, planted = CASES[name]
    config = recgan.Config(progress=False, accelerator="cpu", **settings)
    histories = _histories(planted)
    made = plan(config, histories, "sequence" if planted.ordered else "bag")
    laps = Laps()
    with seeded(config.seed):
        module = _module(laps, histories, made, config, steps)
        batches = Timed(_batches(histories, made, config), laps)
        epochs = -(-(WARM + steps) // len(batches))
        run_phase(module, batches, epochs, None, config, name)
    size = {key: round(float(np.mean([one[key] for one in batches.sizes[WARM:]]))) for key in batches.sizes[0]}
    machine, least = Machine(), work(made, module, size, module.moved[-1])
    parts = []
    for part, seconds in laps.usual().items():
        some = least.get(part, Work())
        products, moving = some.floor(machine)
        told = {"part": part, "seconds": seconds, "flops": some.flops, "bytes": some.numbers * FLOAT}
        parts.append({**told, "floor": {"products": products, "moving": moving}})
    return {
        "case": name,
        "title": title,
        "plan": vars(made),
        "size": size,
        "steps": module.steps - WARM,
        "parts": parts,
    }


def _histories(planted: Planted) -> Histories:
    frame = planted.frame()
    return Histories.from_frame(frame, Vocabulary.of(frame[USER]), Vocabulary(np.arange(planted.n_items), ITEM))


def _batches(histories: Histories, made: Plan, config: recgan.Config) -> SequenceBatches | SplitBatches:
    if made.encoder == "sequence":
        return SequenceBatches(histories, made.window, config.seed)
    return SplitBatches(histories, config.batch_size, made.window, config.seed)


def _module(laps: Laps, histories: Histories, made: Plan, config: recgan.Config, steps: int) -> Profiled:
    vectors = torch.nn.functional.normalize(torch.randn(histories.n_items, config.embedding_dim), dim=1)
    start = {"vectors": vectors}
    generator = build_generator(
        config, made.encoder, start, window=made.window, dropout=made.dropout, layers=made.layers
    )
    rates = {"learning_rate": made.learning_rate, "weight_decay": made.weight_decay}
    plan_of = {"n_steps": WARM + steps, "full_softmax": made.full_softmax}
    return Profiled(laps, generator, None, config, phase="ranking", **rates, **plan_of)


def sheet(case: dict[str, Any]) -> Sheet:
    """The parts of a step."""
    parts = case["parts"]
    whole, floor = (sum(map(of, parts)) for of in (lambda one: one["seconds"], _floor))
    cells = [_cells(one, whole) for one in parts if one["seconds"] > 1e-6]
    last = ["step", f"{1e3 * whole:.2f}", "100 %", NOTHING, NOTHING, NOTHING, f"{1e3 * floor:.2f}"]
    cells.append([*last, f"{floor / whole:.0%}", NOTHING])
    sizes = ", ".join(f"{count:,} {name}" for name, count in case["size"].items())
    columns = ["part", "ms", "share", "GFLOP", "GFLOP/s", "MB", "floor ms", "of the floor", "bound by"]
    return Sheet(f"{case['title']}: a step of {sizes}", columns, cells, left=(8,))


def _floor(part: dict[str, Any]) -> float:
    return float(sum(part["floor"].values()))


def _cells(part: dict[str, Any], whole: float) -> list[str]:
    seconds, floor = part["seconds"], part["floor"]
    cells = [part["part"], f"{1e3 * seconds:.2f}", f"{seconds / whole:.0%}"]
    rate = [f"{part['flops'] / 1e9:.3f}", f"{part['flops'] / seconds / 1e9:.0f}"] if part["flops"] else [NOTHING] * 2
    moved = f"{part['bytes'] / 1e6:.1f}" if part["bytes"] else NOTHING
    if not _floor(part):
        return [*cells, *rate, moved, NOTHING, NOTHING, "interpreter"]
    bound = "matrix products" if floor["products"] > floor["moving"] else "memory"
    return [*cells, *rate, moved, f"{1e3 * _floor(part):.2f}", f"{_floor(part) / seconds:.0%}", bound]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, default=HERE / "results" / "profile-step.json", help="JSON file of the result")
    add("--cases", type=lambda text: text.split(","), default=list(CASES), help=", ".join(CASES))
    add("--steps", type=int, default=100, help="that are timed, at least")
    add("--settings", type=json.loads, default={}, help="settings of the training as JSON")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parsed(arguments)
    torch.set_num_threads(1)
    cases = [profiled(name, options.steps, options.settings) for name in options.cases]
    peak, of_halves = (2.0 * 2048**3 / Machine(5).products(2048, 2048, 2048, halves)[0] for halves in (False, True))
    told = {
        "peak_flops": peak,
        "peak_flops_bfloat16": of_halves,
        "bandwidth": Machine().bandwidth(1 << 25),
        "threads": 1,
    }
    write_json(options.out, plain({"cases": cases, "machine": told, "environment": environment()}))
    show([sheet(case) for case in cases], options.table, width=160)
    rates = f"{peak / 1e9:.0f} GFLOP/s, of bfloat16 {of_halves / 1e9:.0f}"
    print(f"Machine, one thread: {rates}, {told['bandwidth'] / 1e9:.1f} GB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
