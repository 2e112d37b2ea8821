"""Run every benchmark: `make bench`. Each is also a module of its own."""

from __future__ import annotations

from benchmarks import embed, embed_peers, growth, pack, plan, select, startup, tar_scan, training


def main() -> None:
    """One after the other: they would share the cores."""
    tar_scan.main()
    embed.main()
    embed_peers.main()
    select.main()
    pack.main()
    training.main()
    startup.main()
    growth.main()
    plan.main()


if __name__ == "__main__":
    main()
