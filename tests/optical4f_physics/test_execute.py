"""A captured network with its products on the bench: exact where the bench is perfect, sane with real parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import pytest
import torch

from hwsim.api import execute, load_workload
from hwsim.backends.execution.result import Execution
from hwsim.backends.optical4f import Optical4f
from hwsim.backends.optical4f.execute import OpticalOp, optical_ops
from hwsim.backends.optical4f.setup import FAULTS, chain_of, encoding_of, ideal, one_at_a_time
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.graph.calls import operator_of, resolve
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.sources import build_module, load_source
from hwsim.graph.values import fetch_values
from hwsim.spec.arch import load_arch

SOURCE = "zoo:convsharevit?img_size=8&patch_size=2&dim=36&depth=1&heads=3&mlp_ratio=2&classes=10&in_chans=1"
BATCH = 4


def spec(**changes: object) -> Optical4fSpec:
    settings = {"mapping.dense": "optics", "mapping.attention": "optics", **changes}
    return cast(Optical4fSpec, load_arch("arch_specs/optical4f.yaml", settings).spec)


@pytest.fixture(scope="module")
def network() -> tuple[WorkloadGraph, torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    module = build_module(SOURCE, None).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return load_source(SOURCE, None, BATCH), module, torch.rand(BATCH, 1, 8, 8)


def run(
    graph: WorkloadGraph, module: torch.nn.Module, x: torch.Tensor, optical: Mapping[str, OpticalOp]
) -> torch.Tensor:
    """The graph op by op, the optical ones through their operators."""
    values = fetch_values(graph, module) | {graph.inputs[0]: x}
    with torch.no_grad():
        for op in graph.ops:
            target, args, kwargs = resolve(op.call, values)
            call = optical[op.name].call if op.name in optical else operator_of(target)
            result = call(*args, **kwargs)
            results = [result] if isinstance(result, torch.Tensor) else [r for r in result if r is not None]
            values.update(zip(op.outputs, results, strict=True))
    return values[graph.outputs[0]]


def test_every_product_finds_its_operator(network: tuple[WorkloadGraph, torch.nn.Module, torch.Tensor]) -> None:
    graph, _, _ = network
    found = optical_ops(graph, spec())
    assert set(found) == {op.name for op in graph.ops if op.kind in ("conv", "gemm", "matmul")}
    on_host = optical_ops(graph, spec(**{"mapping.conv": "host", "mapping.dense": "host", "mapping.attention": "host"}))
    assert on_host == {}


def test_a_perfect_bench_gives_the_float_network(
    network: tuple[WorkloadGraph, torch.nn.Module, torch.Tensor],
) -> None:
    graph, module, x = network
    found = optical_ops(graph, spec())
    for op in found.values():
        op.operator.chain, op.operator.bits, op.operator.gain = ideal(op.operator.chain), None, 1.0
    torch.testing.assert_close(run(graph, module, x, found), module(x), rtol=1e-3, atol=1e-3)


def test_real_parts_lose_something_and_count_their_light(
    network: tuple[WorkloadGraph, torch.nn.Module, torch.Tensor],
) -> None:
    graph, module, x = network
    found = optical_ops(graph, spec(**{"mapping.attention": "host", "exposure.signal": "5 ke"}))
    noisy, exact = run(graph, module, x, found), module(x).detach()
    assert 1e-4 < float((noisy - exact).norm() / exact.norm()) < 1
    macs = {op.name: op.macs for op in graph.ops}
    for name, op in found.items():
        assert op.operator.budget.macs == macs[name]
        assert op.operator.budget.photons_per_mac > 0


def test_light_of_the_estimate_is_the_light_of_the_chain() -> None:
    """A full-scale sample collects the signal asked for, before the mask's own loss, which the chain has in itself."""
    described = spec(**{"exposure.signal": "5 ke"})
    optics, part = described.optics, described.cameras[described.camera]
    shown, mask = described.modulators[described.input], described.modulators[described.filter]
    plane = min(shown.rows, part.rows) * min(shown.cols, part.cols)
    photon_j = 6.62607015e-34 * 299792458.0 / optics.wavelength_m
    exposure_s = 1e-5
    chain = chain_of(described, exposure_s)
    open_pixels = shown.fill_factor**2 * mask.fill_factor**2
    expected = optics.laser_power_w * optics.transmission / plane * exposure_s / photon_j * part.quantum_efficiency
    assert chain.electrons_per_unit == pytest.approx(expected * open_pixels, rel=1e-12)


def test_faults_come_one_at_a_time() -> None:
    faulty = spec(**{"imperfections.defocus": "50 um", "imperfections.crosstalk_px": 0.2})
    chains = one_at_a_time(chain_of(faulty, 1e-3))
    assert chains["misalignment"].misalignment.defocus_m == pytest.approx(50e-6)
    assert chains["crosstalk"].misalignment.defocus_m == 0
    assert chains["noise"].camera.bits is None
    assert chains["noise"].encoding == "complex"
    assert math.isinf(chains["noise"].camera.full_well_e)
    assert chains["together"].camera.bits == 12


@pytest.mark.parametrize(
    ("part", "encoding"),
    [("meadowlark_p1920", "double_phase"), ("qxga_3dm", "binary_phase"), ("dlp9500", "binary_amplitude")],
)
def test_encoding_follows_the_panel(part: str, encoding: str) -> None:
    assert encoding_of(spec().modulators[part]) == encoding


def test_execute_measures_accuracy_and_light() -> None:
    arch = load_arch("arch_specs/optical4f.yaml", {"mapping.attention": "host"})
    result = execute(arch, "digits_convsharevit_valid", samples=16, batch=16)
    assert isinstance(result, Execution)
    own = [layer for layer in result.layers if layer.form == "own"]
    assert len(own) == result.forms["own"] == 18
    assert all(layer.measured["photons_per_mac"] > 0 for layer in own)
    assert result.top1 is not None
    assert result.top1 > 0.5
    assert 5 < (result.sqnr_db or 0) < 40
    assert {"photons_per_mac", "snr_db", "effective_bits", "saturated_share"} < set(own[0].measured)


def test_where_accuracy_is_lost_is_told_apart() -> None:
    """A bench out of focus: the loss is misalignment's, and what the bench does not have loses nothing."""
    changes = {"mapping.host_ops": ["blocks.*"], "imperfections.defocus": "100 um", "mapping.attention": "host"}
    arch = load_arch("arch_specs/optical4f.yaml", changes)
    light, faults = Optical4f().sheets(load_workload("digits_convsharevit_valid"), arch, 8)
    assert [row[0] for row in light.rows] == ["patch_embed", "head"]
    assert all(len(row) == len(sheet.columns) == len(sheet.units) for sheet in (light, faults) for row in sheet.rows)
    snr_db = {str(row[0]): cast(float, row[faults.columns.index("output SNR")]) for row in faults.rows}
    assert set(snr_db) == set(FAULTS)
    assert snr_db["aberration"] == snr_db["ideal"] > 30
    assert snr_db["together"] < snr_db["misalignment"] < snr_db["ideal"] - 10
    assert snr_db["misalignment"] < snr_db["noise"]
