"""What a part of the soak has come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from soak.verdict import Finding, Sample


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """Samples, what they say, what is `wrong` besides, and how often everything was met that it was to bear."""

    samples: Sequence[Sample]
    findings: Sequence[Finding]
    wrong: Sequence[str]
    met: Mapping[str, int]

    @property
    def holds(self) -> bool:
        """Whether all that was sampled is flat, and nothing else is wrong."""
        return not self.wrong and all(finding.holds for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "holds": self.holds,
            "findings": [asdict(finding) for finding in self.findings],
            "wrong": list(self.wrong),
            "met": dict(self.met),
            "samples": [{"at_s": round(sample.at_s, 1), **sample.values} for sample in self.samples],
        }
