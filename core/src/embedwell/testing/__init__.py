"""For tests of the server and of plugins: fakes, model folders, contracts.

Needs `pip install "embedwell[testing]"`.
"""

from embedwell.models.files import Files
from embedwell.models.holds import Holds
from embedwell.testing.clock import FakeClock
from embedwell.testing.configs import make_config
from embedwell.testing.contracts import CacheStrategyContract, SourceCase, SourceContract
from embedwell.testing.devices import FakeBackend, FakeEncoder, FakeMemory
from embedwell.testing.file_memory import FileMemory
from embedwell.testing.folders import make_model_folder
from embedwell.testing.services import make_services

__all__ = [
    "CacheStrategyContract",
    "FakeBackend",
    "FakeClock",
    "FakeEncoder",
    "FakeMemory",
    "FileMemory",
    "Files",
    "Holds",
    "SourceCase",
    "SourceContract",
    "make_config",
    "make_model_folder",
    "make_services",
]
