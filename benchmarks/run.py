"""Run every benchmark: `make bench`. Each is also a module of its own."""

from __future__ import annotations

from benchmarks import embed, tar_scan


def main() -> None:
    """One after the other: they would share the cores."""
    tar_scan.main()
    embed.main()


if __name__ == "__main__":
    main()
