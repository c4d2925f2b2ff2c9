"""Tree-structured Parzen estimator: optuna's, behind the ask/tell seam."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwsim.core.hashing import canonical_json
from hwsim.explore.domain import Choices, Domain, Interval
from hwsim.explore.space import Design, Space
from hwsim.explore.strategies.sampler import Cost, Sampler

if TYPE_CHECKING:
    from optuna.trial import Trial

#: TPE learns after every design; asking for a few at once keeps several workers busy.
_BATCH = 16
#: Proposals without a new design after which a space counts as exhausted: one costs optuna milliseconds.
_PROPOSALS = 512
#: The value told for an infeasible design; its violation decides, so it need only be finite and bad.
_FAR = 1e30


class Tpe:
    """Multivariate TPE in memory: what it proposes again is told again, and never returned twice."""

    batch = _BATCH

    def __init__(self, space: Space, seed: int, objectives: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the version is pinned
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self._space = space
        self._study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
        self._distributions = {axis.path: _distribution(axis.domain) for axis in space.axes}
        self._worst = Cost((_FAR,) * objectives, violation=1.0)
        self._known: dict[str, Cost] = {}
        self._open: dict[str, list[Trial]] = {}

    def ask(self, count: int) -> list[Design]:
        designs: list[Design] = []
        rounds = 0 if len(self._known) == self._space.size else -(-_PROPOSALS // self.batch)
        for _ in range(rounds):
            for _ in range(min(count, self.batch)):
                trial = self._study.ask(self._distributions)
                design = self._design(trial)
                key = canonical_json(design)
                if key in self._open:
                    self._open[key].append(trial)
                elif key in self._known:
                    self._tell(trial, self._known[key])
                elif not self._space.allowed([design])[0]:
                    self._tell(trial, self._worst)
                else:
                    self._open[key] = [trial]
                    designs.append(design)
            if designs:
                break
        return designs

    def _design(self, trial: Trial) -> Design:
        params = trial.params
        return tuple(_decoded(axis.domain, params[axis.path]) for axis in self._space.axes)

    def tell(self, designs: Sequence[Design], costs: Sequence[Cost]) -> None:
        for design, cost in zip(designs, costs, strict=True):
            key = canonical_json(design)
            self._known[key] = cost
            for trial in self._open.pop(key):
                self._tell(trial, cost)

    def _tell(self, trial: Trial, cost: Cost) -> None:
        trial.set_constraint("fits", cost.violation)
        self._study.tell(trial, list(self._worst.values if cost.violation > 0 else cost.values))


def tpe(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """Multivariate tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011)."""
    return Tpe(space, seed, objectives)


def _distribution(domain: Domain) -> Any:
    """The optuna distribution of an axis; choices and steps are searched by index, ordered where they are numbers."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Interval):
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    if isinstance(domain, Choices) and not domain.ordered:
        return CategoricalDistribution(tuple(range(len(domain.values))))
    if not isinstance(domain, Choices) and domain.log:
        return IntDistribution(int(domain.low), int(domain.high), log=True)
    return IntDistribution(0, (len(domain.values) if isinstance(domain, Choices) else domain.count) - 1)


def _decoded(domain: Domain, param: Any) -> Any:
    if isinstance(domain, Interval):
        return float(param)
    if isinstance(domain, Choices):
        return domain.values[param]
    return param if domain.log else domain.value(param)
