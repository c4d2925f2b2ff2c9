"""Time to compare a timm file against the goal: 1,600 rows in 60 s, with kernel tables cached.

The cache is filled from the study's tables first (deriving them from models takes seconds each), then every row of the
file that has one goes through `compare` as on the command line. Run: python benchmarks/processor_compare.py
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "studies" / "gpu_power"))

from timm_rows import FILES, FOLDER, read_rows

from hwsim.backends.processor.device import runtime_of
from hwsim.measure import tables
from hwsim.measure.compare import compare, processor_spec
from hwsim.spec.arch import load_arch

NAME = "4090_compiled"
GOAL_ROWS, GOAL_S = 1600, 60.0


def main() -> None:
    arch = load_arch(FILES[NAME].arch)
    rows = read_rows(NAME)
    lines = (FOLDER / "measured" / "timm" / FILES[NAME].csv).read_text(encoding="utf-8").splitlines()
    wanted = {(row.measured.workload, str(row.measured.input_size)) for row in rows}
    kept = [line for line in lines[1:] if tuple(line.split(",")[:2]) in wanted]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HWSIM_CACHE_DIR"] = folder
        runtime = runtime_of(processor_spec(arch))
        for row in rows:
            source, size = str(row.measured.source), row.measured.input_size
            tables.write_table(tables.table_path(source, size, runtime), row.table)
        file = Path(folder) / FILES[NAME].csv
        file.write_text("\n".join([lines[0], *kept]) + "\n", encoding="utf-8")
        start = time.process_time()
        result = compare(arch, file)
        seconds = time.process_time() - start
    print(
        f"{len(result.rows)} rows in {seconds:.2f} s of CPU: {seconds / len(result.rows) * GOAL_ROWS:.1f} s for 1,600"
    )
    print(f"ratio of the goal of {GOAL_S:.0f} s to that: {GOAL_S / (seconds / len(result.rows) * GOAL_ROWS):.1f}")


if __name__ == "__main__":
    main()
