"""Provide the tools of all layers, such as input checks, files and threads."""
