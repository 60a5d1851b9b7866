"""What is in a file, so that a search finds it: compressed content is read as what it was before.

Parquet: values of columns of text and bytes. Dumps of PostgreSQL: the statements that would restore
them. Others, such as pages of SQLite and lines of logs: the bytes of the file.
"""

import gzip
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from memos_assets.postgres.server.cluster import programs

_READ: Final = 1 << 20
#: What a file that is damaged, or gone in the meantime, raises.
UNREADABLE: Final = (
    *(OSError, EOFError, pa.ArrowException, zipfile.BadZipFile, subprocess.SubprocessError),
)
_DUMP: Final = b"PGDMP"


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a local file.

    Raises:
        Exception: one of `UNREADABLE`.
    """
    if path.suffix == ".dump":
        yield from _of_dump(path)
    else:
        yield from blocks(path.name, partial(path.open, "rb"))


def blocks(name: str, opened: Callable[[], Any]) -> Iterator[bytes]:
    """Yield the content of a file.

    Args:
        name: whose suffix says how it is compressed.
        opened: opens it for reading at any place.

    Raises:
        Exception: one of `UNREADABLE`.
    """
    read = _READERS.get(PurePosixPath(name).suffix, _of_bytes)
    with opened() as file:
        yield from read(file)


def _of_bytes(file: Any) -> Iterator[bytes]:
    while block := file.read(_READ):
        yield bytes(block)


def _of_gzip(file: Any) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as plain:
        yield from _of_bytes(plain)


def _of_zstd(file: Any) -> Iterator[bytes]:
    with pa.input_stream(file, compression="zstd") as plain:
        yield from _of_bytes(plain)


def _of_zip(file: Any) -> Iterator[bytes]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as plain:
                yield from _of_bytes(plain)


def _of_parquet(file: Any) -> Iterator[bytes]:
    parquet = pq.ParquetFile(file)
    wanted = [field.name for field in parquet.schema_arrow if _holds_text(field.type)]
    for batch in parquet.iter_batches(columns=wanted):
        for column in batch.columns:
            yield from _of_column(column)


def _holds_text(of: pa.DataType) -> bool:
    if pa.types.is_nested(of):
        return any(_holds_text(of.field(place).type) for place in range(of.num_fields))
    return not pa.types.is_primitive(of)


def _of_column(column: pa.Array) -> Iterator[bytes]:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary
    if pa.types.is_struct(column.type):
        for place in range(column.type.num_fields):
            yield from _of_column(column.field(place))
    elif isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield from _of_column(column.flatten())
    elif not pa.types.is_primitive(column.type):
        # One value per block would be slow; a text that spans two values is found by chance only.
        yield b"\n".join(
            value.encode() if isinstance(value, str) else value
            for value in column.drop_null().to_pylist()
        )
        yield b"\n"


def _of_dump(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if file.read(len(_DUMP)) != _DUMP:
            file.seek(0)
            yield from _of_bytes(file)
            return
    restore = [str(programs() / "bin" / "pg_restore"), "--file=-", str(path)]
    with subprocess.Popen(restore, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield from _of_bytes(process.stdout)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, restore[0])


_READERS: Final[dict[str, Callable[[Any], Iterator[bytes]]]] = {
    ".parquet": _of_parquet,
    ".gz": _of_gzip,
    ".zst": _of_zstd,
    ".zip": _of_zip,
}
