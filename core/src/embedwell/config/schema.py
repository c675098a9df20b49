"""One frozen Struct per section of config.toml. Defaults live here and nowhere else."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Device = Annotated[
    str, Meta(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$", description="auto, cpu, cuda or cuda:N")
]
Table = dict[str, Any]
Tag = Annotated[str, Meta(min_length=1, max_length=420)]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=1_000)]
Name = Annotated[str, Meta(min_length=1, max_length=260)]
Names = Annotated[tuple[Name, ...], Meta(max_length=1_000)]
Duration = Annotated[
    str,
    Meta(
        pattern=r"^(forever|[0-9]{1,6}[smhd]?)$",
        description='"forever", or a number and s, m, h or d, as in "10m"',
    ),
]


class Server(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server listens and how it treats requests."""

    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Port = 8000
    data_dir: Annotated[str, Meta(min_length=1)] = "data"
    allowed_hosts: Names = ()
    allowed_origins: Names = ()
    allow_unauthenticated: bool = False
    root_path: Annotated[str, Meta(max_length=1_000)] = ""
    trusted_proxies: Names = ()
    tls_certificate: str = ""
    tls_key: str = ""
    unix_socket: str = ""
    max_body_mb: Annotated[float, Meta(gt=0, le=1024)] = 16
    body_timeout: Seconds = 30
    request_timeout: Seconds = 120
    grace_seconds: Seconds = 30
    log_format: Literal["console", "json"] = "console"


class Engine(Struct, frozen=True, forbid_unknown_fields=True):
    """What computes the vectors."""

    device: Device = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Annotated[int, Meta(ge=0, le=4096)] = 0
    preload: Tags = ()


class Batching(Struct, frozen=True, forbid_unknown_fields=True):
    """How requests become forward passes."""

    max_batch_tokens: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    max_queued_tokens: Count = 1_000_000
    max_inputs: Annotated[int, Meta(ge=1, le=100_000)] = 2048
    batch_timeout: Seconds = 30


class Cache(Struct, frozen=True, forbid_unknown_fields=True):
    """Which strategy keeps models; `tables` are the `[cache.<name>]` sections, as they stand."""

    strategy: Annotated[str, Meta(min_length=1, max_length=100)] = "fixed_size"
    safety_margin_gb: Annotated[float, Meta(ge=0, le=100_000)] = 1.0
    keep_alive: Duration = "forever"
    load_timeout: Seconds = 600
    pinned: Tags = ()
    tables: dict[str, Table] = {}


class Sources(Struct, frozen=True, forbid_unknown_fields=True):
    """How sources are asked; `tables` are the `[sources.<name>]` sections, as they stand."""

    order: tuple[str, ...] = ()
    on_source_error: Literal["stop", "skip"] = "stop"
    resolve_timeout: Seconds = 5
    load_timeout: Seconds = 60
    tables: dict[str, Table] = {}


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept on the disk of models that were uploaded or fetched."""

    keep_revisions: Annotated[int, Meta(ge=0, le=1_000)] = 1
    max_disk_gb: Annotated[float, Meta(ge=0, le=10_000_000)] = 0


class Config(Struct, frozen=True):
    """Everything that config.toml may say; `plugins` are the `[plugins.<name>]` sections.

    `aliases` maps names of the operator's own to tags.
    """

    server: Server = Server()
    engine: Engine = Engine()
    batching: Batching = Batching()
    cache: Cache = Cache()
    sources: Sources = Sources()
    store: Store = Store()
    aliases: dict[str, str] = {}
    plugins: dict[str, Table] = {}
