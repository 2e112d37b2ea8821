"""Stages: what is done with one task, for any executor."""
