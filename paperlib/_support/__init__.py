"""Provide the tools of all layers: input checks, files, threads, deterministic mode, and imports of TensorFlow."""
