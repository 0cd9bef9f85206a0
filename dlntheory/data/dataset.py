"""`Dataset`: inputs and targets as rows, with the few transformations that the theory asks for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..display.text import card, format_number, key_values
from ..losses import SquaredLoss
from ..losses.base import check_full_rank, checked_array, checked_pair


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    r"""Inputs $X$ and targets $Y$, rows are samples, as read-only NumPy float64 arrays.

    Args:
        inputs: $X$ (n, d).
        targets: $Y$ (n, k), or (n,) for k = 1.
        name: how it is called in tables and figures.
        description: one sentence: where it comes from, what the columns are.
        teacher: the map (k, d) that made the targets, apart from noise; `None` if there is none.

    Raises:
        ValueError: shapes that do not match, or non-finite entries.

    Example:
        >>> data = Dataset([[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]], [1.0, 0.0, 1.0], name="tiny")
        >>> data
        Dataset(tiny: 3 samples, 2 inputs, 1 target)
        >>> bool(np.allclose(data.whitened().covariance, np.eye(2)))
        True
    """

    inputs: np.ndarray
    targets: np.ndarray
    name: str = "data"
    description: str = ""
    teacher: np.ndarray | None = None

    def __post_init__(self):
        arrays: dict[str, np.ndarray] = {}
        arrays["inputs"], arrays["targets"] = checked_pair(self.inputs, self.targets)
        if self.teacher is not None:
            arrays["teacher"] = np.atleast_2d(checked_array(self.teacher, "teacher"))
            expected = (arrays["targets"].shape[1], arrays["inputs"].shape[1])
            if arrays["teacher"].shape != expected:
                raise ValueError(
                    f"Argument `teacher` must have shape {expected} (targets, inputs), "
                    f"but has shape {arrays['teacher'].shape}."
                )
        for field, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, field, array)

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        samples, columns = self.inputs.shape
        targets = self.targets.shape[1]
        plural = "" if targets == 1 else "s"
        return f"Dataset({self.name}: {samples} samples, {columns} inputs, {targets} target{plural})"

    def __str__(self) -> str:
        return key_values([("data set", self.name), *self._facts()])

    def _repr_html_(self) -> str:
        return card(f"Data set {self.name}", facts=self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        samples, columns = self.inputs.shape
        facts = [
            ("samples", str(samples)),
            ("inputs", f"{columns}, from {_range(self.inputs)}"),
            ("targets", f"{self.targets.shape[1]}, from {_range(self.targets)}"),
        ]
        if self.teacher is not None:
            facts.append(("teacher", " x ".join(map(str, self.teacher.shape))))
        return facts + [("what", self.description)] * bool(self.description)

    @property
    def covariance(self) -> np.ndarray:
        r"""The second moment $\Sigma_{xx} = X^\top X / n$ (d, d); not centred, as the loss sees it."""
        return self.inputs.T @ self.inputs / len(self)

    @property
    def correlation(self) -> np.ndarray:
        r"""$\Sigma_{yx} = Y^\top X / n$ (k, d); not centred."""
        return self.targets.T @ self.inputs / len(self)

    def loss(self, **options: Any) -> SquaredLoss:
        """`SquaredLoss(inputs, targets, **options)`."""
        return SquaredLoss(self.inputs, self.targets, **options)

    def whitened(self) -> Dataset:
        r"""Inputs with identity second moment, $X (X^\top X / n)^{-1/2}$; the teacher follows.

        Raises:
            ValueError: the second moment is rank-deficient; the message gives its rank and condition number.
        """
        left, singular_values, right = np.linalg.svd(self.inputs, full_matrices=False)
        check_full_rank(singular_values, (len(self), self.inputs.shape[1]))
        teacher = self.teacher
        if teacher is not None:
            teacher = teacher @ (right.T * (singular_values / np.sqrt(len(self)))) @ right
        return self._with(inputs=np.sqrt(len(self)) * left @ right, teacher=teacher, suffix="whitened")

    def centred(self, *, targets: bool = False) -> Dataset:
        """Each input column with mean zero; with `targets`, each target column too.

        A teacher is kept where it stays true: if the targets are centred as well.
        """
        y = self.targets - self.targets.mean(axis=0) if targets else self.targets
        return self._with(
            inputs=self.inputs - self.inputs.mean(axis=0),
            targets=y,
            teacher=self.teacher if targets else None,
            suffix="centred",
        )

    def standardised(self, *, targets: bool = False) -> Dataset:
        """Each input column with mean zero and variance one; with `targets`, each target column too.

        A constant column becomes zero. The teacher is dropped, since the scales of the columns change.
        """
        y = _standardised(self.targets) if targets else self.targets
        return self._with(inputs=_standardised(self.inputs), targets=y, teacher=None, suffix="standardised")

    def subset(self, selection: int | Any) -> Dataset:
        """The first `selection` samples, or those at an array of indices.

        Raises:
            ValueError: more samples than there are, an index out of range, or an empty selection.
        """
        if isinstance(selection, (int, np.integer)) and not isinstance(selection, bool):
            if not 1 <= selection <= len(self):
                raise ValueError(
                    f"Argument `selection` must be between 1 and {len(self)} samples, but is {selection}."
                )
            chosen = np.arange(selection)
        else:
            chosen = np.asarray(selection)
            if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
                raise ValueError(
                    "Argument `selection` must be a number of samples or a vector of integer indices, "
                    f"but is an array of shape {chosen.shape} and dtype {chosen.dtype}."
                )
            if chosen.min() < 0 or chosen.max() >= len(self):
                raise ValueError(
                    f"Argument `selection` must hold indices between 0 and {len(self) - 1}, "
                    f"but reaches from {chosen.min()} to {chosen.max()}."
                )
        return dataclasses.replace(self, inputs=self.inputs[chosen], targets=self.targets[chosen])

    def _with(self, *, suffix: str, **changes: Any) -> Dataset:
        return dataclasses.replace(self, name=f"{self.name}, {suffix}", **changes)


def _range(values: np.ndarray) -> str:
    return f"{format_number(np.min(values))} to {format_number(np.max(values))}"


def _standardised(columns: np.ndarray) -> np.ndarray:
    centred = columns - columns.mean(axis=0)
    # A constant column leaves a mean of rounding errors; its deviation must not be blown up to one.
    constant = np.ptp(columns, axis=0) == 0
    deviation = np.where(constant, 1.0, np.sqrt(np.mean(centred**2, axis=0)))
    return np.where(constant, 0.0, centred / deviation)
