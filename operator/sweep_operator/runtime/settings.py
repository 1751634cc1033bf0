"""The operator's settings, from its environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweep_operator.pods.settings import PodSettings

SIDECAR_IMAGE = "RSWEEP_SIDECAR_IMAGE"
REPORT_URL = "RSWEEP_REPORT_URL"
PORT = "RSWEEP_PORT"
LOG_LEVEL = "RSWEEP_LOG_LEVEL"
WATCH_NAMESPACES = "RSWEEP_WATCH_NAMESPACES"
SIDECAR_RESOURCES = "RSWEEP_SIDECAR_RESOURCES"
PULL_POLICY = "RSWEEP_IMAGE_PULL_POLICY"

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsInvalid(ValueError):
    """The environment does not make sense; the message names the variable, its value and the mend."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the installer decides. `namespaces` empty means all of them."""

    pods: PodSettings
    port: int = 8080
    log_level: str = "INFO"
    namespaces: tuple[str, ...] = ()


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
    namespaces = environment.get(WATCH_NAMESPACES, "").split(",")
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
    return Settings(
        pods=pods,
        port=_port(environment.get(PORT, "") or "8080"),
        log_level=level,
        namespaces=tuple(name.strip() for name in namespaces if name.strip()),
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
