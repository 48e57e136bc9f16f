"""Train a small neural network on handwritten digits and log everything with a stock MLflow client.

Nothing in here knows Flotilla: MLflow takes the server, the run and the token from MLFLOW_TRACKING_URI,
MLFLOW_RUN_ID and MLFLOW_TRACKING_TOKEN, which a launched run finds in its environment.
"""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data import Part
    from sklearn.neural_network import MLPClassifier

log = logging.getLogger("digits.train")


class Terminated(BaseException):
    """Somebody wants this process to stop. No `Exception`, so that no library takes it for a failure to retry."""


def parse_args(argv: list[str]) -> argparse.Namespace:
    """The command line. Values are checked by scikit-learn, which says best what it accepts."""
    parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits.")
    parser.add_argument("--hidden", type=int, default=32, metavar="UNITS", help="units of the hidden layer")
    parser.add_argument("--learning-rate", type=float, default=0.002, help="Adam's step size")
    parser.add_argument("--alpha", type=float, default=0.0001, help="strength of the L2 penalty")
    parser.add_argument("--batch-size", type=int, default=32, help="digits per step")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training digits")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial weights")
    parser.add_argument("--epoch-seconds", type=float, default=0.1, help="least time for an epoch, to watch it learn")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where prepare.py has left the digits")
    parser.add_argument("--experiment", default="digits", help="experiment of a run that nobody launched for us")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error(f"--epochs must be at least 1, not {args.epochs}")
    return args


def make_model(args: argparse.Namespace) -> "MLPClassifier":
    """An untrained classifier. Wrong values raise ValueError at the first fit."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        hidden_layer_sizes=(args.hidden,),
        learning_rate_init=args.learning_rate,
        alpha=args.alpha,
        batch_size=args.batch_size,
        random_state=args.seed,
    )


def score(model: "MLPClassifier", part: "Part") -> tuple[float, float]:
    """(log loss, accuracy) of the model on a part of the digits."""
    from sklearn.metrics import log_loss

    probabilities = model.predict_proba(part.inputs)
    predicted = model.classes_[probabilities.argmax(axis=1)]
    return float(log_loss(part.labels, probabilities)), float((predicted == part.labels).mean())


def train(args: argparse.Namespace, training: "Part", validation: "Part", mlflow: Any) -> "MLPClassifier":
    """Fit for `args.epochs` epochs and log the curves: loss and accuracy on what it learns from and on what not."""
    model = make_model(args)
    classes = sorted(set(training.labels.tolist()))
    for epoch in range(1, args.epochs + 1):
        began = time.monotonic()
        model.partial_fit(training.inputs, training.labels, classes=classes)
        train_loss, train_accuracy = score(model, training)
        val_loss, val_accuracy = score(model, validation)
        mlflow.log_metrics(
            {
                "train_loss": train_loss,
                "train_accuracy": train_accuracy,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
            },
            step=epoch,
        )
        log.info("epoch %d of %d: val_loss %.4f, val_accuracy %.4f", epoch, args.epochs, val_loss, val_accuracy)
        time.sleep(max(0.0, args.epoch_seconds - (time.monotonic() - began)))
    mlflow.log_metric("accuracy", val_accuracy, step=args.epochs)
    return model


def confusion_figure(model: "MLPClassifier", part: "Part") -> Any:
    """A picture of which digit was taken for which."""
    # `Figure` by itself: pyplot would look for a screen and takes longer to import.
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(part.labels, model.predict(part.inputs), labels=model.classes_)
    figure = Figure(figsize=(5.2, 4.8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(matrix, cmap="Blues")
    for row, counts in enumerate(matrix):
        for column, count in enumerate(counts):
            colour = "white" if count > matrix.max() / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true", title="Validation digits", xticks=model.classes_, yticks=model.classes_)
    return figure


def log_results(model: "MLPClassifier", validation: "Part", mlflow: Any) -> None:
    """Log the confusion matrix and the fitted model."""
    import numpy
    import sklearn

    mlflow.log_figure(confusion_figure(model, validation), "confusion_matrix.png")
    # Requirements are named, or MLflow would load the model in another process to find them out.
    # Pickle rather than skops, the default, whose import costs a second here and in each replica.
    logged = mlflow.sklearn.log_model(
        model,
        name="model",
        serialization_format="pickle",
        pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"numpy=={numpy.__version__}"],
    )
    log.info("model logged as %s", logged.model_uri)


def run(args: argparse.Namespace) -> None:
    """Train within an MLflow run: the one that was launched for us (MLFLOW_RUN_ID), or a new one."""
    import mlflow

    if not os.environ.get("MLFLOW_RUN_ID"):
        mlflow.set_experiment(args.experiment)
    with mlflow.start_run() as active:
        log.info("run %s started", active.info.run_id)
        try:
            names = ("hidden", "learning_rate", "alpha", "batch_size", "epochs", "seed")
            mlflow.log_params({name: getattr(args, name) for name in names})
            # Only now, so that the run is seen to run while the rest is still being imported.
            from data import FILE, load_split, read_split

            split = read_split(args.data / FILE) if args.data else load_split()
            model = train(args, split.train, split.validation, mlflow)
            log_results(model, split.validation, mlflow)
        except Terminated:
            mlflow.end_run("KILLED")
            raise
        except ValueError as error:
            log.error("training failed: %s", error)
            raise


def on_sigterm(signum: int, frame: object) -> None:
    """Unwind, so that the run is marked as killed."""
    raise Terminated


def main() -> int:
    """Exit code: 0 when trained, 1 on a failure, 2 for a wrong command line, 143 when told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    args = parse_args(sys.argv[1:])
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        run(args)
    except Terminated:
        log.warning("stopped by SIGTERM")
        return 128 + signal.SIGTERM
    return 0


if __name__ == "__main__":
    sys.exit(main())
