"""The files of docs/deploy say what the server does."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from embedwell.config.load import load
from embedwell.config.schema import Server
from embedwell.config.server import hosts, is_local
from embedwell.process import SPARE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
SETTING = re.compile(r"""\b(EMBEDWELL_[A-Z]+__[A-Z_]+)(?:=|: )('[^']*'|"[^"]*"|[^\s\\]+)""")


def settings(name: str) -> dict[str, str]:
    return {key: value.strip("'\"") if value[0] == "'" else json.loads(value) if value[0] == '"' else value
            for key, value in SETTING.findall(_code(name))}  # fmt: skip


def _code(name: str) -> str:
    lines = (DEPLOY / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def test_the_image_is_closed_until_somebody_opens_it() -> None:
    server = load(ROOT / "config.toml", settings("Dockerfile"), {}).server
    assert not is_local(server)
    assert not server.allow_unauthenticated
    assert hosts(server) == ("localhost", "127.0.0.1", "[::1]")  # for its own health check
    assert server.data_dir == "/data"


def test_the_compose_file_opens_it_for_this_machine() -> None:
    environment = settings("Dockerfile") | settings("compose.yaml")
    assert load(ROOT / "config.toml", environment, {}).server.allow_unauthenticated
    ports = re.findall(r'- "([\d.:]+)"', _code("compose.yaml"))
    assert ports == ["127.0.0.1:8000:8000"]


def test_stopping_has_the_time_that_it_needs() -> None:
    needed = Server().grace_seconds + SPARE
    for name, pattern in (
        ("embedwell.service", r"^TimeoutStopSec=(\d+)$"),
        ("compose.yaml", r"stop_grace_period: (\d+)s"),
        ("README.md", r"--stop-timeout (\d+)"),
        ("README.md", r"terminationGracePeriodSeconds: (\d+)"),
    ):
        found = re.findall(pattern, _code(name), re.M)
        assert [int(seconds) > needed for seconds in found] == [True], name


def test_the_image_gets_what_it_installs() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    wanted = {line[1:] for line in ignored if line.startswith("!")}
    required = (ROOT / "requirements.txt").read_text()
    folders = {
        line.split("/")[1].partition("[")[0] for line in required.splitlines() if "./" in line
    }
    assert folders | {"requirements.txt", "config.toml"} <= wanted


@pytest.mark.system
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "embedwell.service"
    text = (DEPLOY / "embedwell.service").read_text()
    unit.write_text(text.replace("/opt/embedwell/bin/embedwell", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    about_us = [line for line in done.stderr.splitlines() if "embedwell.service" in line]
    assert (done.returncode, about_us) == (0, [])
