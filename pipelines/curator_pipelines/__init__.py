"""Composition: executors, jobs and the `curator` command."""
