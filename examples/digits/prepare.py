"""Cut the digits into three parts, once, and keep them with this run: later steps read them by its id.

The first step of `pipeline.yaml`; like `train.py` it knows MLflow and nothing of Flotilla.
"""

import hashlib
import logging
import sys
import tempfile
from pathlib import Path

from data import FILE, load_split, write_split

log = logging.getLogger("digits.prepare")


def main() -> int:
    """Exit code: 0 when the parts are kept."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    import mlflow

    split = load_split()
    with mlflow.start_run() as active, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        write_split(split, path)
        mlflow.log_artifact(str(path))
        mlflow.log_param("sha256", hashlib.sha256(path.read_bytes()).hexdigest())
        mlflow.log_metrics({f"{name}_rows": len(part.labels) for name, part in split._asdict().items()})
        log.info("kept %s with run %s", FILE, active.info.run_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
