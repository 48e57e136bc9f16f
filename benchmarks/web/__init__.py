"""Benchmarks of the web process; `ARGS="requests"` runs a part. A part is a module here with `run()`, which yields
figures."""
