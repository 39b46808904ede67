"""The gate that settings in a library's own names pass through.

A setting either takes effect or is refused with a reason; none is ignored. A setting is refused where

- the kit owns it: the error says which parameter of the ranker to use;
- it depends on the order of the rows, which the kit changes: the error says what to use instead;
- it would do nothing here: the error says why;
- it acts only together with another setting that is not in force;
- the library does not know the name: the error gives the nearest name that it knows.

Libraries have several spellings for most settings. The gate takes each of them and passes on the main one, so
that two spellings of one setting cannot contradict each other.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lambdamart_kit.boosters.settings import ParameterNames

Settings: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Need:
    """What has to be in force for a setting to do anything.

    Attributes
    ----------
    what : str
        In words, such as ``"boosting='dart'"``.
    holds : callable
        All settings in force, under their main names, to whether it is so.
    """

    what: str
    holds: Callable[[Settings], bool]


def needs_value(name: str, *values: Any) -> Need:
    """The need that setting `name` has one of the `values`.

    Examples
    --------
    >>> needs_value("boosting", "dart").holds({"boosting": "gbdt"})
    False
    """
    return Need(f"{name}={' or '.join(map(repr, values))}", lambda settings: settings.get(name) in values)


@dataclass(frozen=True)
class Gate:
    """Which settings of a library may be passed on, and what to say of the others.

    Attributes
    ----------
    library : str
        Name in errors.
    spellings : mapping
        Every name the library takes, to the main name of the same setting.
    owned : mapping
        Main name to the ranker's parameter for it.
    order_dependent : mapping
        Main name of a setting that depends on the order of rows, to what to use instead.
    idle : mapping
        Main name of a setting that would do nothing here, to why, and what to use instead.
    needs : mapping
        Main name to what must be in force for it to act.
    values : mapping
        Main name to the values that work here; others are refused.

    Examples
    --------
    >>> spellings = {"eta": "rate", "rate": "rate", "drop": "drop"}
    >>> gate = Gate("a library", spellings, owned={"rate": "learning_rate"})
    >>> gate.admit({"drop": 0.5}, {})
    {'drop': 0.5}
    >>> gate.admit({"eta": 0.5}, {})
    Traceback (most recent call last):
    ValueError: 'booster_params' must not hold 'eta'; use the parameter 'learning_rate'
    >>> gate.admit({"dorp": 0.5}, {})
    Traceback (most recent call last):
    ValueError: 'booster_params' must hold settings of a library; it has no 'dorp' (did you mean 'drop'?)
    """

    library: str
    spellings: Mapping[str, str]
    owned: Mapping[str, str] = field(default_factory=dict)
    order_dependent: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, Need] = field(default_factory=dict)
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def admit(self, extra: Settings, in_force: Settings) -> dict[str, Any]:
        """The settings of `extra` under their main names.

        Parameters
        ----------
        extra : mapping
            What the user passed, in any spelling.
        in_force : mapping
            What the kit sets by itself, under main names.

        Raises
        ------
        ValueError
            If a setting would not take effect; the message names all of them.
        """
        unknown = [name for name in extra if name not in self.spellings]
        if unknown:
            raise ValueError(
                f"'booster_params' must hold settings of {self.library}; it has no "
                f"{', '.join(map(self._with_nearest, unknown))}"
            )
        admitted: dict[str, Any] = {}
        given_as: dict[str, str] = {}
        problems: list[str] = []
        for given, value in extra.items():
            name = self.spellings[given]
            reason = self._refusal(given, name, value)
            if reason is not None:
                problems.append(f"'booster_params' must not hold {given!r}; {reason}")
            elif name in admitted:
                problems.append(
                    f"'booster_params' must not hold both {given_as[name]!r} and {given!r}, one setting"
                )
            admitted[name] = value
            given_as[name] = given
        if not problems:
            problems = self._unmet_needs(given_as, {**in_force, **admitted})
        if problems:
            raise ValueError(". ".join(problems))
        return admitted

    def _with_nearest(self, unknown: Any) -> str:
        nearest = difflib.get_close_matches(str(unknown), self.spellings, n=1, cutoff=0.6)
        return f"{unknown!r}" + (f" (did you mean {nearest[0]!r}?)" if nearest else "")

    def _refusal(self, given: str, name: str, value: Any) -> str | None:
        """Why a setting is refused whatever else is set; None if it is not."""
        if name in self.owned:
            return f"use the parameter {self.owned[name]!r}"
        if name in self.order_dependent:
            return (
                "it depends on the order of the rows, which the kit changes so that models do not depend on "
                f"it; {self.order_dependent[name]}"
            )
        if name in self.idle:
            return self.idle[name]
        if name in self.values and value not in self.values[name]:
            allowed = ", ".join(map(repr, self.values[name]))
            return f"got {value!r}, and what works here is {allowed}"
        return None

    def _unmet_needs(self, given_as: Mapping[str, str], settings: Settings) -> list[str]:
        return [
            f"'booster_params' has {given!r}, which acts only with {self.needs[name].what}"
            for name, given in given_as.items()
            if name in self.needs and not self.needs[name].holds(settings)
        ]


def same_names(names: Sequence[str]) -> dict[str, str]:
    """Spellings of settings that have one name each."""
    return {name: name for name in names}


def owned_by_rankers(names: ParameterNames) -> dict[str, str]:
    """A library's settings that are parameters of a ranker: the library's name to the parameter's.

    Examples
    --------
    >>> owned_by_rankers({"learning_rate": "eta", "n_threads": "nthread", "reg_alpha": None})
    {'eta': 'learning_rate', 'nthread': 'n_jobs'}
    """
    renamed = {"seed": "random_state", "n_threads": "n_jobs"}
    return {name: renamed.get(kit_name, kit_name) for kit_name, name in names.items() if name is not None}
