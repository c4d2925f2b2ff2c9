"""`hwsim explain`: the cycles and joules of one op as formulas with their numbers."""

from __future__ import annotations

from collections.abc import Iterator

from hwsim.backends.systolic.cost import array_cycles, dynamic_energy, port_bytes
from hwsim.backends.systolic.estimate import bound_by, describe, least_bytes
from hwsim.backends.systolic.machine import DATAFLOWS, OS
from hwsim.backends.systolic.plan import blocks_of
from hwsim.backends.systolic.program import ArrayStep, VectorStep
from hwsim.backends.systolic.solve import Solution
from hwsim.backends.systolic.spec import PRIMITIVES
from hwsim.backends.systolic.tiling import nest
from hwsim.backends.systolic.timing import ceil_div, spatial_cols, spatial_rows, temporal
from hwsim.backends.systolic.vector import lane_energy
from hwsim.core.units import show
from hwsim.graph.ir import WorkloadGraph


def explain(graph: WorkloadGraph, solution: Solution, op: str) -> str:
    """Where an op runs, its cycles term by term, its traffic against the bound, and its energy by component."""
    program = solution.plan.program
    if op in program.free:
        return f"{op}: 0 cycles, 0 J: {program.free[op]}"
    if op in program.fused:
        product = program.fused[op]
        joules = show(lane_energy(solution.unit, program.extra[op]), "J")
        return f"{op}: 0 cycles of its own, {joules}: streams with {product}\n\n{explain(graph, solution, product)}"
    position = next(index for index, step in enumerate(program.steps) if step.op == op)
    index, step = solution.plan.steps[solution.rung][position], program.steps[position]
    if not isinstance(step, ArrayStep):
        return "\n".join(_move(solution, index, step))
    return "\n".join((*_product(solution, index, position, step), *_blocks(solution, position, step)))


def _blocks(solution: Solution, position: int, step: ArrayStep) -> Iterator[str]:
    """How a cut MLP runs, if this is one of its layers."""
    program, rung = solution.plan.program, solution.plan.rungs[solution.rung]
    count = blocks_of(step, rung)
    if count == 1:
        return
    mlp = next(mlp for mlp in program.mlps if position in (mlp.step, mlp.step + 1))
    layers = " and ".join(program.steps[place].op for place in (mlp.step, mlp.step + 1))
    block, whole = show(program.sizes[mlp.root] / count, "B"), show(program.sizes[mlp.root], "B")
    yield f"  blocks    {layers} run in {count} blocks of {mlp.rows // count} rows, one after the other (A18)"
    yield f"            {block} between them at a time instead of {whole}; weights are read {count} times"


def _product(solution: Solution, index: int, position: int, step: ArrayStep) -> Iterator[str]:
    machine, gemm, mapping, cost = (
        solution.machine,
        solution.gemms[index],
        solution.mappings[index],
        solution.costs[index],
    )
    loops = nest(machine, gemm, mapping)
    flow, rows, cols = machine.dataflow, machine.rows, machine.cols
    shape = (loops.M, loops.N, loops.K)
    sr, sc, t = spatial_rows(flow, *shape), spatial_cols(flow, *shape), temporal(flow, *shape)
    chunks = temporal(flow, mapping.tiles_m, mapping.tiles_n, mapping.tiles_k)
    array = array_cycles(machine, gemm, mapping, loops)
    clock = float(solution.design.clock_hz)
    yield f"{step.op}: out[{gemm.M},{gemm.N}] = a[{gemm.M},{gemm.K}] b[{gemm.K},{gemm.N}], {gemm.batch} times"
    yield f"  mapping   {describe(solution, index)}"
    bound = bound_by(solution, index, cost)
    seconds = show(cost.cycles / clock, "s")
    yield f"  latency   {cost.cycles:,.0f} cycles / {show(clock, 'Hz')} = {seconds}, bound by {bound}"
    count = f"{ceil_div(sr, rows)} x {ceil_div(sc, cols)}"
    yield f"  folds     ceil({sr}/{rows}) x ceil({sc}/{cols}) = {count}, each {t} steps in {chunks} chunks"
    each = "max(steps, rows)" if machine.overlap else "steps + rows - 1"
    if machine.exact:
        yield f"  array     sum over folds of {each} = {array.stream:,}; fill, skew and drain {array.edge:,} (A1, A2)"
    else:
        formula = "R + C + T - 2" if flow == OS else "2R + C + T - 2"
        yield f"  array     folds x ({formula}) = {array.stream:,} (SCALE-Sim's convention, A1)"
    yield f"  transfers {cost.transfer_cycles:,.0f} cycles (A5)"
    yield f"            {cost.first_load_cycles:,.0f} before the first tile, {cost.last_store_cycles:,.0f} after all"
    stalls = cost.cycles - cost.compute_cycles
    yield f"  stalls    {cost.cycles:,.0f} - {cost.compute_cycles:,.0f} = {stalls:,.0f} cycles"
    yield f"  fetched   a {loops.a_fetches}x, b {loops.b_fetches}x; results visited {loops.o_visits}x"
    dram, least = cost.dram_read_bytes + cost.dram_write_bytes, least_bytes(solution, position)
    yield f"  DRAM      {show(dram, 'B')}; at least {show(least, 'B')} with this memory"
    port = port_bytes(machine, gemm, mapping, loops)
    yield f"  buffer    {show(cost.need_bytes, 'B')} of {show(float(machine.buffer_bytes), 'B')} taken"
    yield f"            the array reads {show(port.a, 'B')} of a and {show(port.b, 'B')} of b"
    macs = gemm.batch * gemm.M * gemm.N * gemm.K
    yield f"  energy    {show(dynamic_energy(cost), 'J')} for {macs:,} MACs on {DATAFLOWS[flow]}:"
    parts = {
        "mac": cost.mac_j, "register": cost.register_j, "accumulator": cost.accumulator_j, "buffer": cost.buffer_j,
        "global_buffer": cost.stage_j, "noc": cost.link_j, "dram": cost.dram_j,
    }  # fmt: skip
    for name, joules in parts.items():
        yield f"    {name:13s} {show(joules, 'J'):>10s}"


def _move(solution: Solution, index: int, step: VectorStep) -> Iterator[str]:
    cost, unit = solution.moves[index], solution.unit
    move = solution.plan.moves[index - len(solution.plan.products)]
    clock = float(solution.design.clock_hz)
    yield f"{step.op}: {cost.cycles:,.0f} cycles / {show(clock, 'Hz')} = {show(cost.cycles / clock, 's')}"
    terms = [
        f"{count:,.0f} {name} x {unit.cycles[place]:g}"
        for place, (name, count) in enumerate(zip(PRIMITIVES, move.primitives, strict=True))
        if count
    ]
    lanes = f"{unit.lanes:g} lanes x {solution.machine.cores} cores"
    yield f"  vector    ({' + '.join(terms) or '0'}) / ({lanes}) = {cost.compute_cycles:,.0f} cycles (A12)"
    dram = move.dram_read_bytes + move.dram_write_bytes
    kept = move.kept_read_bytes + move.kept_write_bytes
    rate = solution.machine.dram_bytes_per_cycle
    yield f"  DRAM      {show(dram, 'B')} / {rate:.4g} B per cycle = {dram / rate:,.0f} cycles"
    yield f"  on chip   {show(kept, 'B')} come from or stay in the buffer"
    for name in ("vector_j", "buffer_j", "stage_j", "dram_j"):
        yield f"    {name[:-2]:13s} {show(getattr(cost, name), 'J'):>10s}"
