"""What the testbed raises when it cannot do what it was asked."""

from __future__ import annotations


class RigError(Exception):
    """Something that whoever runs the testbed can mend; the message says how."""
