"""Which version of the operator this is: its image holds the code alone, without a package's metadata."""

VERSION = "0.1.0"
