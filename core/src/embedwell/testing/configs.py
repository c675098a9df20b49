"""A configuration as a file would say it."""

from pathlib import Path

from embedwell.config.load import load
from embedwell.config.schema import Config


def make_config(folder: Path, text: str = "") -> Config:
    """What `text`, TOML as in `config.toml`, says; the data directory is `folder / "data"`.

    The environment is not heeded. Raises ConfigurationError with every reason; plugins' own
    tables are checked when they are loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    path.write_text(text)
    return load(path, {}, {"server.data_dir": str(folder / "data")})
