"""The hyperparameters that the step takes, each with its range; a value outside ends it with one sentence."""

import argparse
import json
from collections.abc import Callable
from typing import TypeVar

import xgboost as xgb

Number = TypeVar("Number", int, float)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Takes the hyperparameters as SageMaker's script mode passes them: `--eta 0.1`."""
    parser = argparse.ArgumentParser(prog="train", description=description, usage=argparse.SUPPRESS)
    parser.add_argument("--num_round", type=between(int, 1, 100_000), required=True)
    parser.add_argument("--early_stopping_rounds", type=between(int, 1, 100_000), required=True)
    parser.add_argument("--max_depth", type=between(int, 1, 20), required=True)
    parser.add_argument("--eta", type=between(float, 1e-6, 1), required=True, help="learning rate")
    parser.add_argument("--subsample", type=between(float, 0.01, 1), required=True, help="share of rows a round sees")
    parser.add_argument("--min_child_weight", type=between(float, 0, 1e6), required=True)
    parser.add_argument("--device", type=device, default="cpu", help="cpu or cuda")
    return parser


def between(kind: Callable[[str], Number], least: Number, most: Number) -> Callable[[str], Number]:
    """Reads a number of this kind and range."""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            name = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {name} from {least} to {most}, got {text!r}")
        return value

    return read


def device(text: str) -> str:
    """Reads a device; XGBoost itself would silently train on the CPU where it finds no GPU."""
    if text not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"must be cpu or cuda, got {text!r}")
    with xgb.config_context(verbosity=0):
        config = json.loads(xgb.Booster({"device": text, "num_feature": 1}).save_config())
    if not config["learner"]["generic_param"]["device"].startswith(text):
        raise argparse.ArgumentTypeError(f"{text} needs a GPU and an image built for it, got an instance without")
    return text
