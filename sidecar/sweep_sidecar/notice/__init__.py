"""What the cloud announces of the machine that the pod runs on, asked from inside of the pod."""
