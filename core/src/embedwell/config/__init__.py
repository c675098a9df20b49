"""Configuration: `config.toml`, the environment and the command line, as frozen Structs."""
