"""Fit the calibrations that hwsim ships, on all rows of this study: `python studies/gpu_power/fit.py`.

Writes hwsim/backends/processor/calibrations/*.json. The study itself scores fits that never saw the tested rows.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from study import (  # noqa: E402
    A100_PRIOR,
    A100_TERMS,
    CPU_TERMS,
    GPU_TERMS,
    POWER_TERMS,
    _energaizer_rows,
    observations,
    read_rows,
)

from hwsim.backends.processor.calibration import SCHEMA  # noqa: E402
from hwsim.backends.processor.device import device_of  # noqa: E402
from hwsim.backends.processor.power import PowerCoefficients  # noqa: E402
from hwsim.backends.processor.timing import TimingCoefficients  # noqa: E402
from hwsim.core.files import write_atomic  # noqa: E402
from hwsim.measure.calibrate import Fitted, TimingFit, fit_power, fit_timing, stored  # noqa: E402
from hwsim.measure.compare import processor_spec  # noqa: E402
from hwsim.spec.arch import load_arch  # noqa: E402

OUT = FOLDER.parents[1] / "hwsim" / "backends" / "processor" / "calibrations"
TIMM = "timm benchmark-infer files, huggingface/pytorch-image-models@aa4b585 results/, vision transformers"
ENERGAIZER = (
    "EnergAIzer artifact, yifueve/energaizer-ispass26-artifact@cd60749, A100-PCIe-40GB at 900 MHz, bf16 and fp32 eager"
)
#: A CPU's energies are of the order of a package's power over its rate; nothing here measured them (assumed).
CPU_POWER = PowerCoefficients(
    matrix_j_per_flop=25e-12, fp32_j_per_flop=100e-12, simd_j_per_flop=25e-12, core_j_per_byte=150e-12,
    memory_j_per_byte=60e-12, idle_base=0.6, idle_tree=0.2,
)  # fmt: skip


def main() -> None:
    fits = {
        name: fit_timing(
            observations(name, read_rows(name)), TimingCoefficients(), CPU_TERMS if name[0] == "i" else GPU_TERMS
        )
        for name in ("4090_compiled", "4090_eager", "3090_eager_2.4", "i7_compiled")
    }
    _, seen = _energaizer_rows("nvml_a100.csv")
    a100 = fit_timing(seen, A100_PRIOR, A100_TERMS)
    device = device_of(processor_spec(load_arch("a100_pcie_40gb")))
    power = fit_power(
        seen, a100.coefficients, device.electrics, PowerCoefficients(), device.format_cost, terms=POWER_TERMS
    )
    eager = (fits["4090_eager"], fits["3090_eager_2.4"], a100)
    save("rtx4090", f"{TIMM}, RTX 4090, PyTorch 2.9.1", {"eager": eager[0], "compiled": fits["4090_compiled"]})
    save("rtx3090", f"{TIMM}, RTX 3090, PyTorch 2.4 eager", {"eager": eager[1]})
    save("core_i7_12700h", f"{TIMM}, Core i7-12700H, PyTorch 2.4 compiled fp32", {"compiled": fits["i7_compiled"]})
    save("a100_pcie_40gb", ENERGAIZER, {"eager": a100}, power)
    save(
        "transferred_gpu",
        "geometric mean of RTX 4090, RTX 3090 and A100-PCIe (eager), RTX 4090 (compiled); energies of A100-PCIe "
        "scaled by process and memory",
        {"eager": with_usual_host(pooled(eager)), "compiled": pooled([fits["4090_compiled"]])},
        power,
    )
    both = {"eager": pooled([fits["i7_compiled"]]), "compiled": pooled([fits["i7_compiled"]])}
    save("transferred_cpu", "Core i7-12700H (timing); energies assumed", both, CPU_POWER)


def pooled(fits: Sequence[TimingFit]) -> TimingFit:
    """Geometric mean of each coefficient over devices, with their range as its interval."""
    values = [asdict(fit.coefficients) for fit in fits]
    fitted = {}
    for name in values[0]:
        found = [value[name] for value in values]
        fitted[name] = Fitted(math.exp(fmean(math.log(v) for v in found)), min(found), max(found))
    return TimingFit(TimingCoefficients(**{name: entry.value for name, entry in fitted.items()}), fitted)


def with_usual_host(fit: TimingFit) -> TimingFit:
    """The prior's host time per operator: the A100's host is three times slower, and timm's large batches hide theirs
    (assumed for a device nobody has measured)."""
    dispatch_s = TimingCoefficients().dispatch_s
    fitted = {**fit.fitted, "dispatch_s": Fitted(dispatch_s, dispatch_s, fit.fitted["dispatch_s"].high)}
    return TimingFit(replace(fit.coefficients, dispatch_s=dispatch_s), fitted)


def save(name: str, source: str, timing: Mapping[str, TimingFit], power: PowerCoefficients | None = None) -> None:
    data: dict[str, object] = {"schema": SCHEMA, "device": name, "source": source}
    data["timing"] = {mode: stored(fit) for mode, fit in timing.items()}
    if power is not None:
        data["power"] = stored(power)
    write_atomic(OUT / f"{name}.json", json.dumps(_rounded(data), indent=1) + "\n")


def _rounded(value: object) -> object:
    """Five digits: more than any fit decides."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
