"""A converted model as one file: its core, description and provenance. Any maskserve of the same contract opens it.

The file is a ZIP archive whose members are stored without compression, so that the core is read from it as it is. The
members are `model.json`, `provenance.json`, the files of the core, and `digests.json`: the SHA-256 of all others.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import ToolError
from maskserve.paddlex.model_files import BUNDLE, is_bundle, wrong_name
from maskserve.temporary import owned_folder, remove_stale
from maskserve_server.engine_table import engine_called
from maskserve_server.engines import Engine, load_engine, load_engine_from_bytes
from maskserve_server.one_conversion import PROVENANCE, written_anew
from maskserve_server.spec import FILE_NAME, CoreSpec, ModelSpec

DIGESTS = "digests.json"
_BIGGEST_TEXT = 64 << 20  # bytes of a description; the largest real one has some 50 KB
# What zipfile, its decompressors and json raise for what is no archive, or a damaged one. RuntimeError is an encrypted
# member, and all of the others that these have.
_NOT_A_BUNDLE = (zipfile.BadZipFile, LookupError, ValueError, TypeError, ArithmeticError, RuntimeError, EOFError,
                 MemoryError, AttributeError, zlib.error, lzma.LZMAError, struct.error)  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same model makes the same bytes


def write_bundle(path: Path, spec: ModelSpec, core: Mapping[str, Path], provenance: str) -> int:
    """Write a model as one file: beside its place first, so that a failure leaves what was there.

    Args:
        path: the file to write; its name ends with ``.maskserve``.
        spec: the model.
        core: the files of the core by their names.
        provenance: the text of its provenance.

    Returns:
        The size of the file, in bytes.

    Raises:
        ToolError: `path` is called otherwise, or cannot be written.
    """
    if not is_bundle(path):
        raise ToolError(f"{path} cannot be a bundle: its name must end with {BUNDLE}, and it must be no folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path.parent, hidden=True)
        with owned_folder("bundle", path.parent, hidden=True) as beside:
            staging = beside.path / "written"
            with zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as archive:
                _fill(archive, {FILE_NAME: spec.to_json().encode(), PROVENANCE: provenance.encode()}, core)
            staging.replace(path)
        return path.stat().st_size
    except OSError as error:
        raise ToolError(f"{path} cannot be written: {error.strerror or error}") from error


def _fill(archive: zipfile.ZipFile, texts: Mapping[str, bytes], core: Mapping[str, Path]) -> None:
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    for name, text in texts.items():
        archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)
    for name, source in core.items():
        content = source.read_bytes()
        digests[name] = hashlib.sha256(content).hexdigest()
        archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    archive.writestr(zipfile.ZipInfo(DIGESTS, _EPOCH), json.dumps(digests, indent=2, sort_keys=True))


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: the file.
        spec: the model.
        provenance: where it came from, as `provenance.json` says it.
        digests: the SHA-256 of each other member, by its name.
    """

    path: Path
    spec: ModelSpec
    provenance: Mapping[str, Any]
    digests: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open a bundle and check its description.

        Raises:
            ToolError: it cannot be read, is none, is damaged, or was written for another version of the contract.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                digests = json.loads(_text(archive, DIGESTS))
                texts = {name: _checked(path, digests, name, _text(archive, name)) for name in (FILE_NAME, PROVENANCE)}
            spec, provenance = ModelSpec.from_json(texts[FILE_NAME].decode()), json.loads(texts[PROVENANCE])
            if wrong := wrong_name(spec.name):
                raise ToolError(wrong)
            if not isinstance(provenance, dict):
                raise ValueError(f"{PROVENANCE} is no map")
            return cls(path, spec, provenance, digests)
        except OSError as error:
            if error.errno == errno.EINVAL:  # a place before the file's beginning
                raise _damaged(path) from error
            raise ToolError(f"{path} cannot be read: {error.strerror or error}") from error
        except ToolError as error:
            raise ToolError(error.message if str(path) in error.message else f"{path}: {error.message}") from error
        except _NOT_A_BUNDLE as error:
            raise _damaged(path) from error

    def load(self, *, threads: int, core: CoreSpec | None = None, device: str = "cpu", streams: int = 1) -> Engine:
        """Load the core; only Paddle's engine needs its files unpacked, for the time of loading.

        Args:
            threads: how many CPU threads one run may use.
            core: the same core on another engine.
            device: what the engine calls the device that it runs on.
            streams: how many runs there may be at the same time on a CPU.

        Raises:
            NotOfOneConversion: another bundle has taken its place.
            ToolError: the core is missing or damaged.
        """
        core = core or self.spec.core
        engine = engine_called(core.engine)
        if engine.reads_onnx:
            content = self._member(core.file)
            return load_engine_from_bytes(core, content, threads=threads, device=device, streams=streams)
        with owned_folder("bundle") as folder:
            for name in (core.file, *engine.files[1:]):
                (folder.path / Path(name).name).write_bytes(self._member(name))
            return load_engine(core, folder.path, threads=threads, device=device, streams=streams)

    def unpack_core(self, folder: Path) -> list[Path]:
        """Write the files of the core into a folder, which is made; return them.

        Raises:
            ToolError: the core is missing or damaged.
        """
        folder.mkdir(parents=True)
        names = [self.spec.core.file, *engine_called(self.spec.core.engine).files[1:]]
        found = [folder / Path(name).name for name in names]
        for name, path in zip(names, found, strict=True):
            path.write_bytes(self._member(name))
        return found

    @property
    def provenance_text(self) -> str:
        """The text of its `provenance.json`."""
        return json.dumps(self.provenance, indent=2) + "\n"

    def _member(self, name: str) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive:
                replaced = json.loads(_text(archive, DIGESTS)) != self.digests
                content = b"" if replaced else archive.read(name)
        except FileNotFoundError as error:
            raise ToolError(f"{self.path} cannot be read: {error.strerror}") from error
        except (OSError, *_NOT_A_BUNDLE) as error:
            raise _damaged(self.path) from error
        if replaced:
            raise written_anew(self.path)
        return _checked(self.path, self.digests, name, content)


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _BIGGEST_TEXT:
        raise ValueError(f"{name} is too large")
    return archive.read(name)


def _checked(path: Path, digests: Mapping[str, str], name: str, content: bytes) -> bytes:
    if digests.get(name) != hashlib.sha256(content).hexdigest():
        raise ToolError(f"{path} is damaged: {name} is not what was written; copy or convert it again")
    return content


def _damaged(path: Path) -> ToolError:
    return ToolError(f"{path} is no bundle of maskserve, or a damaged one; write one with `maskserve convert --bundle`")
