"""Rules in the Common Expression Language that the API server itself checks."""

from __future__ import annotations

from typing import Any, NamedTuple

KEY = "x-kubernetes-validations"


class Rule(NamedTuple):
    """One rule: `check` must be true, else the object is refused with a text that `message` yields.

    `check` and `message` are CEL expressions over `self` (and `oldSelf`: then the rule is one of transition, asked only
    on updates). The message is an expression too, so that it can name the value; `static` is what the API server falls
    back to where the expression fails, and what the reference prints. `field` is the path, relative to where the
    rule stands, under which the API server reports it.
    """

    check: str
    static: str
    message: str = ""
    field: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.check, "message": self.static}
        if self.message:
            entry["messageExpression"] = self.message
        if self.field:
            entry["fieldPath"] = self.field
        return entry


def checked_by(*rules: Rule, **keywords: Any) -> dict[str, Any]:
    """Return the extra keywords of a schema that carry `rules`, for pydantic's `json_schema_extra`."""
    return {**keywords, KEY: [rule.to_json() for rule in rules]}


def between(name: str, least: str, most: str) -> Rule:
    """Return the rule that a duration lies between two others."""
    bounds = f"must lie between {least} and {most}"
    return Rule(
        check=f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')",
        static=f"{name} {bounds}",
        message=f"'{name} is ' + self + ' and {bounds}'",
    )


def immutable(*, name: str, why: str, shown: bool) -> Rule:
    """Return the rule that a required field keeps its value.

    `shown` says whether the message can name both values. That is so for texts: to CEL's estimate of costs a number
    made text is endlessly long, and the API server refuses such an expression.
    """
    mend = f"{why}; keep it, or create a sweep under another name"
    return Rule(
        check="self == oldSelf",
        static=f"{name} cannot change: {mend}",
        message=f"'{name} cannot change from ' + oldSelf + ' to ' + self + ': {mend}'" if shown else "",
    )


def immutable_or_absent(*, name: str, why: str) -> Rule:
    """Return the rule, for the object around it, that an optional field keeps its value or its absence."""
    return Rule(
        check=f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
        static=f"{name} cannot be added, changed or removed: {why}; keep it, or create a sweep under another name",
        field=f".{name}",
    )
