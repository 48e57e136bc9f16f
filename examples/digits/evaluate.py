"""Judge the models of several runs by digits that none of them has seen, and say which is best.

`python evaluate.py --data FOLDER '["run", …]'`: the runs as a JSON list, as a pipeline's expression gives them. Logs
the `accuracy` of the best and its run as the param `best`, so that the next step can read both.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from data import FILE, read_split

log = logging.getLogger("digits.evaluate")


def main() -> int:
    """Exit code: 0 when judged, 2 for a wrong command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    parser = argparse.ArgumentParser(description="Choose the best of several models of digits.")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where prepare.py left the digits")
    parser.add_argument("runs", type=json.loads, help="ids of runs that logged a model, as a JSON list")
    args = parser.parse_args()
    import mlflow

    with mlflow.start_run():
        held_out = read_split(args.data / FILE).held_out
        scores = {}
        for run in args.runs:
            model = mlflow.sklearn.load_model(f"runs:/{run}/model")
            scores[run] = float((model.predict(held_out.inputs) == held_out.labels).mean())
            log.info("run %s: %.4f of %d held-out digits", run, scores[run], len(held_out.labels))
        best = max(scores, key=lambda run: scores[run])
        mlflow.log_param("best", best)
        mlflow.log_metric("accuracy", scores[best])
    return 0


if __name__ == "__main__":
    sys.exit(main())
