"""`FAMILIES`: ready-made architectures by the names that the command line knows, with sizes as a list of integers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._checks import integer
from ..architecture import Architecture

#: Every family by its key, in alphabetical order; a family made in a notebook comes last.
FAMILIES: dict[str, Family] = {}


@dataclass(frozen=True)
class Family:
    """A family of architectures as the command line calls it.

    Attributes:
        key: its name there.
        build: the function that makes a member.
        usage: what the sizes mean.
        counts: the least and the largest number of sizes; `None` for no limit.
        example: sizes of a small member, which every test of the families builds.
        laws: the number of conservation laws of that member, trained with `metric`.
        arguments: the positional arguments of `build` for some sizes.
        takes_bias: whether it can have biases.
        metric: the metric with which it is meant to be trained without momentum, by factor; empty for gradient flow.

    Example:
        >>> FAMILIES["diagonal"]([3, 2])
        Architecture(diagonal 3, depth 2: w1[3], w2[3] -> z[3], 6 parameters)
    """

    key: str
    build: Callable[..., Architecture]
    usage: str
    counts: tuple[int, int | None]
    example: tuple[int, ...]
    laws: int
    arguments: Callable[[tuple[int, ...]], Sequence[Any]]
    takes_bias: bool = False
    metric: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, sizes: Sequence[int], bias: bool = False) -> Architecture:
        """The architecture for a list of sizes.

        Raises:
            ValueError: another number of sizes, biases where there are none, or what the family itself refuses.
        """
        least, most = self.counts
        if len(sizes) < least or (most is not None and len(sizes) > most):
            number = (
                f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            )
            raise ValueError(
                f"Argument `sizes` of {self.key} must be {number} integers ({self.usage}), but is {list(sizes)}."
            )
        if bias and not self.takes_bias:
            raise ValueError(f"Argument `bias` must not be set for {self.key}, but is: it has no biases.")
        arguments = self.arguments(tuple(sizes))
        return self.build(*arguments, bias=True) if bias else self.build(*arguments)

    def metric_with(self, momentum: Any = None) -> dict[str, str]:
        r"""The metric for a training rule: with momentum diag(θ) becomes diag(τθ + θ'), the mirror flow's own."""
        return dict(self.metric) if momentum is None else dict.fromkeys(self.metric, "mirror")


def dashed(sizes: Sequence[int]) -> str:
    """Sizes as they are written in the names of architectures: `3-4-2`."""
    return "-".join(map(str, sizes))


def one_sequence(sizes: tuple[int, ...]) -> tuple[tuple[int, ...]]:
    """All sizes as one argument, such as the widths of a network."""
    return (sizes,)


def family(
    key: str,
    usage: str,
    *,
    example: Sequence[int],
    laws: int,
    counts: tuple[int, int | None] | None = None,
    arguments: Callable[[tuple[int, ...]], Sequence[Any]] = tuple,
    metric: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Architecture]], Callable[..., Architecture]]:
    """Register the function below as a family: this decorator is all that a new family needs beside its function.

    `dlntheory.families` exports the function, the command line knows it by `key`, and the tests of the families read
    its φ exactly and in floats, count its laws and build it twice, all at the sizes of `example`.

    Args:
        key: its name on the command line.
        usage: what the sizes mean, in the order of the command line.
        example: sizes of a small member.
        laws: the number of conservation laws of that member.
        counts: the least and the largest number of sizes; by default those of the positional parameters.
        arguments: turns the tuple of sizes into the positional arguments of the function; by default one each.
        metric: see `Family`.

    Returns:
        The decorator, which returns the function as it is.
    """

    def register(build: Callable[..., Architecture]) -> Callable[..., Architecture]:
        known = FAMILIES.get(key)
        if known is not None and known.build.__qualname__ != build.__qualname__:
            raise ValueError(
                f"Argument `key` must be new, but {key!r} is {known.build.__qualname__} already."
            )
        parameters = inspect.signature(build).parameters
        sized = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "bias"]
        FAMILIES[key] = Family(
            key=key,
            build=build,
            usage=usage,
            counts=counts or (sum(p.default is p.empty for p in sized), len(sized)),
            example=tuple(example),
            laws=integer(laws, "laws", minimum=0),
            arguments=arguments,
            takes_bias="bias" in parameters,
            metric=dict(metric or {}),
        )
        return build

    return register
