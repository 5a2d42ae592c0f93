"""Media that we write, packed: uncompressed tar shards of bounded size, each member addressed as a byte range of its shard.

Equal members in equal order give equal bytes (no times, owners or modes of this machine), and `tar tf` reads every shard.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

SHARD_BYTES = 256 * 2**20


class ShardWriter:
    """Appends members to `folder/shard-00000.tar`, ...; a context manager. A shard closes before it would pass `max_bytes`."""

    def __init__(self, folder: Path, max_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._tar: tarfile.TarFile | None = None
        self._partial = self._path = folder
        self._shards = 0
        self._names: set[str] = set()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def add(self, name: str, data: bytes) -> str:
        """Store `data` as member `name`; returns its URI relative to the folder's parent. Names are unique across the shards."""
        if name in self._names:
            raise ValueError(f"found a second member named {name!r}, expected unique names; clip ids must be unique")
        self._names.add(name)
        if self._tar is not None and self._tar.offset + len(data) + 2048 > self._max_bytes:
            self.close()
        tar = self._tar or self._open()
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o644, 0
        tar.addfile(info, io.BytesIO(data))
        offset = tar.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        return f"{self._folder.name}/{self._path.name}?offset={offset}&bytes={len(data)}"

    def _open(self) -> tarfile.TarFile:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / f"shard-{self._shards:05d}.tar"
        self._partial = self._path.with_suffix(".tmp")
        self._tar = tarfile.open(self._partial, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed by close)
        self._shards += 1
        return self._tar

    def close(self) -> None:
        """Finish the open shard: only then does it get its name."""
        if self._tar is not None:
            self._tar.close()
            self._partial.replace(self._path)
            self._tar = None
