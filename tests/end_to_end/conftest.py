"""The names that the end-to-end tests share; the server itself is a fixture of all tests."""

from tests.conftest import DEMO

__all__ = ["DEMO"]
