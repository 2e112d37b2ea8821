"""What a process that trains together with others is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curator.io import storage
from curator.plugins import add_plugin_folder, plugin_folder
from curator_ssl.config import TrainConfig
from curator_ssl.data import FoundSamples, read_samples_file, stored_lines
from curator_ssl.reporter import TrainReporter
from curator_ssl.train_loop import TrainResult, train

__all__ = ["TrainRequest"]


@dataclass(frozen=True)
class TrainRequest:
    """A training run for one of its processes, which reads the samples from OUT/samples.parquet.

    Attributes:
        config: a resolved config.
        addresses: source name -> URL to read it from, where that is not its name. They may carry secrets.
        threads: threads of torch, of each process.
        plugin_folder: where the driver looks for plug-ins beside the installed packages.
    """

    config: TrainConfig
    addresses: Mapping[str, str]
    threads: int
    plugin_folder: str = field(default_factory=plugin_folder)

    @classmethod
    def of_samples(cls, config: TrainConfig, samples: FoundSamples, threads: int) -> TrainRequest:
        """A request for samples that were found."""
        return cls(config, dict(samples.samples.addresses or {}), threads)

    def to_json(self) -> dict[str, Any]:
        """Plain values; the config as its own JSON."""
        return {
            "config": self.config.model_dump(mode="json"),
            "addresses": dict(self.addresses),
            "threads": self.threads,
            "plugin_folder": self.plugin_folder,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainRequest:
        """Inverse of `to_json`."""
        return cls(**{**content, "config": TrainConfig.model_validate(content["config"])})

    def train(self, reporter: TrainReporter) -> TrainResult:
        """Train as one process of the group; see `curator_ssl.train_loop.train`."""
        add_plugin_folder(self.plugin_folder)
        samples = read_samples_file(storage.join(self.config.out, "samples.parquet"), self.addresses)
        return train(self.config, samples, stored_lines(self.config.out), reporter, self.threads)
