"""The operator's settings, from its environment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep_operator.model.claims import Reach
from sweep_operator.pods.overreach import Allowance
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.election import Candidacy

SIDECAR_IMAGE = "RSWEEP_SIDECAR_IMAGE"
REPORT_URL = "RSWEEP_REPORT_URL"
PORT = "RSWEEP_PORT"
LOG_LEVEL = "RSWEEP_LOG_LEVEL"
WATCH_NAMESPACES = "RSWEEP_WATCH_NAMESPACES"
SIDECAR_RESOURCES = "RSWEEP_SIDECAR_RESOURCES"
PULL_POLICY = "RSWEEP_IMAGE_PULL_POLICY"
SERVICE_ACCOUNTS = "RSWEEP_SERVICE_ACCOUNTS"
ALLOWED = "RSWEEP_ALLOWED"
PRIORITY_CLASSES = "RSWEEP_PRIORITY_CLASSES"
LEASE = "RSWEEP_LEASE"
POD_NAME = "RSWEEP_POD_NAME"
POD_IP = "RSWEEP_POD_IP"

_NAME_PATTERN = re.compile(r"[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsInvalid(ValueError):
    """The environment does not make sense; the message names the variable, its value and the mend."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the installer decides. `namespaces` empty means all of them, `candidacy` None that there is one operator."""

    pods: PodSettings
    allowance: Allowance = field(default_factory=Allowance)
    port: int = 8080
    log_level: str = "INFO"
    namespaces: tuple[str, ...] = ()
    candidacy: Candidacy | None = None


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the environment holds.

    Raises
    ------
    SettingsInvalid
        Where a variable is missing or makes no sense.
    """
    image = environment.get(SIDECAR_IMAGE, "")
    if not image:
        raise SettingsInvalid(f"{SIDECAR_IMAGE} is not set: give the image of the sidecar")
    level = (environment.get(LOG_LEVEL, "") or "INFO").upper()
    if level not in _LEVELS:
        raise SettingsInvalid(f"{LOG_LEVEL} is {level!r}: choose one of {', '.join(_LEVELS)}")
    pods = PodSettings(
        sidecar_image=image,
        report_url=environment.get(REPORT_URL, ""),
        pull_policy=environment.get(PULL_POLICY, "") or "IfNotPresent",
    )
    resources = environment.get(SIDECAR_RESOURCES, "")
    if resources:
        pods = PodSettings(
            sidecar_image=pods.sidecar_image,
            report_url=pods.report_url,
            pull_policy=pods.pull_policy,
            resources=_resources(resources),
        )
    port = _port(environment.get(PORT, "") or "8080")
    return Settings(
        pods=pods,
        allowance=_allowance(environment),
        port=port,
        log_level=level,
        namespaces=_listed(environment, WATCH_NAMESPACES),
        candidacy=_candidacy(environment, port=port),
    )


def _candidacy(environment: Mapping[str, str], *, port: int) -> Candidacy | None:
    lease = environment.get(LEASE, "")
    if not lease:
        return None
    parts = lease.split("/")
    if len(parts) != 2 or not all(_NAME_PATTERN.fullmatch(part) and "*" not in part for part in parts):
        raise SettingsInvalid(f"{LEASE} is {lease!r}: give NAMESPACE/NAME")
    name, address = environment.get(POD_NAME, ""), environment.get(POD_IP, "")
    for variable, value, what in ((POD_NAME, name, "a name of its own"), (POD_IP, address, "the address of its pod")):
        if not value:
            raise SettingsInvalid(f"{variable} is not set, and {LEASE} is: give each operator {what}")
    host = f"[{address}]" if ":" in address else address
    return Candidacy(namespace=parts[0], lease=parts[1], name=name, address=f"http://{host}:{port}")


def _listed(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in environment.get(variable, "").split(",") if word.strip())


def _allowance(environment: Mapping[str, str]) -> Allowance:
    accounts = _listed(environment, SERVICE_ACCOUNTS) or Allowance().service_accounts
    for account in accounts:
        parts = account.split("/")
        if len(parts) != 2 or not all(_NAME_PATTERN.fullmatch(part) for part in parts):
            raise SettingsInvalid(f"{SERVICE_ACCOUNTS} has {account!r}: give NAMESPACE/NAME, with * for anything")
    reaches = _listed(environment, ALLOWED)
    for reach in reaches:
        if reach not in set(Reach):
            raise SettingsInvalid(f"{ALLOWED} has {reach!r}: choose among {', '.join(Reach)}")
    classes = _listed(environment, PRIORITY_CLASSES)
    for name in classes:
        if not _NAME_PATTERN.fullmatch(name):
            raise SettingsInvalid(f"{PRIORITY_CLASSES} has {name!r}: give names, with * for anything")
    return Allowance(
        service_accounts=accounts, reaches=frozenset(Reach(reach) for reach in reaches), priority_classes=classes
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise SettingsInvalid(f"{PORT} is {text!r}: give a port between 1 and 65535")
    return int(text)


def _resources(text: str) -> dict[str, Any]:
    try:
        resources = json.loads(text)
    except ValueError as error:
        raise SettingsInvalid(f"{SIDECAR_RESOURCES} is not JSON: {error}") from error
    if not isinstance(resources, dict):
        raise SettingsInvalid(f'{SIDECAR_RESOURCES} is {text!r}: give an object like {{"requests": {{...}}}}')
    return resources
