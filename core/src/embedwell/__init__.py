"""Embedwell: an OpenAI-compatible embeddings server for many models.

Everything a plugin may import is here, and in `embedwell.testing` for its tests.
"""

from embedwell.errors import (
    Conflict,
    EmbedwellError,
    Forbidden,
    Invalid,
    InvalidModel,
    Loading,
    ModelNotFound,
    NotFound,
    Overloaded,
    RateLimited,
    ReadOnly,
    SourceError,
    Unauthorized,
)
from embedwell.interfaces.caches import (
    Admit,
    CacheSpec,
    CacheState,
    CacheStrategy,
    Decision,
    Entry,
    Need,
    Refuse,
    Review,
    Wait,
    Wanted,
)
from embedwell.interfaces.embedding import EmbeddingCall, Embeddings
from embedwell.interfaces.events import (
    BatchRun,
    Embedded,
    Event,
    LoadFailed,
    ModelEvicted,
    ModelLoaded,
    RequestFinished,
    TaskFinished,
    WorkerReplaced,
)
from embedwell.interfaces.hooks import hookimpl
from embedwell.interfaces.models import (
    BlockingSource,
    Fetch,
    ModelKey,
    ModelRef,
    Progress,
    Snapshot,
    Source,
    SourceSpec,
)
from embedwell.interfaces.plugins import Caller, Plugin, PluginSpec, RequestHead
from embedwell.interfaces.routes import Mount, Reply, Request, Route
from embedwell.interfaces.services import BaseServices, Services
from embedwell.interfaces.tasks import Task

__version__ = "0.1.0"

__all__ = [
    "Admit",
    "BaseServices",
    "BatchRun",
    "BlockingSource",
    "CacheSpec",
    "CacheState",
    "CacheStrategy",
    "Caller",
    "Conflict",
    "Decision",
    "Embedded",
    "EmbeddingCall",
    "Embeddings",
    "EmbedwellError",
    "Entry",
    "Event",
    "Fetch",
    "Forbidden",
    "Invalid",
    "InvalidModel",
    "LoadFailed",
    "Loading",
    "ModelEvicted",
    "ModelKey",
    "ModelLoaded",
    "ModelNotFound",
    "ModelRef",
    "Mount",
    "Need",
    "NotFound",
    "Overloaded",
    "Plugin",
    "PluginSpec",
    "Progress",
    "RateLimited",
    "ReadOnly",
    "Refuse",
    "Reply",
    "Request",
    "RequestFinished",
    "RequestHead",
    "Review",
    "Route",
    "Services",
    "Snapshot",
    "Source",
    "SourceError",
    "SourceSpec",
    "Task",
    "TaskFinished",
    "Unauthorized",
    "Wait",
    "Wanted",
    "WorkerReplaced",
    "hookimpl",
]
