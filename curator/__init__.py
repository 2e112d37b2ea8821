"""Find, in a huge uncurated pool of images, those that help a narrow-domain self-supervised model.

The package holds formats and algorithms only: reading shards, decoding, encoding, the SimCore selection
(Kim, Bae, Yun: "Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning", CVPR 2023)
and packing. Executors, jobs and the command line live in `curator_pipelines`, training in `curator_ssl`.

Importing it is cheap: torch, pyarrow and friends are loaded by the modules that need them.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
