"""What `convert` lets people choose from: the table of engines, and the layouts."""

from __future__ import annotations

from maskserve_server import engine_table

ENGINES = (engine_table.AUTO, *engine_table.engine_names())
PRECISIONS = engine_table.precisions()
TARGETS = engine_table.targets()
ENSEMBLE, SINGLE = "ensemble", "single"
LAYOUTS = (ENSEMBLE, SINGLE)
