"""`python -m examples.demo --data-dir D`: run the main job against the Flotilla that runs on D."""

import argparse
import json
import sys
from pathlib import Path

from examples.demo import serving, training
from examples.demo.client import Api, ApiError, BrokenConnectionError
from examples.demo.report import Report, StepFailedError, say
from examples.demo.voyage import Voyage

STEPS = (
    training.see_the_cluster,
    training.train,
    training.register,
    serving.deploy,
    serving.predict,
    serving.heal,
    serving.roll,
    serving.take_back,
)


def main() -> int:
    """Run the steps in order. Exit code 1, with the reason, at the first that fails."""
    parser = argparse.ArgumentParser(description="Run the main job.")
    parser.add_argument("--data-dir", type=Path, required=True, help="the data directory of the running Flotilla")
    data_dir: Path = parser.parse_args().data_dir
    credentials = json.loads((data_dir / "credentials.json").read_text())
    voyage = Voyage(Api(credentials["url"], credentials["token"]), data_dir, Report())
    say("The main job, on handwritten digits")
    try:
        for step in STEPS:
            step(voyage)
    except (StepFailedError, ApiError, BrokenConnectionError) as error:
        say(f"  ✗ {error}")
        return 1
    say(voyage.report.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
