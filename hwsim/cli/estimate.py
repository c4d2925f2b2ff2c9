"""`hwsim estimate`: one workload on one arch, op by op."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.cli.options import Batch, Format, Sets, overrides
from hwsim.cli.output import console, count, note, print_csv, print_infeasible, print_json, table
from hwsim.core.errors import EXIT_INFEASIBLE
from hwsim.core.results import Infeasible

if TYPE_CHECKING:
    from rich.table import Table

    from hwsim.core.results import Estimate


def run(
    arch: str,
    workload: str,
    /,
    *,
    batch: Batch = None,
    input: str | None = None,
    set: Sets = (),
    trace: Path | None = None,
    top: int = 12,
    format: Format = "table",
) -> int:
    """Estimate latency, energy and area of a workload on an arch.

    Parameters
    ----------
    arch
        An arch file or the bare name of a bundled one.
    workload
        A workload file, its bare name, or a source such as timm:deit_small_patch16_224.
    input
        Shape of one sample, such as 3x384x384.
    trace
        Write the timeline here as a Chrome trace (open in Perfetto).
    top
        How many of the most expensive ops the table shows.
    """
    from hwsim import api
    from hwsim.cli.show import load_work
    from hwsim.spec.overrides import split_overrides

    of_arch, of_workload = split_overrides(overrides(set))
    described = api.load_arch(arch, of_arch)
    result = api.estimate(described, load_work(workload, of_workload, input), batch)
    if isinstance(result, Infeasible):
        print_infeasible(result, format)
        return EXIT_INFEASIBLE
    if trace is not None:
        from hwsim.report.trace import write_trace

        write_trace(result, trace)
        note(f"wrote {trace}")
    if format == "json":
        print_json(result.to_json())
    elif format == "csv":
        print_csv([op.to_json() for op in result.ops])
    else:
        _print_tables(result, top)
    return 0


def _print_tables(result: Estimate, top: int) -> None:
    from hwsim.core.units import show

    data = result.to_json()
    area = "" if result.area_mm2 is None else f"   area {result.area_mm2:.4g} mm²"
    out = console()
    out.print(f"[bold]{result.workload}[/] on [bold]{result.arch}[/], batch {result.batch}")
    out.print(
        f"latency {show(result.latency_s, 's')}   energy {show(result.energy_j, 'J')}   "
        f"power {show(result.power_w, 'W')}   throughput {data['throughput_per_s']:.4g} /s{area}"
    )
    out.print(f"{count(result.macs)} MACs   {count(result.params)} params\n")
    out.print(_ledger(result))
    out.print(_ops(result, top))
    for text in result.notes:
        note(f"note: {text}")
    if result.assumptions:
        note("assumptions: " + ", ".join(result.assumptions) + "   (`hwsim show ARCH --sources`)")


def _ledger(result: Estimate) -> Table:
    from hwsim.core.units import show

    total = result.energy_j
    ranked = sorted(result.energy_ledger_j.items(), key=lambda item: -item[1])
    rows = ((name, show(energy, "J"), f"{100 * energy / total:.1f} %" if total else "") for name, energy in ranked)
    return table("Energy by component", ["component", "energy", "share"], rows, right=["energy", "share"])


def _ops(result: Estimate, top: int) -> Table:
    from hwsim.core.units import show

    ranked = sorted(result.ops, key=lambda op: -op.latency_s)
    rows = (
        (
            op.name,
            op.kind,
            op.unit + (f" ({op.choice})" if op.choice else ""),
            count(op.macs),
            show(op.latency_s, "s"),
            show(op.energy_j, "J"),
            "" if op.utilization is None else f"{100 * op.utilization:.1f} %",
            op.bound_by,
        )
        for op in ranked[:top]
    )
    columns = ["op", "kind", "unit", "MACs", "latency", "energy", "utilisation", "bound by"]
    title = f"Slowest {min(top, len(ranked))} of {len(ranked)} ops"
    return table(title, columns, rows, right=["MACs", "latency", "energy", "utilisation"])
