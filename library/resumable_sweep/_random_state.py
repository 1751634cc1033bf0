"""The global states of random generators as bytes: JSON with a version, no pickle, which could run what it is given."""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import random
import struct
import sys
import warnings
from types import ModuleType
from typing import Any

from resumable_sweep.contract.canonical import canonical_json

SCHEMA_VERSION = 1
_RANDOM_VERSION = 3
_RANDOM_WORDS = struct.Struct("<625I")
"""The generator's 624 words and its place in them (`random.getstate`, version 3)."""


class RandomStateInvalid(ValueError):
    """What should be a saved random state is none, or does not fit the packages that are installed here."""


def captured_state() -> bytes:
    """Return the global random states of this process.

    They are those of `random`, and of numpy and torch where the program has imported them: of numpy the global
    generator (`numpy.random.seed` and the like; a Generator of the program's own is the program's to keep), of torch
    the CPU's and, once CUDA is in use, every CUDA device's. CUDA is not started for it, for that takes memory on each
    device and makes later forks fail.
    """
    state: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "random": _random_captured()}
    if numpy_random := sys.modules.get("numpy.random"):
        state["numpy"] = _json_of_numpy(numpy_random.get_state(legacy=False))
    if torch := sys.modules.get("torch"):
        state["torch"] = _torch_captured(torch)
    return canonical_json(state).encode()


def restore_state(data: bytes) -> None:
    """Set the global random states to those that `captured_state` returned as `data`.

    A package whose state was saved is imported if need be. Where it cannot be, or devices are missing, a
    RuntimeWarning names what stays as it is.

    Raises
    ------
    RandomStateInvalid
        Where `data` is no such state, was written by a newer version, or a package refuses it (another global bit
        generator of numpy, another version of torch); what was set before that stays set.
    """
    state = _parsed(data)
    try:
        words = _RANDOM_WORDS.unpack(_bytes_of(state["random"]["words"]))
        random_state = (_RANDOM_VERSION, words, state["random"]["gauss_next"])
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise RandomStateInvalid(f"the saved state of random is damaged: {error!r}") from error
    # The standard library's last: importing a package may draw from it.
    for name, restore in (("numpy", _restore_numpy), ("torch", _restore_torch)):
        if name in state and (package := _imported(name)):
            try:
                restore(package, state[name])
            except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise RandomStateInvalid(f"{name} does not take its saved random state: {error}") from error
    try:
        random.setstate(random_state)
    except (TypeError, ValueError) as error:
        raise RandomStateInvalid(f"random does not take its saved state: {error}") from error


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        state: Any = json.loads(data)
    except ValueError as error:
        raise RandomStateInvalid(f"this is no saved random state: {error}") from error
    if not isinstance(state, dict) or not isinstance(state.get("random"), dict) or "schema_version" not in state:
        raise RandomStateInvalid("this is no saved random state: it has no schema_version or no state of random")
    version = state["schema_version"]
    if type(version) is not int or version < 1:
        raise RandomStateInvalid(
            f"the saved random state has the schema_version {version!r}: it must be a whole number"
        )
    if version > SCHEMA_VERSION:
        raise RandomStateInvalid(
            f"the saved random state has schema version {version}, this reader knows {SCHEMA_VERSION} at most: "
            "install a newer resumable-sweep"
        )
    return state


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library of its is missing
        warnings.warn(
            f"the saved random state has one of {name}, which cannot be imported here ({error}): what {name} draws "
            "will differ from an uninterrupted run",
            RuntimeWarning,
            stacklevel=3,
        )
        return None


def _random_captured() -> dict[str, Any]:
    version, words, gauss_next = random.getstate()
    if version != _RANDOM_VERSION:
        raise RuntimeError(f"random.getstate() has version {version}, only {_RANDOM_VERSION} can be saved")
    return {"words": _text_of(_RANDOM_WORDS.pack(*words)), "gauss_next": gauss_next}


def _restore_numpy(numpy: ModuleType, state: Any) -> None:
    saved = _numpy_of_json(numpy, state)
    before = numpy.random.get_state(legacy=False)
    current = before["bit_generator"]
    if saved["bit_generator"] != current:
        raise ValueError(
            f"it is of a {saved['bit_generator']}, the global bit generator is a {current}: call "
            "numpy.random.set_bit_generator before the state is restored"
        )
    try:
        numpy.random.set_state(saved)
    except Exception:
        # It may have taken a part of it by then.
        numpy.random.set_state(before)
        raise


def _json_of_numpy(value: Any) -> Any:
    """Return the state of a bit generator, nested mappings of names, numbers and arrays of words, as JSON."""
    if isinstance(value, dict):
        return {name: _json_of_numpy(part) for name, part in value.items()}
    if hasattr(value, "tobytes"):
        if value.ndim == 0:
            return value.item()
        words = value.astype(value.dtype.newbyteorder("<"))
        return {"dtype": words.dtype.str, "words": _text_of(words.tobytes())}
    return value


def _numpy_of_json(numpy: ModuleType, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {"dtype", "words"}:
        dtype = numpy.dtype(value["dtype"])
        return numpy.frombuffer(_bytes_of(value["words"]), dtype=dtype).astype(dtype.newbyteorder("="))
    return {name: _numpy_of_json(numpy, part) for name, part in value.items()}


def _torch_captured(torch: ModuleType) -> dict[str, Any]:
    states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    # tolist, not numpy(): torch works without numpy.
    return {
        "cpu": _text_of(bytes(torch.get_rng_state().tolist())),
        "cuda": [_text_of(bytes(state.tolist())) for state in states],
    }


def _restore_torch(torch: ModuleType, state: Any) -> None:
    saved = [_bytes_of(text) for text in state["cuda"]]
    torch.set_rng_state(torch.tensor(list(_bytes_of(state["cpu"])), dtype=torch.uint8))
    present = torch.cuda.device_count() if saved else 0
    for device, data in enumerate(saved[:present]):
        torch.cuda.set_rng_state(torch.tensor(list(data), dtype=torch.uint8), device)
    if present < len(saved):
        warnings.warn(
            f"the saved random state has those of {len(saved)} CUDA devices, here are {present}: what torch draws on "
            "devices will differ from an uninterrupted run",
            RuntimeWarning,
            stacklevel=3,
        )


def _text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not base64: {error}") from error
