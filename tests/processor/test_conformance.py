"""The properties every backend keeps, on GPUs and a CPU, eager and compiled, capped and not."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from hwsim.backends.conformance import BackendConformance
from hwsim.backends.processor import Processor
from hwsim.backends.processor.spec import ProcessorSpec
from hwsim.backends.synthetic import transformer
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch
from hwsim.spec.yaml import Tree


class TestProcessorConformance(BackendConformance):
    backend = Processor
    never_slower = ("memory.bandwidth", "clock.lock")

    def archs(self) -> Sequence[Arch]:
        names = ("a100_pcie_40gb", "rtx4090", "rtx_pro_6000_maxq", "v100_sxm2", "core_i7_12700h", "raspberry_pi_5")
        locked = load_arch("a100_pcie_40gb", {"clock.lock": "900 MHz"})
        return [locked, *(load_arch(name) for name in names)]

    def variations(self, arch: Arch) -> st.SearchStrategy[dict[str, Tree]]:
        peak = arch.spec.clock.peak_hz if isinstance(arch.spec, ProcessorSpec) else 1e9
        return st.fixed_dictionaries(
            {
                "runtime.mode": st.sampled_from(["eager", "compiled"]),
                "runtime.precision": st.sampled_from(["fp32", "tf32", "fp16", "bf16", "amp_fp16", "int8", "fp8"]),
                "runtime.attention": st.sampled_from(["fused", "explicit"]),
                "clock.lock": st.floats(0.2, 1.0).map(lambda share: f"{share * peak / 1e6:.3f} MHz"),
                "memory.bandwidth": st.floats(5, 5000).map(lambda rate: f"{rate:.3f} GB/s"),
            }
        )

    def roofline_s(self, graph: WorkloadGraph, arch: Arch) -> float:
        spec = arch.spec
        assert isinstance(spec, ProcessorSpec)
        peaks = [spec.peak.fp32, spec.peak.tf32, spec.peak.fp16, spec.peak.bf16, spec.peak.int8, spec.peak.fp8]
        clock = min(spec.clock.lock_hz or spec.clock.peak_hz, spec.clock.peak_hz)
        return 2 * graph.macs / (max(peak for peak in peaks if peak) * clock / spec.clock.peak_hz)

    def misfits(self) -> Sequence[tuple[WorkloadGraph, Arch]]:
        huge = transformer(grid=9, patch=4, heads=4, head_dim=48, mlp_ratio=4, depth=2, batch=2, classes=10)
        return [(huge, load_arch("rtx4090", {"memory.size": "100 KiB"}))]
