"""Derive the kernels of every vision transformer in timm's files again: `python studies/gpu_power/capture.py [FILE]`.

One model takes seconds, all of them most of an hour; what the cache holds is not captured again. Only needed after a
change of capture or lowering: the study reads what this wrote.
"""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from timm_rows import FAMILIES, FILES, REPARAMETERIZED, kernel_file, key_of, measured_file  # noqa: E402

from hwsim.backends.processor.formats import is_autocast  # noqa: E402
from hwsim.backends.processor.lower import lower  # noqa: E402
from hwsim.core.errors import HwsimError  # noqa: E402
from hwsim.graph.ir import WorkloadGraph  # noqa: E402
from hwsim.graph.sources import load_source  # noqa: E402
from hwsim.graph.torch_env import import_timm  # noqa: E402
from hwsim.measure.fast_norm import fast_norms  # noqa: E402
from hwsim.measure.rows import read_measured  # noqa: E402


def main(names: Sequence[str]) -> None:
    """Lower each model once for every file that has it."""
    families = families_by_model()
    wanted: dict[tuple[str, int], list[str]] = {}
    for name in names or FILES:
        for row in read_measured(measured_file(name)):
            if key_of(row).partition("@")[0] in families:
                wanted.setdefault((row.source or "", row.input_size or 224), []).append(name)
    tables: dict[str, dict[str, object]] = {name: {} for name in names or FILES}
    for (source, size), files in wanted.items():
        graph = _graph(source, size)
        if graph is not None:
            for name in files:
                key = f"{source.removeprefix('timm:')}@{size}"
                norms = fast_norms(source) if is_autocast(FILES[name].runtime.precision) else frozenset()
                tables[name][key] = lower(graph, FILES[name].runtime, norms).to_json()
            lower.cache_clear()  # each graph is lowered once
    for name, found in tables.items():
        save(name, found, families)


def families_by_model() -> Mapping[str, str]:
    """Model -> timm's module, of the vision transformers that the study scores."""
    import_timm()
    from timm.models._registry import _model_to_module

    return {m: f for m, f in _model_to_module.items() if f in FAMILIES and f not in REPARAMETERIZED}


def _graph(source: str, size: int) -> WorkloadGraph | None:
    try:
        return load_source(source, (3, size, size))
    except HwsimError as error:
        print(f"{source}: {error.message}", file=sys.stderr)
        return None


def save(name: str, tables: Mapping[str, object], families: Mapping[str, str]) -> None:
    used = {key: families[key.partition("@")[0]] for key in tables}
    text = json.dumps({"families": used, "tables": tables}, separators=(",", ":"))
    kernel_file(name).write_bytes(lzma.compress(text.encode(), preset=9))
    print(f"{name}: {len(tables)} workloads")


if __name__ == "__main__":
    main(sys.argv[1:])
