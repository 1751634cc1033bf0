"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell starts its background jobs with SIGINT ignored, and every child inherits that: programs under test would not
# end by an interrupt, and tests would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test fails for being slow: machines are noisy.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
