"""Experiments: one pipeline with several values of its parameters. Each point's datums are stored as any others."""
