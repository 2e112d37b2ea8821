"""Run every benchmark: `make bench`. Each is a module in a process of its own: what one sets up changes no other."""

from __future__ import annotations

import subprocess
import sys

NAMES = ("tar_scan", "embed", "embed_peers", "select", "pack", "training", "startup", "growth", "plan")


def main() -> None:
    """One after the other: they would share the cores."""
    for name in NAMES:
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
