"""`make fuzz ARGS="--seconds 600 --seed 1"`: what was tried and what failed; `python -m tests.fuzz TARGET FILE` repeats one."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

FOUND = Path(".fuzz")
GROWN = 64 << 20  # bytes that a process may have more at its end than when it was warm


def main() -> int:
    """Fuzz all targets or some, or repeat an input; 1 if anything failed."""
    # Compiled with a look at every index, beside the kernels that workers use; before numba is there.
    os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(FOUND.absolute() / "kernels"))
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=[*TARGETS], help="only this one")
    parser.add_argument("file", nargs="?", type=Path, help="try this input alone")
    parser.add_argument("--seconds", type=float, default=60.0, help="in all, shared evenly by the targets")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.file:
        print("taken" if TARGETS[given.target]().run(given.file.read_bytes()) else "refused")
        return 0
    names = [given.target] if given.target else [*TARGETS]
    return _report(names, given.seconds / len(names), given.seed)


def _report(names: list[str], seconds: float, seed: int) -> int:
    from tests.fuzz.run import fuzz

    bad = whole = 0
    print(f"seed {seed}, {seconds:.0f} s for each target")
    print(f"{'target':<10} {'tried':>10} {'taken':>9} {'faults':>7} {'slowest':>9} {'grown':>8}")
    for name in names:
        result = fuzz(name, seconds, seed)
        grown = result.grown / (1 << 20)
        line = (
            f"{name:<10} {result.tried:>10,} {result.taken:>9,} {len(result.faults):>7} {result.slowest:>7.3f} s {grown:>5.1f} MB"
        )
        print(line, flush=True)
        whole += result.tried
        bad += len(result.faults) + (result.grown > GROWN)
        for where, (data, words) in result.faults.items():
            file = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
            print(f"  {where}: python -m tests.fuzz {name} {file}\n{words}", file=sys.stderr, flush=True)
    print(f"{whole:,} inputs, {bad} failures")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
