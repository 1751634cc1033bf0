"""What is wrong with what a program gave; apart from all others, because all of them may raise it."""

from __future__ import annotations


class SettingsInvalid(ValueError):
    """A parameter or an environment variable cannot be used; the message names it and the mend."""
