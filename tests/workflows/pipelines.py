"""Pipelines that tests use."""

from typing import Any

import yaml

DIGITS = """
name: digits
description: From the digits to a model in production.
params:
  epochs: 5
  sizes: [8, 32, 64]
  least: {type: float, default: 0.8, description: The accuracy below which nothing is registered.}
steps:
  - name: prepare
    run:
      image: flotilla-examples/digits:1
      command: [python, prepare.py]
  - name: train
    each: {in: "${{ params.sizes }}", limit: 2}
    run:
      image: flotilla-examples/digits:1
      command: [python, train.py, --data, "${{ steps.prepare.run }}", --hidden, "${{ each }}"]
      params: {epochs: "${{ params.epochs }}"}
  - name: evaluate
    needs: train
    run:
      image: flotilla-examples/digits:1
      command_line: python evaluate.py '${{ steps.train.runs }}'
  - name: register
    when: steps.evaluate.outputs.accuracy >= params.least
    register: {model: digits, run: "${{ steps.evaluate.outputs.best }}", alias: candidate}
  - name: approve
    needs: [register]
    approve: {message: "Shall it serve?"}
  - name: deploy
    needs: [approve]
    deploy: {deployment: digits, model: digits, version: "${{ steps.register.outputs.version }}"}
    deadline_seconds: 600
"""


def digits() -> dict[str, Any]:
    """The pipeline of the digits as an object."""
    return yaml.safe_load(DIGITS)
