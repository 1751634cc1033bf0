"""The command line `resumable-sweep`: what lies in logs is shown, checked, mended and exported, and sweeps are run."""
