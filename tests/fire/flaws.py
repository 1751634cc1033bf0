"""Ways to break an operator, to see that the harness notices: each is called in its process before it starts."""

from __future__ import annotations
