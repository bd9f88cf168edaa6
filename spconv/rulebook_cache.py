"""Rulebooks that are built once for all that comes of an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from spconv.geometry import Geometry
from spconv.rulebook import Rulebook, build, union_of
from spconv.sites import SiteSet

Builder = Callable[[SiteSet, Geometry, str], Rulebook]


class PlannedRulebook(NamedTuple):
    """A rulebook of a plan."""

    source: int
    """Which sites it is over: 0 for the input's, then those that rulebooks led to."""

    geometry: Geometry
    computed: tuple[str, ...]
    """What is computed of it, see :attr:`Rulebook.computed`."""


Plan = tuple[PlannedRulebook, ...]


class RulebookCache:
    """Rulebooks and unions of site sets; it travels from an input to all that comes of it.

    A rulebook is built once per (site set, geometry). A layer's ``indice_key`` names one as
    well, so that :class:`~spconv.SparseInverseConv` finds it.
    """

    def __init__(self) -> None:
        self._built: dict[tuple[SiteSet, Geometry], Rulebook] = {}
        self._named: dict[str, Rulebook] = {}
        self._unions: dict[tuple[SiteSet, ...], SiteSet] = {}
        self._ahead: set[tuple[SiteSet, Geometry]] = set()  # built by a plan, and not asked for yet

    def __getstate__(self) -> dict[str, Any]:
        """Pickled empty: rulebooks are built again where they are needed."""
        return vars(RulebookCache())

    def __repr__(self) -> str:
        return (
            f"RulebookCache({len(self._built)} rulebooks, {len(self._unions)} unions, "
            f"indice_keys={sorted(self._named)})"
        )

    def union(
        self,
        sets: tuple[SiteSet, ...],
        builder: Callable[[tuple[SiteSet, ...]], SiteSet] | None = None,
    ) -> SiteSet:
        """All sites of any of the sets, sorted; the same object for the same sets."""
        if sets not in self._unions:
            self._unions.setdefault(sets, (builder or union_of)(sets))
        return self._unions[sets]

    def get(
        self,
        sites: SiteSet,
        geometry: Geometry,
        owner: str = "spconv",
        name: str | None = None,
        builder: Builder | None = None,
    ) -> Rulebook:
        """Return the rulebook of ``geometry`` over ``sites``, building it the first time.

        ``builder`` is :func:`build`, or that of an engine with arrays elsewhere.
        """
        key, rulebook = (sites, geometry), self.find(sites, geometry)
        if rulebook is None:
            rulebook = self._built.setdefault(key, (builder or build)(sites, geometry, owner))
        self._ahead.discard(key)
        if name is not None:
            known = self._named.setdefault(name, rulebook)
            if known is not rulebook:
                raise ValueError(
                    f"{owner}: indice_key {name!r} already names {known!r} of another layer; "
                    "give layers on other sites or with another kernel a key of their own. The key "
                    "lives in the input tensor: for another network that uses it, make a fresh "
                    "SparseConvTensor of the same arrays"
                )
        return rulebook

    def find(self, sites: SiteSet, geometry: Geometry) -> Rulebook | None:
        """The rulebook, if it has been built."""
        return self._built.get((sites, geometry))

    def plan(self, root: SiteSet) -> Plan:
        """What has been asked for from the sites of an input on, for :meth:`follow`.

        Without what an engine keeps elsewhere, and without unions and what comes of them.
        """
        numbers = {root: 0}
        steps = []
        for key, rulebook in self._built.copy().items():
            sites, geometry = key
            if sites in numbers and key not in self._ahead and type(rulebook) is Rulebook:
                steps.append(PlannedRulebook(numbers[sites], geometry, rulebook.computed))
                numbers.setdefault(rulebook.out_sites, len(numbers))
        return tuple(steps)

    def follow(self, plan: Plan, root: SiteSet) -> None:
        """Build from other sites on what a plan says."""
        sets = [root]
        for step in plan:
            key = sets[step.source], step.geometry
            ahead = self.find(*key) is None
            rulebook = self.get(*key)
            if ahead:
                self._ahead.add(key)
            rulebook.compute(step.computed)
            if rulebook.out_sites not in sets:
                sets.append(rulebook.out_sites)

    def branch(self) -> RulebookCache:
        """A cache that knows what this one does; what it learns dies with what was computed of it.

        For results on sites that are made anew each time: here they would be kept, and never used.
        """
        branch = RulebookCache()
        branch._built, branch._named = dict(self._built), dict(self._named)
        branch._unions = dict(self._unions)
        branch._ahead = self._ahead  # what is asked for there is needed here
        return branch

    def joined(self, others: Sequence[RulebookCache]) -> RulebookCache:
        """This cache, or of different ones a branch that knows what all do."""
        if all(other is self for other in others):
            return self
        joined = self.branch()
        for other in others:
            joined._built = {**other._built, **joined._built}
            joined._named = {**other._named, **joined._named}
        return joined

    def named(self, name: str, owner: str = "RulebookCache") -> Rulebook:
        """Return the rulebook that an earlier layer saved under ``indice_key=name``."""
        if name not in self._named:
            raise ValueError(
                f"{owner}: no earlier layer saved a rulebook as indice_key {name!r}; known keys: "
                f"{sorted(self._named) or 'none'}; give the convolution to invert this indice_key, "
                "and run it on what the input came of"
            )
        return self._named[name]
