"""Small real data sets, read from scikit-learn (the extra `dlntheory[data]`); nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .dataset import Dataset


def digits(*, classes: Sequence[int] | None = None, centred: bool = False) -> Dataset:
    """Handwritten digits: 1797 images of 8 x 8 pixels in [0, 1], one-hot targets.

    Three of the 64 pixels are zero in every image, so the second moment has rank 61 and cannot be whitened as
    it is.

    Args:
        classes: the digits to keep. Two digits give one target, +1 for the first and -1 for the second; more
            give one-hot targets in this order.
        centred: subtract the mean image of the kept samples.

    Returns:
        Inputs (1797, 64) and targets (1797, 10), fewer with `classes`.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: `classes` that are not two or more different digits.

    References:
        [alpaydin1998optical], the test set of "Optical recognition of handwritten digits".

    Example:
        >>> digits(classes=(3, 8))
        Dataset(digits 3, 8: 357 samples, 64 inputs, 1 target)
    """
    digits_of = range(10)
    kept = tuple(digits_of)
    if classes is not None:
        entries = tuple(classes) if isinstance(classes, Sequence | np.ndarray) else ()
        # Compared one by one: an entry may be an array, which is neither hashable nor true or false.
        kept = tuple(int(d) for d in entries if isinstance(d, int | np.integer) and d in digits_of)
        if len(kept) < 2 or len(kept) < len(entries) or len(set(kept)) < len(kept):
            raise ValueError(f"Argument `classes` must be two or more different digits, but is {classes!r}.")
    images, labels = _load("load_digits", "digits")
    rows = np.isin(labels, kept)
    images, labels = images[rows] / 16.0, labels[rows]
    data = Dataset(
        images,
        _class_targets(labels, kept),
        name="digits" if classes is None else "digits " + ", ".join(map(str, kept)),
        description="Handwritten digits, 8 x 8 pixels in [0, 1].",
    )
    return data.centred() if centred else data


def diabetes() -> Dataset:
    """Progression of diabetes: 442 patients, 10 measurements, one target; all columns standardised.

    Two pairs of blood serum measurements are nearly collinear, so the covariance is ill-conditioned: a real
    example of slow directions.

    Returns:
        Inputs (442, 10) and targets (442, 1), each column with mean zero and variance one.

    Raises:
        ImportError: scikit-learn is not installed.

    References:
        [efron2004least].

    Example:
        >>> diabetes()
        Dataset(diabetes: 442 samples, 10 inputs, 1 target)
    """
    inputs, targets = _load("load_diabetes", "diabetes")
    data = Dataset(inputs, targets).standardised(targets=True)
    description = "Diabetes progression from ten measurements, all columns standardised."
    return Dataset(data.inputs, data.targets, name="diabetes", description=description)


def iris() -> Dataset:
    """Fisher's iris flowers: 150 samples, 4 lengths in cm, one-hot targets of 3 species.

    Returns:
        Inputs (150, 4) and targets (150, 3).

    Raises:
        ImportError: scikit-learn is not installed.

    Example:
        >>> iris()
        Dataset(iris: 150 samples, 4 inputs, 3 targets)
    """
    inputs, labels = _load("load_iris", "iris")
    description = "Iris flowers: lengths and widths of sepals and petals in cm, three species."
    return Dataset(inputs, _class_targets(labels, (0, 1, 2)), name="iris", description=description)


def wine() -> Dataset:
    """Chemical analysis of Italian wines: 178 samples, 13 measurements, one-hot targets of 3 growers.

    The columns have very different units: use `.standardised()`.

    Returns:
        Inputs (178, 13) and targets (178, 3).

    Raises:
        ImportError: scikit-learn is not installed.

    Example:
        >>> wine()
        Dataset(wine: 178 samples, 13 inputs, 3 targets)
    """
    inputs, labels = _load("load_wine", "wine")
    description = "Wines: thirteen chemical measurements, three growers."
    return Dataset(inputs, _class_targets(labels, (0, 1, 2)), name="wine", description=description)


def _load(loader: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            f"`{name}` reads its data from scikit-learn, which is not installed: "
            "pip install 'dlntheory[data]'."
        ) from error
    inputs, targets = getattr(datasets, loader)(return_X_y=True)
    return np.asarray(inputs, dtype=np.float64), np.asarray(targets)


def _class_targets(labels: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """+1 and -1 in one column for two classes, one-hot columns in the order of `classes` for more."""
    one_hot = (labels[:, None] == np.asarray(classes)[None, :]).astype(np.float64)
    return one_hot[:, :1] - one_hot[:, 1:] if len(classes) == 2 else one_hot
