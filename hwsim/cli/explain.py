"""`hwsim explain`: the formula of one op with its numbers."""

from __future__ import annotations

from hwsim.cli.options import Batch, Sets, overrides
from hwsim.cli.output import console, print_infeasible
from hwsim.core.errors import EXIT_INFEASIBLE
from hwsim.core.results import Infeasible


def run(arch: str, workload: str, op: str, /, *, batch: Batch = None, input: str | None = None, set: Sets = ()) -> int:
    """Print how one op's latency and energy come about.

    Parameters
    ----------
    arch
        An arch file or the bare name of a bundled one.
    workload
        A workload file, its bare name, or a source.
    op
        The op's name, as `hwsim show WORKLOAD` prints it.
    input
        Shape of one sample, such as 3x384x384.
    """
    from hwsim import api
    from hwsim.cli.show import load_work
    from hwsim.spec.overrides import split_overrides

    of_arch, of_workload = split_overrides(overrides(set))
    described, work = api.load_arch(arch, of_arch), load_work(workload, of_workload, input)
    work.graph.op(op)
    cost = api.estimate(described, work, batch)
    if isinstance(cost, Infeasible):
        print_infeasible(cost, "table")
        return EXIT_INFEASIBLE
    console().print(api.explain(described, work, op, batch), markup=False)
    return 0
