"""What `embedwell.testing` says where it cannot be used, and the configuration that it makes."""

import subprocess
import sys
from pathlib import Path

import pytest

from embedwell.errors import ConfigurationError
from embedwell.testing import make_config

WITHOUT = """
import sys
sys.modules["pytest"] = None
import embedwell.testing
"""


def test_without_pytest_it_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False
    )
    last = 'ImportError: embedwell.testing needs pytest: pip install "embedwell[testing]"'
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == last
    assert "ModuleNotFoundError" not in done.stderr


def test_a_configuration_is_what_its_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDWELL_SERVER__PORT", "9000")
    config = make_config(tmp_path / "new", "[plugins.mine]\nsize = 3")
    assert config.plugins == {"mine": {"size": 3}}
    assert config.server.port == 8000
    assert config.server.data_dir == str(tmp_path / "new" / "data")
    with pytest.raises(ConfigurationError, match=r"server\.prot: unknown key"):
        make_config(tmp_path, "[server]\nprot = 1")
