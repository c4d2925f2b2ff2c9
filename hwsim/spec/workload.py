"""The described work: a model source, its input, and the transforms applied to its graph."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hwsim.spec.fields import Count, Fraction, Number, Quantity, Spec

WORKLOAD_SCHEMA = "hwsim/workload/1"
#: `22.1 M`, `3.0 G`: a count with a decimal prefix.
BigCount = Annotated[float, Quantity("OP"), Field(ge=0)]


#: `name`, or `{name: {option: value}}`.
TransformEntry = str | Annotated[dict[str, dict[str, Any] | None], Field(min_length=1, max_length=1)]


class InputSpec(Spec):
    """Shape of one sample (channels, rows, columns) and how many go in together."""

    batch: Count = 1
    shape: list[Count] | None = None


class Published(Spec):
    """What the authors state, with where they state it."""

    params: BigCount | None = None
    macs: BigCount | None = None
    top1: Fraction | None = None
    latency_s: Annotated[float, Quantity("s"), Field(gt=0)] | None = None
    source: str = ""
    status: Literal["checked", "secondary", "recalled", ""] = ""
    tolerance: Number | None = None


class WorkloadSpec(Spec):
    """A workload file: what runs, not what it runs on."""

    schema_: Literal["hwsim/workload/1"]
    name: str = ""
    description: str = ""
    kind: str = "model"
    fidelity: Literal["exact", "within 5 %", "stand-in"] = "exact"
    model: str = Field(description="timm:NAME, zoo:NAME, torch:module:callable, pt2:FILE or gemm:FILE.csv")
    input: InputSpec = InputSpec()
    transforms: list[str | Annotated[dict[str, dict[str, Any] | None], Field(min_length=1, max_length=1)]] = Field(
        default=[]
    )
    weights: str = Field(default="", description="what `execute` loads: a bundled name or a file; random if absent")
    data: str = Field(default="", description="what `execute` runs on: digits, a .npz file or a folder")
    published: Published | None = None
