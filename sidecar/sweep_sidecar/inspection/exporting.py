"""`merge`: a run's results as a file of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sweep_sidecar.content import ContentReader
from sweep_sidecar.inspection.runs import Run, shape_of
from sweep_sidecar.merging.formats import Lines, write_export
from sweep_sidecar.merging.gathering import gather
from sweep_sidecar.merging.records import Records, State
from sweep_sidecar.merging.side_files import write_side_files


class ExportInvalid(ValueError):
    """What was asked for does not go together; the message names the options and the mend."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to export: to `output` (None: standard output), and each of `beside` to a file next to it."""

    format: str
    output: Path | None
    beside: tuple[str, ...]
    """Of `provenance`, `failed`, `skipped` and `missing`."""
    side_files: Path | None
    partial: bool


@dataclass(frozen=True, kw_only=True)
class Exported:
    """How many items came out, `side_files` None where they were not asked for."""

    items: int
    skipped: int
    failed: int
    foreign: int
    unfinished: tuple[str, ...]
    side_files: int | None


def export_run(run: Run, asked: Asked) -> Exported:
    """Write a run's results, in the order of the items; a run that is not complete is refused unless `partial`.

    Raises
    ------
    ExportInvalid
    RunNotFound, Incomplete, DuplicateKeys, ItemsChanged, CheckpointCorrupt, Unreachable, OSError
    """
    _check(asked)
    with Records() as records:
        gathered = gather(run.store, shape_of(run), records, partial=asked.partial)
        written = None
        if asked.side_files is not None:
            written = sum(
                write_side_files(
                    ContentReader(run.reader(shard)), generation, records, shard=shard, folder=asked.side_files
                )
                for shard, generation in gathered.generations.items()
            )
        for name in asked.beside:
            assert asked.output is not None
            write_export(_beside(asked.output, name), _lines(records, name), format=asked.format)
        # Last, so that its presence says that all the others are there.
        write_export(asked.output, lambda: records.lines(State.DONE), format=asked.format)
        return Exported(
            items=records.count(State.DONE),
            skipped=records.count(State.SKIPPED),
            failed=records.count(State.FAILED),
            foreign=records.count_foreign(),
            unfinished=tuple(gathered.unfinished),
            side_files=written,
        )


def _check(asked: Asked) -> None:
    if asked.output is None and asked.format == "parquet":
        raise ExportInvalid("--format parquet is no text: say where it goes with -o FILE")
    if asked.output is None and asked.beside:
        raise ExportInvalid(f"--{asked.beside[0]} writes a file beside the results: say where they go with -o FILE")
    if asked.format == "parquet" and find_spec("pyarrow") is None:
        raise ExportInvalid("--format parquet needs the package pyarrow: install it, or take --format csv")
    if asked.output is not None and not asked.output.absolute().parent.is_dir():
        raise ExportInvalid(f"-o {asked.output}: there is no folder {asked.output.absolute().parent}: make it first")


def _beside(output: Path, name: str) -> Path:
    return output.with_name(f"{output.stem}.{name}{output.suffix}")


def _lines(records: Records, name: str) -> Lines:
    if name == "provenance":
        return records.origins
    if name == "missing":
        return lambda: _missing(records)
    state = State.SKIPPED if name == "skipped" else State.FAILED
    return lambda: records.lines(state)


def _missing(records: Records) -> Iterator[bytes]:
    # An identity is the canonical JSON of the key.
    return (f'{{"key":{name}}}\n'.encode("utf-8", "backslashreplace") for _, name in records.missing())
