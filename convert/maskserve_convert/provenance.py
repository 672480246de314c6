"""Where a converted model came from: the record that lies beside its core."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from maskserve import contract
from maskserve_convert.cores import Core
from maskserve_convert.paddle.folder import PaddleFolder, sha256
from maskserve_convert.recognised import RecognisedModel
from maskserve_server.engine_table import PADDLE, engine_called
from maskserve_server.spec import FULL


def provenance_of(recognised: RecognisedModel, core: Core, layout: str, more: Mapping[str, Any] | None = None) -> str:
    """Return where an entry came from, without times or machine names: converting again gives the same bytes."""
    folder, points = recognised.folder, recognised.points
    packages = ["maskserve", PADDLE.package, "paddle2onnx", engine_called(core.engine).package]
    packages += ["nncf"] if core.quantised is not None else []
    record: Mapping[str, Any] = {
        "source": {"model_name": folder.model_name, "sha256": folder.digests()},
        "contract": contract.VERSION,
        "family": points.family,
        "classes": recognised.classes,
        "labels": _labels(folder),
        "cut": {
            "where": points.where,
            "outputs": {name: list(tensor.dims) for name, tensor in recognised.outputs.items()},
        },
        "engine": {"name": core.engine, "precision": core.precision, "why": core.reason},
        "passes": [report.as_json() for report in core.passes],
        **({} if core.quantised is None else {"int8": core.quantised.record()}),
        "layout": layout,
        **({} if recognised.decode == FULL else {"decode": recognised.decode}),
        "versions": {package: found for package in dict.fromkeys(packages) if (found := _version(package))},
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **(more or {}),
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _labels(folder: PaddleFolder) -> Mapping[str, Any]:
    file = folder.labels_file
    return {
        "count": len(folder.labels),
        **({} if file == folder.settings else {"file": file.name, "sha256": sha256(file)}),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
