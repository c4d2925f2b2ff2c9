"""What NSGA-II finds and costs beside optuna's and a Sobol sequence: hypervolume and its own seconds, equal budgets.

    python benchmarks/search_strategies.py [--budget 512] [--seeds 3]

Problems: DeiT-Tiny on the systolic array and on the optical engine (latency and energy, their `search:` blocks), and
ZDT1 with eight variables (Zitzler, Deb, Thiele, Evolutionary Computation 8(2), 2000). Volumes are of the unit square
between the best values and the 95th percentiles of all that was found. Times are CPU seconds of asking and telling.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import optuna

from hwsim.backends.base import backend_of
from hwsim.explore.domain import Choices, Interval
from hwsim.explore.pareto import hypervolume
from hwsim.explore.space import Axis, Design, Space, build_space
from hwsim.explore.strategies import Cost, Sampler, make_sampler
from hwsim.spec.arch import load_arch
from hwsim.transforms.workload import load_workload

OPTUNA = "optuna's nsga2"
Evaluate = Callable[[Sequence[Design]], list[Cost]]


@dataclass
class OptunaNsga2:
    """Optuna's NSGA-II on the unit cube of a space, generations of `batch`; what it repeats costs it budget."""

    space: Space
    seed: int
    batch: int

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.NSGAIISampler(population_size=self.batch, seed=self.seed)
        self._study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
        self._axes = {axis.path: self._distribution(axis) for axis in self.space.axes}
        self._open: list[optuna.Trial] = []

    @staticmethod
    def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
        if isinstance(axis.domain, Choices) and not axis.domain.ordered:
            return optuna.distributions.CategoricalDistribution(tuple(range(axis.domain.count)))
        return optuna.distributions.FloatDistribution(0.0, 1.0)

    def ask(self, count: int) -> list[Design]:
        self._open = [self._study.ask(self._axes) for _ in range(count)]
        return [self._design(trial) for trial in self._open]

    def _design(self, trial: optuna.Trial) -> Design:
        values = (trial.params[axis.path] for axis in self.space.axes)
        return tuple(
            axis.domain.values[v] if isinstance(axis.domain, Choices) and not axis.domain.ordered else axis.domain.at(v)
            for axis, v in zip(self.space.axes, values, strict=True)
        )

    def tell(self, designs: Sequence[Design], costs: Sequence[Cost]) -> None:
        for trial, cost in zip(self._open, costs, strict=True):
            trial.set_constraint("fits", cost.violation)
            self._study.tell(trial, list(cost.values))


def hardware(arch_name: str) -> tuple[Space, Evaluate]:
    """An arch's own search space, and its latency and energy on DeiT-Tiny in decades."""
    arch, workload = load_arch(arch_name), load_workload("deit_tiny")
    space, backend = build_space(arch, [workload]), backend_of(arch)

    def evaluate(designs: Sequence[Design]) -> list[Cost]:
        columns = {axis.path: list(c) for axis, c in zip(space.axes, zip(*designs, strict=True), strict=True)}
        result = backend.sweep(workload.graph, arch, columns)
        with np.errstate(invalid="ignore"):
            rows = np.log10(np.stack((result.latency_s, result.energy_j), axis=1))
        return [Cost((1e3, 1e3), 1.0) if i in result.infeasible else Cost(tuple(row)) for i, row in enumerate(rows)]

    return space, evaluate


def zdt1(variables: int = 8) -> tuple[Space, Evaluate]:
    def evaluate(designs: Sequence[Design]) -> list[Cost]:
        x = np.array(designs, dtype=float)
        g = 1 + 9 * x[:, 1:].mean(axis=1)
        return [Cost((float(a), float(b))) for a, b in zip(x[:, 0], g * (1 - np.sqrt(x[:, 0] / g)), strict=True)]

    return Space(tuple(Axis(f"x{i}", Interval(0.0, 1.0)) for i in range(variables))), evaluate


def spend(sampler: Sampler, evaluate: Evaluate, budget: int) -> tuple[npt.NDArray[np.float64], float]:
    """Objectives of the feasible designs of a whole budget, and the sampler's own CPU seconds."""
    points: list[tuple[float, ...]] = []
    own_s = 0.0
    for first in range(0, budget, sampler.batch):
        begin = time.process_time()
        designs = sampler.ask(min(sampler.batch, budget - first))
        own_s += time.process_time() - begin
        costs = evaluate(designs)
        points += [cost.values for cost in costs if cost.violation == 0]
        begin = time.process_time()
        sampler.tell(designs, costs)
        own_s += time.process_time() - begin
    return np.array(points), own_s


def sampler(name: str, space: Space, budget: int, seed: int) -> Sampler:
    own = make_sampler(space, name.removeprefix("optuna's "), budget, seed, 2)
    return OptunaNsga2(space, seed, own.batch) if name == OPTUNA else own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    for label, (space, evaluate) in (("zdt1", zdt1()), *((n, hardware(n)) for n in ("systolic_int8", "optical4f"))):
        found = {
            name: [
                spend(sampler(name, space, given.budget, seed), evaluate, given.budget) for seed in range(given.seeds)
            ]
            for name in ("nsga2", OPTUNA, "sobol")
        }
        every = np.vstack([points for runs in found.values() for points, _ in runs])
        best, reference = every.min(axis=0), np.percentile(every, 95, axis=0)
        seconds = {name: sum(s for _, s in runs) / given.seeds for name, runs in found.items()}
        for name, runs in found.items():
            volumes = [hypervolume((points - best) / (reference - best), np.ones(2)) for points, _ in runs]
            times = seconds[OPTUNA] / max(seconds[name], 1e-9)
            print(
                f"{label:14s} {name:15s} volume {np.mean(volumes):.4f} (worst {min(volumes):.4f})   "
                f"{seconds[name]:6.3f} s   {times:6.1f} x as fast as optuna's"
            )


if __name__ == "__main__":
    main()
