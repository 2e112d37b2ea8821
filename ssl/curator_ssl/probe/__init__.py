"""Probes: how much a frozen, or a briefly fine-tuned, encoder knows about labelled classes."""
