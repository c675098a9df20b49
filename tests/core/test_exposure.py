"""What is said to one whose server everybody could use."""

import sys

import pytest

from embedwell import exposure
from embedwell.config.schema import Server
from embedwell.errors import ConfigurationError

OPEN = Server(host="0.0.0.0", allowed_hosts=("*",))


def test_the_plugin_for_keys_is_to_be_installed_only_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        exposure.check(OPEN, guarded=False)
    assert "([plugins.auth]; python -m embedwell_plugin_auth new NAME makes one)" in str(
        caught.value
    )
    monkeypatch.setitem(sys.modules, "embedwell_plugin_auth", None)
    with pytest.raises(ConfigurationError, match="pip install embedwell-plugin-auth, then python"):
        exposure.check(OPEN, guarded=False)
