"""The demo folder as a whole: its files, their places, and how they become visible at once."""

import math
import os
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

from memos_assets.catalog.folder_markers import DEMO_MANIFEST
from memos_assets.demo.aggregator import write_aggregator
from memos_assets.demo.benchmarks import write_model_benchmarks, write_test_results
from memos_assets.demo.caches import write_content_cache, write_scratchpad
from memos_assets.demo.corpus import LAYOUT, REORDERED_LAYOUT, write_corpus
from memos_assets.demo.hybrid import write_bge, write_hsea, write_test_hybrid
from memos_assets.demo.hyperbolic import write_hyperbolic
from memos_assets.demo.manifest import DemoManifest, FileManifest
from memos_assets.demo.meta_buffer import write_meta_buffer
from memos_assets.demo.mixed import write_mixed, write_mixed_archive
from memos_assets.demo.scales import SCALES, Rows, Scale
from memos_assets.demo.semantic import write_semantic_memory
from memos_assets.errors import UsageError
from memos_assets.files import write_whole

_Writer = Callable[[Path, str, str, Rows], FileManifest]


def write_demo(
    directory: Path,
    *,
    scale: Scale,
    seed: int,
    factor: float = 1.0,
    on_file: Callable[[str, int, int], None] | None = None,
) -> DemoManifest:
    """Write a demo memOS folder, all of it or nothing.

    Args:
        directory: made if absent; replaced if it is empty or holds a ``demo_manifest.json``.
        scale: ``"plan"`` has the sizes of the remediation plan, ``"small"`` is below 10 MB.
        seed: with scale and factor, all that the content depends on.
        factor: multiplies the row counts.
        on_file: called after each file with its path below the folder, its rows and its bytes.

    Returns:
        What was written, as in ``demo_manifest.json``.

    Raises:
        UsageError: M510 if the directory holds anything but a demo; M511 if it cannot be written;
            M512 for a scale or a factor that means nothing.
    """
    rows = _rows(scale, factor)
    directory = directory.resolve()
    _refuse_foreign(directory)
    partial_folder = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir()
        try:
            manifest = _write_files(partial_folder, scale, seed, factor, rows, on_file)
            _swap(partial_folder, directory)
        finally:
            shutil.rmtree(partial_folder, ignore_errors=True)
    except (OSError, sqlite3.OperationalError) as error:
        raise UsageError(
            "M511",
            f"cannot be written ({error})",
            where=str(directory),
            fix="name a directory on a disk with space, whose parent you may write to",
        ) from error
    return manifest


def _rows(scale: str, factor: float) -> Rows:
    for known in get_args(Scale):
        if scale == known and math.isfinite(factor) and factor > 0:
            return SCALES[known].times(factor)
    raise UsageError(
        "M512",
        f"scale {scale!r} with factor {factor!r} is not a size",
        where="demo",
        fix=f"choose a scale of {', '.join(get_args(Scale))} and a factor above 0",
    )


def _refuse_foreign(directory: Path) -> None:
    try:
        is_ours = (
            not directory.exists()
            or (directory / DEMO_MANIFEST).is_file()
            or not any(directory.iterdir())
        )
    except OSError:
        is_ours = False
    if not is_ours:
        raise UsageError(
            "M510",
            f"exists, is not empty and holds no {DEMO_MANIFEST}, so it is not replaced",
            where=str(directory),
            fix="name another directory, or empty this one yourself",
        )


def _write_files(
    folder: Path,
    scale: Scale,
    seed: int,
    factor: float,
    rows: Rows,
    on_file: Callable[[str, int, int], None] | None,
) -> DemoManifest:
    files = []
    for relative, write in FILES.items():
        file = write(folder / relative, relative, f"memos-demo/{seed}", rows)
        files.append(file)
        if on_file is not None:
            on_file(file.path, file.rows, file.bytes)
    manifest = DemoManifest(scale=scale, seed=seed, factor=factor, files=tuple(files))
    write_whole(folder / DEMO_MANIFEST, manifest.to_json())
    return manifest


def _swap(written: Path, directory: Path) -> None:
    """Put ``written`` at ``directory``; the former folder goes last, and comes back on failure."""
    if not directory.exists():
        written.rename(directory)
        return
    former = written.with_suffix(".former")
    directory.rename(former)
    try:
        written.rename(directory)
    except OSError:
        former.rename(directory)
        raise
    shutil.rmtree(former)


def _write_fanuc(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    return write_corpus(
        path,
        relative,
        seed,
        domain="fanuc_robotics",
        entities=rows.fanuc_entities,
        relations=rows.fanuc_relations,
        documents=rows.fanuc_documents,
    )


def _write_small_corpus(
    path: Path,
    relative: str,
    seed: str,
    rows: Rows,
    *,
    domain: str,
    is_reordered: bool = False,
) -> FileManifest:
    layout = REORDERED_LAYOUT if is_reordered else LAYOUT
    count = rows.small_corpus
    return write_corpus(
        path,
        relative,
        seed,
        domain=domain,
        entities=count,
        relations=count,
        documents=max(20, count // 4),
        layout=layout,
    )


#: Every file, at the path memOS's writers use below their four roots.
FILES: dict[str, _Writer] = {
    "data/mixed_precision_embeddings.db": write_mixed,
    "data/backup/mixed_precision_archive.db": write_mixed_archive,
    "data/hsea_hybrid.db": write_hsea,
    "data/bge_m3_hybrid.db": write_bge,
    "data/corpuses/fanuc_robotics.db": _write_fanuc,
    "data/corpuses/raspberry_pi.db": partial(_write_small_corpus, domain="raspberry_pi"),
    "data/corpuses/imm_robotics.db": partial(_write_small_corpus, domain="imm_robotics"),
    "cache/rjg_corpus.db": partial(_write_small_corpus, domain="rjg", is_reordered=True),
    "cache/content_cache.db": write_content_cache,
    "data/scratchpad_cache.db": write_scratchpad,
    "data/embedding_aggregator.db": write_aggregator,
    "data/meta_buffer.db": write_meta_buffer,
    "data/hyperbolic_embeddings.db": write_hyperbolic,
    "data/semantic_memory.db": write_semantic_memory,
    "tmp/test_hybrid.db": write_test_hybrid,
    "tests/data/test_results.db": write_test_results,
    "tests/data/model_benchmarks.db": write_model_benchmarks,
}
