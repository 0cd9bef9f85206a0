"""The smallest subspaces that all layers and the data map into each other, for any widths and any start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: A direction whose new part is below this fraction of its size is already there.
NEW_DIRECTION = 1e-9


class SubspaceChain:
    r"""Growing orthonormal bases $P_0, \dots, P_L$, closed under the layers, their transposes and $\Sigma_{xx}$.

    Closed means $W_l S_{l-1} \subseteq S_l$, $W_l^\top S_l \subseteq S_{l-1}$ and $\Sigma_{xx} S_0 \subseteq S_0$ for
    the spaces $S_l$ that they span. Only matrices with as many columns as new directions are formed. Private to this
    package: `active_subspaces` is the public function.

    Args:
        weights: $W_1, \dots, W_L$ at the start, first layer first.
        covariance: $\Sigma_{xx}$, or `None` where it is a multiple of the identity.
    """

    def __init__(self, weights: Sequence[np.ndarray], covariance: np.ndarray | None):
        self.weights = list(weights)
        self.covariance = covariance
        self.widths = [weights[0].shape[1], *(w.shape[0] for w in weights)]
        self.bases = [np.zeros((width, 0)) for width in self.widths]
        # Root mean square singular value: images are judged against it, so that units do not matter.
        self._sizes = [float(np.linalg.norm(w)) / np.sqrt(min(w.shape)) for w in weights]
        self._variance = 0.0 if covariance is None else float(np.trace(covariance)) / len(covariance)

    @property
    def dims(self) -> tuple[int, ...]:
        """Dimensions of $S_0, \\dots, S_L$."""
        return tuple(basis.shape[1] for basis in self.bases)

    def add(self, seeds: dict[int, np.ndarray]) -> None:
        """Add directions at some levels (unit columns) and everything that they reach."""
        front = {level: self._extend(level, block) for level, block in seeds.items()}
        while front := {level: block for level, block in front.items() if block.shape[1]}:
            reached: dict[int, list[np.ndarray]] = {}
            for level, block in front.items():
                for other, image in self._images(level, block):
                    reached.setdefault(other, []).append(image)
            front = {level: self._extend(level, np.hstack(blocks)) for level, blocks in reached.items()}

    def outside(self, level: int, vectors: np.ndarray) -> np.ndarray:
        """Columns with their part in $S_l$ removed; twice, since once leaves rounding of the removed part."""
        basis = self.bases[level]
        for _ in range(2):
            vectors = vectors - basis @ (basis.T @ vectors)
        return vectors

    def _images(self, level: int, block: np.ndarray):
        if level < len(self.weights):
            yield level + 1, self.weights[level] @ block / self._sizes[level]
        if level > 0:
            yield level - 1, self.weights[level - 1].T @ block / self._sizes[level - 1]
        if level == 0 and self.covariance is not None:
            yield 0, self.covariance @ block / self._variance

    def _extend(self, level: int, block: np.ndarray) -> np.ndarray:
        """Append what is new in the block and return it."""
        room = self.widths[level] - self.bases[level].shape[1]
        if not room:
            return block[:, :0]
        fresh = self.outside(level, block)
        left, singular, _ = np.linalg.svd(fresh, full_matrices=False)
        fresh = left[:, : min(room, int(np.sum(singular > NEW_DIRECTION)))]
        # After division by a small singular value the new directions need to be made orthogonal again.
        if fresh.shape[1]:
            fresh, _ = np.linalg.qr(self.outside(level, fresh))
        self.bases[level] = np.hstack([self.bases[level], fresh])
        return fresh
