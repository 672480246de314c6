"""Empty stand-ins for what PaddleX 3.0.0b2 imports for its chat pipelines: releases that no longer install together."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types

NAMES = frozenset(
    {
        "erniebot",
        "erniebot_agent",
        "faiss",
        "langchain",
        "langchain_community",
        "langchain_core",
        "qianfan",
        "tokenizers",
        "unstructured",
    }
)


class Anything(types.ModuleType):
    """A module in which every name exists."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds those packages, and every module in them."""

    def find_spec(self, name, path=None, target=None):
        """A stand-in for each of them."""
        if name.partition(".")[0] in NAMES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        """A module with every name."""
        return Anything(spec.name)

    def exec_module(self, module):
        """There is nothing to run."""


def stand_in():
    """Let the imports find the stand-ins."""
    sys.meta_path.insert(0, Finder())
