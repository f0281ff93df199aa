"""M tasks over N samples, for scenarios and for training."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class Tasks(NamedTuple):
    """M tasks over N samples of C classes.

    Attributes:
        classes: (M, C), the classes of each task.
        shared: (C,), the classes that every task has.
        presence: (M, N), the samples of each task, be they for training, validation or
            test: what the protocol `oracle` knows. Held-out samples are in no task.
        seen: (M, N), the samples that the task's chart is trained on: those of the task
            but for validation and test.
        validation: (M, N), the samples by which the task's chart stops early.
        held_out: (N,), training samples kept from every task, to be anchors.
        test: (N,), the test split.
    """

    classes: Bool[np.ndarray, "M C"]
    shared: Bool[np.ndarray, " C"]
    presence: Bool[np.ndarray, "M N"]
    seen: Bool[np.ndarray, "M N"]
    validation: Bool[np.ndarray, "M N"]
    held_out: Bool[np.ndarray, " N"]
    test: Bool[np.ndarray, " N"]
