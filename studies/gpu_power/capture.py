"""Derive the kernels of every vision transformer in timm's files again: `python studies/gpu_power/capture.py [FILE]`.

One model takes seconds, all of them most of an hour; what the cache holds is not captured again. Only needed after a
change of capture or lowering: the study reads what this wrote.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from timm_rows import FAMILIES, FILES, REPARAMETERIZED, kernel_file, key_of  # noqa: E402

from hwsim.backends.processor.lower import lower  # noqa: E402
from hwsim.core.errors import HwsimError  # noqa: E402
from hwsim.graph.sources import load_source  # noqa: E402
from hwsim.graph.torch_env import import_timm  # noqa: E402
from hwsim.measure.rows import read_measured  # noqa: E402


def main(names: list[str]) -> None:
    import_timm()
    from timm.models._registry import _model_to_module

    for name in names or FILES:
        file = FILES[name]
        tables, families = {}, {}
        for row in read_measured(FOLDER / "measured" / "timm" / file.csv):
            model = (row.source or "").removeprefix("timm:")
            family = _model_to_module.get(model, "")
            if family not in FAMILIES or family in REPARAMETERIZED:
                continue
            try:
                graph = load_source(f"timm:{model}", (3, row.input_size or 224, row.input_size or 224))
            except HwsimError as error:
                print(f"{model}: {error.message}", file=sys.stderr)
                continue
            tables[key_of(row)] = lower(graph, file.runtime).to_json()
            families[key_of(row)] = family
        text = json.dumps({"families": families, "tables": tables}, separators=(",", ":"))
        kernel_file(name).write_bytes(lzma.compress(text.encode()))
        print(f"{name}: {len(tables)} workloads")


if __name__ == "__main__":
    main(sys.argv[1:])
