"""Benchmarks of clusters; `ARGS="pages"` runs a part. A part is a module here with `run()`, which yields figures."""
