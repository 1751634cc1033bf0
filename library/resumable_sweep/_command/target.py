"""What `run` runs for each item: a function of a module or file, or a command."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending

_FUNCTION = re.compile(r"(?P<where>[\w.]+|[^:]*\.py):(?P<name>[^\W\d][\w.]*)")
_SCRIPT_SUFFIXES = (".py", ".sh", ".R", ".jl")


class Function:
    """The function `name` of a module, or of the file where `where` is a path; it can be sent to other processes.

    Parameters
    ----------
    folder:
        What the path is relative to, and where modules are looked for first.
    """

    def __init__(self, where: str, name: str, *, folder: str) -> None:
        self._where, self._name, self._folder = where, name, folder
        self._loaded: Callable[..., Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _function_of, (self._where, self._name, self._folder)

    def __call__(self, item: Any, **keywords: Any) -> Any:
        """Call it."""
        return self.load()(item, **keywords)

    def load(self) -> Callable[..., Any]:
        """Return the function itself.

        Raises
        ------
        CommandError
            Where there is none.
        """
        if self._loaded is None:
            found: Any = _module_of(self._where, folder=self._folder)
            for part in self._name.split("."):
                found = getattr(found, part, None)
                if found is None:
                    raise CommandError(Ending.USAGE, f"{self._where} has no {self._name}: see how it is spelt there")
            if not callable(found):
                raise CommandError(Ending.USAGE, f"{self._where}:{self._name} is {found!r:.80}, no function")
            self._loaded = found
        return self._loaded

    def for_processes(self) -> Function:
        """Return what stands for the function where it is called in other processes, with its signature."""
        loaded = self.load()
        with suppress(ValueError):  # of some built-in functions nobody can tell
            self.__signature__ = inspect.signature(loaded)
        return self

    @property
    def script(self) -> Path | None:
        """The file that the function comes from, None where there is none."""
        source = inspect.getsourcefile(inspect.unwrap(self.load())) if inspect.isroutine(self.load()) else None
        return None if source is None else Path(source)


def function_of(words: Sequence[str]) -> Function | None:
    """Return the function that the words name as `module:function` or `path/to/file.py:function`, else None."""
    found = _FUNCTION.fullmatch(words[0]) if len(words) == 1 else None
    if found is None:
        return None
    return Function(found["where"], found["name"], folder=str(Path.cwd()))


def script_of_command(words: Sequence[str]) -> Path | None:
    """Return the script among the words of a command: the first that names a file which is one."""
    for word in words:
        path = Path(word)
        if path.is_file() and (path.suffix in _SCRIPT_SUFFIXES or ("/" in word and _has_shebang(path))):
            return path
    return None


def _function_of(where: str, name: str, folder: str) -> Function:
    return Function(where, name, folder=folder)


def _module_of(where: str, *, folder: str) -> ModuleType:
    try:
        if where.endswith(".py"):
            return _module_at(Path(folder, where))
        if folder not in sys.path:
            sys.path.insert(0, folder)
        return importlib.import_module(where)
    except CommandError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
            raise CommandError(
                Ending.USAGE,
                f"there is no module {error.name}: it is looked for in {folder} and where Python finds its packages",
            ) from error
        raise CommandError(Ending.USAGE, f"{where} cannot be imported: {error}; install it") from error
    except Exception as error:
        traceback.print_exception(error)
        raise CommandError(Ending.USAGE, f"{where} cannot be imported: {type(error).__name__}: {error}") from error


def _module_at(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise CommandError(Ending.NO_INPUT, f"there is no file {path}")
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or name in sys.stdlib_module_names:
        name = f"_sweep_{name}"
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Before it runs: its dataclasses look themselves up there, and pickle finds its classes under that name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _has_shebang(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!" and os.access(path, os.X_OK)
    except OSError:
        return False
