"""A process that has everything imported and forks an operator whenever it is told to: a start takes no second then.

It reads orders from its standard input, one JSON object a line, and answers each with a line: `{"start": {variables},
"log": path, "flaw": name}` with the process id, `{"wait": pid}` with the exit code once that process has ended. Its
operators die with it.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

_TREE = Path(__file__).parents[2]
_PATHS = ("library", "operator", "sidecar", "tests/testbed", "tests")
_PR_SET_PDEATHSIG = 1


class OperatorHost:
    """Such a process; a context manager."""

    def __enter__(self) -> OperatorHost:
        paths = os.pathsep.join(str(_TREE / path) for path in _PATHS)
        self._asked = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fire.operator_host"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, variables: Mapping[str, str], *, log: Path, flaw: str = "") -> int:
        """Start an operator with those variables in its environment, and return its process id.

        Parameters
        ----------
        flaw:
            Name of a function in `fire.flaws` that breaks it first, `module:function` where it is in another module;
            empty for none.
        """
        return self._ask({"start": dict(variables), "log": str(log), "flaw": flaw})

    def kill(self, pid: int) -> None:
        """End an operator as the death of its node would, and return when it is dead."""
        os.kill(pid, signal.SIGKILL)
        self.wait(pid)

    def wait(self, pid: int) -> int:
        """Return the exit code of an operator once it has ended; negative: the signal that ended it."""
        return self._ask({"wait": pid})

    def _ask(self, order: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._asked:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


def _serve() -> None:
    import sweep_operator.__main__  # all that an operator imports, before the first of them is forked
    from fire import flaws

    assert sweep_operator.__main__.run
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        elif (answer := os.fork()) == 0:
            code = 70
            try:
                _become_operator(order)
                if order["flaw"]:
                    module, _, name = order["flaw"].rpartition(":")
                    getattr(importlib.import_module(module) if module else flaws, name)()
                code = sweep_operator.__main__.main()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(answer, flush=True)


def _become_operator(order: dict[str, object]) -> None:
    from kubernetes.aio.config import kube_config

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    variables = order["start"]
    assert isinstance(variables, dict)
    os.environ.update(variables)
    # The client has read the variable when it was imported.
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = variables["KUBECONFIG"]


if __name__ == "__main__":
    _serve()
