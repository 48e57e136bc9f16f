"""Compile, once after an installation, what the first start imports.

uv installs without compiling. Left to the first start, a dozen processes would compile the same modules at the same
time. Importing them here takes a few seconds and spares half a minute; whatever goes wrong shows up there, not here.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOTILLA = (
    "import django; django.setup(); import controlplane.urls, celery.bin.celery, uvicorn, localcluster.__main__, "
    "kubernetes.client.api_client"
)
TRAINING = (
    "import mlflow.sklearn, sklearn.neural_network, sklearn.metrics, sklearn.model_selection, sklearn.datasets, "
    "matplotlib.figure, matplotlib.backends.backend_agg, pandas"
)


def main() -> None:
    """Import both sets, each in a process of its own."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "FLOTILLA_ENV": "development",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **settings}, stderr=subprocess.DEVNULL
        )
        for code in (FLOTILLA, TRAINING)
    ]
    for process in processes:
        process.wait()


if __name__ == "__main__":
    main()
