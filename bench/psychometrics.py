"""The statistics against R, on the same data and machine. Prints one JSON line a figure. Synthetic data, fixed seeds.

    python bench/psychometrics.py [--only TEXT] [--no-r]

Each line has our CPU seconds (median of the repeats, all threads together, in a process of its own), the peak of its
memory, R's CPU seconds for the same (one run, packages loaded before) and the ratio, with the bar it has to reach.
Where Rscript is not installed only our side is measured. R's matrix library decides much: give it OpenBLAS
(`libopenblas0-pthread`) for a fair race, and both sides the same OPENBLAS_NUM_THREADS.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # started as a file, the folder above is not on the path

from bench.races import (  # noqa: E402 (needs the path above)
    FloatArray,
    Race,
    classical,
    correlations,
    dyads,
    item_response,
    nested,
    structural,
)

#: A module for each theme, with a tuple RACES.
THEMES = (classical, correlations, dyads, item_response, nested, structural)
RACES: tuple[Race, ...] = tuple(race for theme in THEMES for race in theme.RACES)


def run_ours(race: Race) -> dict[str, float]:
    """Return our CPU and elapsed seconds and the process's peak memory."""
    data = race.data()
    cpu, elapsed = [], []
    for _ in range(race.repeats):
        cpu_before, before = time.process_time(), time.perf_counter()
        race.ours(data)
        cpu.append(time.process_time() - cpu_before)
        elapsed.append(time.perf_counter() - before)
    return {
        "cpu_seconds": statistics.median(cpu),
        "seconds": statistics.median(elapsed),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_in_a_process(race: Race) -> dict[str, float]:
    """Run our side alone in a fresh process, so that memory and caches are its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--ours", race.name], check=True, capture_output=True, text=True, cwd=ROOT
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def run_r(race: Race, rscript: str) -> float:
    """Return R's CPU seconds for the same work."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        write_csv(path, race.data())
        script = "\n".join(
            [
                f"suppressPackageStartupMessages({{{'; '.join(f'library({name})' for name in race.r_packages)}}})",
                f"x <- read.csv({json.dumps(str(path))})",
                "sink(tempfile())",
                f"t <- system.time(suppressMessages(suppressWarnings({{ {race.r_code} }})))",
                "sink()",
                "cat(sum(t[c('user.self', 'sys.self', 'user.child', 'sys.child')], na.rm = TRUE))",
            ]
        )
        done = subprocess.run([rscript, "-e", script], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def write_csv(path: Path, data: FloatArray) -> None:
    """Write the data as R reads it: columns x1, x2 …, blanks where there is no value."""
    header = ",".join(f"x{number + 1}" for number in range(data.shape[1]))
    np.savetxt(path, data, fmt="%.10g", delimiter=",", header=header, comments="")
    text = path.read_text()
    if "nan" in text:
        path.write_text(text.replace("nan", ""))


def figure(race: Race, rscript: str | None) -> dict[str, object]:
    """Run both sides of one race."""
    ours = run_in_a_process(race)
    line: dict[str, object] = {"figure": race.name, **{key: round(value, 4) for key, value in ours.items()}}
    line["threads"] = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    if rscript and race.r_code:
        r_seconds = run_r(race, rscript) * race.r_scale
        line |= {"r_cpu_seconds": round(r_seconds, 3), "ratio": round(r_seconds / ours["cpu_seconds"], 1)}
        if race.r_scale != 1:
            line["r_scaled_by"] = round(race.r_scale, 2)
    if race.bar is not None:
        line["bar"] = race.bar
    if race.most_seconds is not None:
        line |= {"most_seconds": race.most_seconds, "most_megabytes": race.most_megabytes}
    return line


def main() -> None:
    """Run the races asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--only", default="", metavar="TEXT", help="only the figures whose name contains this")
    parser.add_argument("--no-r", action="store_true", help="measure our side only")
    parser.add_argument("--ours", metavar="NAME", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        print(json.dumps(run_ours(next(race for race in RACES if race.name == arguments.ours))))
        return
    rscript = None if arguments.no_r else shutil.which("Rscript")
    for race in RACES:
        if arguments.only.lower() in race.name.lower():
            print(json.dumps(figure(race, rscript), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
