"""Run short trainings and print hashes of their weights and tensors.

All machines in deterministic mode print the same hashes.

usage: python bits.py FIT,OPTIMIZER,MEMBERS,WIDTH,BATCH,D,STEPS,ORDERS ..
"""

import hashlib
import sys

import numpy as np

from paperlib import perturbation, targets, training


def digest(*arrays):
    return hashlib.sha256(
        b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    ).hexdigest()[:12]


def line(case):
    fit, optimizer, *numbers = case.split(",")
    members, width, batch, d, steps, orders = map(int, numbers)
    config = training.TrainingConfig(
        d=d, sampling="signed", hidden=(width,) * 3, fit=fit, optimizer=optimizer, learning_rate=1e-3, samples=4 * batch,
        batch=batch, steps=steps, warmup=2, validation=64, seeds=tuple(range(members)),
    )  # fmt: skip
    series = perturbation.iterative(
        targets.scattering_length_target(), (config,) * orders
    )
    weights = [
        digest(*(a for m in each.members for a in (*m.weights, *m.biases)))
        for each in series.ensembles
    ]
    return " ".join(
        [case, *weights, *(digest(tensor.packed) for tensor in series.tensors)]
    )


if __name__ == "__main__":
    for case in sys.argv[1:]:
        print(line(case), flush=True)
