"""Benchmarks of MLflow's API beside MLflow's own server; `ARGS="calls"` runs a part. A part is a module here with
`run()`, which yields figures.

The peer is a stock `mlflow server`, which is not among the requirements. `MLFLOW_COMMAND` says where it is; it is made
by `uv venv peer && uv pip install --python peer/bin/python mlflow==3.17.2 psycopg2-binary`.
"""
