"""The answer of a prediction as its fragment shows it. Pure."""

import json
from typing import Any

from apps.deployments.predict import Prediction

SHOWN_VALUES = 12


def answer_of(prediction: Prediction) -> dict[str, Any]:
    """What the template needs: the prediction, its answer as text, and the first values of each output."""
    return {
        "prediction": prediction,
        "answer": json.dumps(prediction.answer, indent=2),
        "outputs": _outputs(prediction.answer),
    }


def _outputs(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """The first values of each output, for a line."""
    lines = []
    for output in answer.get("outputs") or []:
        if isinstance(output, dict) and isinstance(output.get("data"), list):
            values = [
                f"{value:.3g}" if isinstance(value, float) else str(value) for value in output["data"][:SHOWN_VALUES]
            ]
            more = ", …" if len(output["data"]) > SHOWN_VALUES else ""
            lines.append((str(output.get("name", "output")), ", ".join(values) + more))
    return lines
