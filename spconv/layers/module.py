"""Module: a tree of layers with named parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from spconv.autograd import Parameter, Tensor
from spconv.checks import check_state, type_name
from spconv.compat import Array, array_module, is_array, is_cupy, to_device
from spconv.dtypes import as_numbers, math_type
from spconv.layers.misfit import remedy

Self = TypeVar("Self", bound="Module")

_switching: ContextVar[frozenset[int]] = ContextVar("switching", default=frozenset())
"""Modules whose ``train`` has not returned yet: one below may have a link to one above."""


class IncompatibleKeys(NamedTuple):
    """What :meth:`Module.load_state_dict` did not find a place or a value for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of layers and networks.

    Subclasses assign parameters, buffers and other modules to attributes, also inside of lists,
    tuples and dicts, and define ``forward``. A list is what ``torch.nn.ModuleList`` is for, a dict
    what ``ModuleDict`` is, with the same names in a state. Arrays that are saved but not learned
    are named in ``buffer_names``.

    Examples
    --------
    >>> import spconv
    >>> class Net(spconv.Module):
    ...     def __init__(self):
    ...         self.conv = spconv.SubMConv2d(1, 4, 3)
    ...     def forward(self, x):
    ...         return self.conv(x)
    >>> [name for name, _ in Net().named_parameters()]
    ['conv.weight', 'conv.bias']
    >>> net = Net()
    >>> net.heads = [spconv.Linear(4, 2, bias=False), spconv.Linear(4, 3, bias=False)]
    >>> list(net.state_dict())[2:]
    ['heads.0.weight', 'heads.1.weight']
    """

    buffer_names: ClassVar[tuple[str, ...]] = ()
    training: bool = True
    rng: np.random.Generator  # of random layers only; seed() replaces it

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse slots: what they hold would not be learned nor saved."""
        super().__init_subclass__(**options)
        for kind in cls.__mro__:
            if slots := vars(kind).get("__slots__"):
                raise TypeError(
                    f"{cls.__name__}: a Module holds parameters and layers in ordinary attributes, "
                    f"got {kind.__name__}.__slots__ = {slots!r}; leave it out"
                )

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse an array or a result in a parameter's place: it would not be learned nor saved."""
        held = isinstance(vars(self).get(name), Parameter)
        if held and not (
            value is None
            or isinstance(value, Parameter)
            or (isinstance(value, Tensor) and not value.requires_grad)
        ):
            raise TypeError(
                f"{type(self).__name__}: {name} is a Parameter, got {type_name(value)}; assign its "
                f"values, .{name}.data = array, or a spconv.Parameter"
            )
        object.__setattr__(self, name, value)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    def children(self) -> Iterator[tuple[str, Module]]:
        """Modules held directly, with their attribute names."""
        for name, value in _entries(vars(self)):
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, depth first; a module used twice comes once."""
        yield from self._named_modules(prefix, set())

    def _named_modules(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.children():
            yield from child._named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Pairs (path, parameter); a shared parameter comes once, under its first path.

        With a ``prefix`` in front of every path, as that of a part within the whole.
        """
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, parameter in module.own_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{path}.{name}" if path else name, parameter

    def own_parameters(self) -> list[tuple[str, Parameter]]:
        """Pairs (name, parameter) of those that this module itself has, shared ones in each place.

        Examples
        --------
        >>> from spconv import Linear
        >>> layer = Linear(4, 2)
        >>> layer.same = layer.weight
        >>> [name for name, _ in layer.own_parameters()]
        ['weight', 'bias', 'same']
        """
        entries = _entries(vars(self))
        return [(name, value) for name, value in entries if isinstance(value, Parameter)]

    def parameters(self) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Pairs (path, array) of what is saved but not learned."""
        for path, module in self.named_modules():
            for name, buffer in module.own_buffers():
                yield f"{path}.{name}" if path else name, buffer

    def own_buffers(self) -> list[tuple[str, Array]]:
        """Pairs (name, array) of those that this module itself has.

        Raises
        ------
        TypeError
            If ``buffer_names`` is no tuple of names, or one of them is not that of an array.
        """
        owner, names = type(self).__name__, self.buffer_names
        if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
            fix = f"; write ({names!r},)" if isinstance(names, str) else ""
            raise TypeError(
                f"{owner}: buffer_names must be a tuple of attribute names, got {names!r}{fix}"
            )
        pairs = [(name, getattr(self, name, None)) for name in names]
        for name, buffer in pairs:
            if not is_array(buffer):
                got = type_name(buffer) if hasattr(self, name) else "no such attribute"
                raise TypeError(
                    f"{owner}: buffer_names has {name!r}, which must be an array, got {got}; "
                    f"assign one to self.{name} in __init__"
                )
        return pairs

    def num_parameters(self) -> int:
        """Number of learned values."""
        return sum(parameter.size for parameter in self.parameters())

    def requires_grad_(self: Self, mode: bool = True) -> Self:
        """Have all parameters learn, or stay as they are, without gradients; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad = mode
            if not mode:
                parameter.grad = None  # an optimizer would still follow it
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self: Self, mode: bool = True) -> Self:
        """Switch dropout and batch statistics on (or off); returns self.

        Calls ``train`` of the modules below, so that one that overrides it can stay as it is: a
        normalization with fixed statistics, or a part that is not trained any more.

        Examples
        --------
        >>> import spconv
        >>> class FixedNorm(spconv.BatchNorm):
        ...     def train(self, mode=True):
        ...         return super().train(False)
        >>> net = spconv.SparseSequential(spconv.SubMConv2d(1, 4, 3), FixedNorm(4)).train()
        >>> net.training, net[1].training
        (True, False)
        """
        token = _switching.set(_switching.get() | {id(self)})
        try:
            self._switch(mode, set())
        finally:
            _switching.reset(token)
        return self

    def decides_its_mode(self) -> bool:
        """Whether ``train`` is one of its own."""
        return getattr(self.train, "__func__", None) is not Module.train

    def _switch(self, mode: bool, seen: set[int]) -> None:
        """The mode of all modules below, each once, that do not decide for themselves."""
        self.training = mode
        seen.add(id(self))
        for _, child in self.children():
            if child.decides_its_mode():
                if id(child) not in _switching.get():
                    child.train(mode)
            elif id(child) not in seen:
                child._switch(mode, seen)

    def eval(self: Self) -> Self:
        """Switch to evaluation; returns self."""
        return self.train(False)

    def to(self: Self, device: str) -> Self:
        """Move parameters and buffers to "cpu" or "cuda"; returns self.

        Those that are moved lose their gradients.
        """
        for parameter in self.parameters():
            moved = to_device(parameter.data, device)
            if moved is not parameter.data:
                parameter.data, parameter.grad = moved, None
        for _, module in self.named_modules():
            for name, buffer in module.own_buffers():
                setattr(module, name, to_device(buffer, device))
        return self

    def astype(self: Self, dtype: Any) -> Self:
        """Convert parameters and buffers, statistics of float16 to float32; returns self.

        A layer computes in the widest type that it meets, so the inputs must have that type too.
        """
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        for _, module in self.named_modules():
            for name, buffer in module.own_buffers():
                if buffer.dtype.kind == "f":
                    setattr(module, name, buffer.astype(math_type(np.dtype(dtype))))
        return self

    def seed(self: Self, *entropy: int) -> Self:
        """Re-seed every random layer; returns self.

        The generator of layer number i becomes that of ``SeedSequence((*entropy, i))``, so that a
        training step is a function of (seed, step) and can be repeated.
        """
        for number, (_, module) in enumerate(self.named_modules()):
            if "rng" in vars(module):
                module.rng = np.random.default_rng(np.random.SeedSequence((*entropy, number)))
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by path, on the host."""
        arrays = {path: parameter.data for path, parameter in self.named_parameters()}
        arrays.update(self.named_buffers())
        return {
            path: array.get() if is_cupy(array) else array.copy() for path, array in arrays.items()
        }

    def load_state_dict(
        self, state: Mapping[str, np.ndarray], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy parameters and buffers from :meth:`state_dict` of a module of the same form.

        Nothing is rounded: where the state's arrays are wider, the module becomes as wide, which
        :meth:`astype` undoes. Narrower arrays, and numbers in lists, take the module's dtypes.

        Parameters
        ----------
        state : mapping of paths to arrays
        strict : bool
            False takes over what has a place here, and leaves the rest of the module as it is.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``; two empty lists if ``strict``.

        Raises
        ------
        TypeError
            For what is no mapping of paths to arrays, for arrays of integers in the place of
            floating point numbers or the other way round, and for such above 64 bits; nothing is
            changed then.
        ValueError
            For other shapes and, if ``strict``, for missing or unexpected paths; nothing is
            changed then.

        Examples
        --------
        >>> from spconv import Linear, SparseSequential
        >>> body = SparseSequential(Linear(4, 3))
        >>> net = SparseSequential(Linear(4, 3), Linear(3, 2))
        >>> net.load_state_dict(body.state_dict(), strict=False).missing_keys
        ['1.weight', '1.bias']
        """
        owner = f"{type(self).__name__}.load_state_dict"
        check_state(owner, state)
        parameters, buffers = dict(self.named_parameters()), dict(self.named_buffers())
        own = {path: parameter.data for path, parameter in parameters.items()} | buffers
        missing = [path for path in own if path not in state]
        unexpected = [path for path in state if path not in own]
        given = {path: as_numbers(owner, path, state[path]) for path in own if path in state}
        problems = [
            f"{path} has shape {array.shape}, expected {own[path].shape}"
            for path, array in given.items()
            if array.shape != own[path].shape
        ]
        hint = "leave those out and pass strict=False"
        if strict and (missing or unexpected):
            names = [f"missing {path}" for path in missing]
            problems = names + [f"unexpected {path}" for path in unexpected] + problems
            hint = "to take over what fits pass strict=False"
        if problems:
            advice = remedy(state, own, dict(self.named_modules())) or hint
            raise ValueError(
                f"{owner}: the state does not fit this module: {'; '.join(problems)}; {advice}"
            )
        arrays = {}
        for path, array in given.items():
            here, dtype = own[path].dtype, array.dtype
            listed = not hasattr(state[path], "dtype")
            fits = np.can_cast(dtype, here, "same_kind") if listed else dtype.kind == here.kind
            if not fits or dtype.itemsize > 8:
                raise TypeError(
                    f"{owner}: {path} has dtype {here}, got {dtype}; nothing was loaded: convert "
                    f"it, to {'float64 at most' if here.kind == 'f' else here}"
                )
            wide = here if listed else np.result_type(here, dtype)
            arrays[path] = array_module(own[path]).array(array, dtype=wide)
        for path, parameter in parameters.items():
            if path in arrays:
                parameter.data = arrays[path]
        for path, module in self.named_modules():
            for name, _ in module.own_buffers():
                full = f"{path}.{name}" if path else name
                if full in arrays:
                    setattr(module, name, arrays[full])
        return IncompatibleKeys(missing, unexpected)

    def __repr__(self) -> str:
        inner = [f"({name}): {child!r}" for name, child in self.children()]
        if not inner:
            return f"{type(self).__name__}({self.describe()})"
        body = "\n".join(inner).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def describe(self) -> str:
        """What ``repr`` shows between the parentheses."""
        return ""


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None: a layer of the user's own need not know of the others."""
    return {name: value for name, value in options.items() if value is not None}


def _entries(held: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs (path, value) of attributes, with the contents of lists, tuples and dicts."""
    for name, value in held.items():
        path = f"{prefix}{name}"
        if isinstance(value, list | tuple):
            yield from _entries({str(i): entry for i, entry in enumerate(value)}, f"{path}.")
        elif isinstance(value, dict):
            yield from _entries({str(key): entry for key, entry in value.items()}, f"{path}.")
        else:
            yield path, value
