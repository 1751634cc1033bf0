"""moto's server with one way in beside HTTP: a line `BUCKET PREFIX COUNT` on stdin makes so many empty objects."""

from __future__ import annotations

import sys

from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

_ACCOUNT = "123456789012"  # the one whose objects moto shows to whoever comes with unknown keys

if __name__ == "__main__":
    ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False).start()
    for line in sys.stdin:
        bucket, prefix, count = line.split()
        for number in range(int(count)):
            s3_backends[_ACCOUNT]["aws"].put_object(bucket, f"{prefix}{number:05d}", b"")
        print("done", flush=True)
