"""Parameters as the user writes them (any pytree) and as the package holds them (a flat dict, names are key paths)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """A pytree with places for arrays.

    Attributes:
        shapes: name and shape of each array in the order of the declaration, dicts in the order of their keys.
    """

    shapes: dict[str, Shape]
    _tree: Any
    _leaves: tuple[Any, ...]
    _names: tuple[str | None, ...]

    @classmethod
    def of(cls, shapes: Any) -> Structure:
        """Read off a pytree of shapes, arrays or `jax.ShapeDtypeStruct`s; an equinox or flax model will do.

        Float arrays are parameters. What else a model holds (functions, numbers, arrays of integers) stays as it is.

        Raises:
            ValueError: no parameter, a shape that is not of positive integers, or one name for two.
        """
        if not isinstance(shapes, Mapping) and jax.tree_util.all_leaves([shapes], is_leaf=_is_shape):
            raise ValueError(
                f"Argument `shapes` must be a non-empty dict of names and shapes, but is {shapes!r}."
            )
        if isinstance(shapes, Mapping):
            _check_keys(shapes)
        paths, tree = jax.tree_util.tree_flatten_with_path(shapes, is_leaf=_is_shape)
        found: dict[str, Shape] = {}
        names: list[str | None] = []
        for path, leaf in paths:
            name = "/".join(map(_key_text, path))
            shape = _shape_of(leaf, name, path)
            names.append(None if shape is None else name)
            if shape is None:
                continue
            if name in found:
                raise ValueError(
                    f"Argument `shapes` must name its arrays apart, but two are called '{name}'."
                )
            found[name] = shape
        if not found:
            raise ValueError(
                f"Argument `shapes` must be a non-empty dict of names and shapes, but is {_short(shapes)}."
            )
        order = [name for name in _in_order(shapes, ()) if name in found]
        leaves = tuple(leaf if name is None else None for (_, leaf), name in zip(paths, names, strict=True))
        return cls({name: found[name] for name in order}, tree, leaves, tuple(names))

    @property
    def is_flat(self) -> bool:
        """Whether the user's own form is the dict of named arrays."""
        return self._tree == jax.tree_util.tree_structure(dict.fromkeys(self.shapes, 0))

    def build(self, params: Mapping[str, Any]) -> Any:
        """The user's form of a flat dict."""
        leaves = [
            leaf if name is None else params[name]
            for name, leaf in zip(self._names, self._leaves, strict=True)
        ]
        return jax.tree_util.tree_unflatten(self._tree, leaves)

    def template(self) -> Any:
        """What `of` makes this structure from."""
        if self.is_flat:
            return dict(self.shapes)
        return self.build(
            {name: jax.ShapeDtypeStruct(shape, np.float64) for name, shape in self.shapes.items()}
        )

    def named(self, params: Any, argument: str) -> dict[str, Any]:
        """The leaves of the user's form by name, unknown ones too; a flat dict as it is."""
        if isinstance(params, Mapping) and set(params) == set(self.shapes):
            return dict(params)
        found = dict(_walk(params, (), self.shapes))
        if not isinstance(params, Mapping) and not set(found) & set(self.shapes):
            raise ValueError(
                f"Argument `{argument}` must be a dict of named arrays, or have the structure of the model, but is "
                f"{type(params).__name__}."
            )
        known = {name: leaf for name, leaf in found.items() if name in self.shapes}
        # What a model holds beside its parameters is not asked for.
        fixed = not self.is_flat
        others = {
            name: leaf
            for name, leaf in found.items()
            if name not in known and not (fixed and not _is_array(leaf))
        }
        return known | others


def _walk(tree: Any, path: tuple[str, ...], names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Leaves by name; a name of the architecture is a leaf whatever stands there, a nested list of numbers too."""
    name = "/".join(path)
    if path and name in names:
        yield name, tree
        return
    children, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    for key, child in children:
        if not key:
            yield name, child
            return
        yield from _walk(child, (*path, _key_text(key[0])), names)


def _is_shape(node: Any) -> bool:
    """Whether a node of the tree is a shape: a tuple or list of numbers, `()` among them."""
    if isinstance(node, (tuple, list)) and not hasattr(node, "_fields"):
        return all(isinstance(entry, (int, float, np.number)) for entry in node) and (
            bool(node) or isinstance(node, tuple)
        )
    return False


def _shape_of(leaf: Any, name: str, path: Sequence[Any]) -> Shape | None:
    """The shape of a parameter, or `None` for what is none."""
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        if not jnp.issubdtype(leaf.dtype, np.floating):
            return None
        shape: Any = tuple(leaf.shape)
    elif _is_shape(leaf):
        shape = leaf
    elif any(isinstance(key, jax.tree_util.GetAttrKey) for key in path):
        return None
    else:
        shape = (leaf,)
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in shape):
        raise ValueError(
            f"Argument `shapes['{name}']` must be a tuple of positive integers, but is {leaf!r}."
        )
    return tuple(int(n) for n in shape)


def _in_order(tree: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Names of all leaves as they were written; JAX sorts the keys of a dict."""
    children, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    if _is_shape(tree) or (len(children) == 1 and not children[0][0]):
        yield "/".join(path)
        return
    named = {_key_text(key[0]): child for key, child in children}
    order = map(str, tree) if isinstance(tree, Mapping) and set(map(str, tree)) == set(named) else named
    for name in order:
        yield from _in_order(named[name], (*path, name))


def _check_keys(shapes: Mapping[Any, Any]) -> None:
    for key, value in shapes.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"Argument `shapes` must have non-empty strings as names, but has {key!r}.")
        if isinstance(value, Mapping):
            _check_keys(value)


def _key_text(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and jnp.issubdtype(getattr(leaf, "dtype", None) or np.int64, np.floating)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"a {type(value).__name__} without float arrays"
