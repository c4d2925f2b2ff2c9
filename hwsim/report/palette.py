"""Colours: one per workload everywhere in a report, and a muted set for the parts of a stacked bar."""

from __future__ import annotations

from collections.abc import Sequence

#: Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision.
WORKLOADS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255")
#: Paul Tol, "Colour schemes" (SRON/EPS/TN/09-002, 2021), muted.
PARTS = (
    "#4477AA", "#CCBB44", "#228833", "#EE6677", "#66CCEE", "#AA3377", "#999933", "#44AA99", "#882255", "#88CCEE",
    "#DDCC77", "#117733",
)  # fmt: skip
OTHER = "#BBBBBB"
INK = "#1f2933"
FAINT = "#e4e7eb"
SCALE = ((0.0, "#12355b"), (0.15, "#2a6f97"), (0.45, "#61a5c2"), (1.0, "#dbe7ee"))


def of_workloads(names: Sequence[str]) -> dict[str, str]:
    """A colour per workload, by its place in the run."""
    return {name: WORKLOADS[index % len(WORKLOADS)] for index, name in enumerate(names)}


def of_parts(names: Sequence[str]) -> dict[str, str]:
    """A colour per part; `other` is grey."""
    plain = [name for name in names if name != "other"]
    return {name: PARTS[index % len(PARTS)] for index, name in enumerate(plain)} | {"other": OTHER}
