"""`hwsim measure`: time, power and energy of workloads on this machine's GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hwsim.cli.output import note
from hwsim.core.errors import UsageError


def run(
    *workloads: str,
    out: Path,
    device: str = "cuda:0",
    batch: str = "1",
    precision: str = "amp_fp16",
    mode: Literal["eager", "compiled"] = "eager",
    window: float = 5.0,
    repeats: int = 3,
) -> int:
    """Run workloads on a GPU and write what was measured, with its provenance (exit 4 without a GPU).

    Parameters
    ----------
    workloads
        Workload files, bare names, or sources such as timm:deit_small_patch16_224.
    out
        The CSV to write; `hwsim compare` reads it.
    batch
        Batches, separated by commas.
    precision
        Of fp32, tf32, fp16, bf16, amp_fp16, amp_bf16, separated by commas.
    window
        Seconds of work per window, 5 or more.
    """
    from hwsim.measure.run import measure
    from hwsim.measure.window import Protocol

    if not workloads:
        raise UsageError("no workload to measure", remedy="name at least one, such as timm:deit_small_patch16_224")
    protocol = Protocol(window_s=window, repeats=repeats)
    records = measure(workloads, out, device, _batches(batch), precision.split(","), mode, protocol, note)
    note(f"wrote {len(records)} rows to {out}")
    return 0


def _batches(text: str) -> list[int]:
    try:
        batches = [int(part) for part in text.split(",")]
    except ValueError:
        batches = []
    if not batches or min(batches) < 1:
        raise UsageError(f"--batch {text}", got=text, expected="whole numbers, 1 or more, such as 1,8,64")
    return batches
