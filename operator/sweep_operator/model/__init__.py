"""What the operator knows and what it intends, as frozen values: no I/O, no clock, nothing but the standard library."""
