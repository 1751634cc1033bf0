"""How well do a forest and a network read handwritten digits whose pixels grow noisier?

Each item is a model, its size (trees, or neurons), the noise on the pixels (standard deviation; a pixel is 0 to 16)
and a seed. Its result is the accuracy in five-fold cross-validation on scikit-learn's own digits: 1,797 images of
8 by 8 pixels. The sweep hands out the items and keeps the results, so a run that was cut short goes on where it was.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier

from resumable_sweep import ResumableSweep, canonical_json, key_of

MODELS = {
    "forest": lambda size, seed: RandomForestClassifier(n_estimators=size, random_state=seed),
    "network": lambda size, seed: MLPClassifier(hidden_layer_sizes=(size,), max_iter=75, random_state=seed),
}


def accuracy(item: dict[str, Any]) -> dict[str, float]:
    """Return mean and spread of the accuracy over the folds: a pure function of the item."""
    images, labels = load_digits(return_X_y=True)
    noise = np.random.default_rng(item["seed"]).normal(0, item["noise"], images.shape)
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=item["seed"])
    model = MODELS[item["model"]](item["size"], item["seed"])
    scores = cross_val_score(model, images + noise, labels, cv=folds)
    return {"accuracy": round(float(scores.mean()), 6), "spread": round(float(scores.std()), 6)}


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)  # the network's training ends after its 75 rounds on purpose
    with ResumableSweep() as sweep:
        print(f"{len(sweep.completed)} items were done before", flush=True)
        for item in sweep.pending:
            result = accuracy(item)
            print("ran", canonical_json(key_of(item)), flush=True)
            sweep.record(item, result)


if __name__ == "__main__":
    main()
