"""What a client asks for, checked by allowlist before anything is connected to."""

import re

from msgspec import Struct

from embedwell import Invalid

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")
_REPO = re.compile(r"(?!-)[A-Za-z0-9._-]{1,100}")
_REVISION = re.compile(r"(?!-)[A-Za-z0-9._/-]{1,128}")
_SUBFOLDER = re.compile(r"[A-Za-z0-9._-]{1,100}(?:/[A-Za-z0-9._-]{1,100}){0,7}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /models/github: `repository` is owner and repo in one."""

    repository: str | None = None
    owner: str | None = None
    repo: str | None = None
    revision: str | None = None
    subfolder: str | None = None
    model: str | None = None


class Wanted(Struct, frozen=True):
    """A model to fetch; `revision` None is the default branch, `name` the tag it gets."""

    owner: str
    repo: str
    revision: str | None
    subfolder: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.repo}"

    @property
    def key(self) -> str:
        """What two requests for the same work have in common."""
        revision = f"@{self.revision}" if self.revision else ""
        subfolder = f":{self.subfolder}" if self.subfolder else ""
        name = f" as {self.name}" if self.name != str(self) else ""
        return f"{self}{revision}{subfolder}{name}"


def wanted(body: Body) -> Wanted:
    """Raises Invalid, naming the field."""
    owner, repo = _repository(body)
    if body.revision is not None and not (
        _REVISION.fullmatch(body.revision) and _clean(body.revision)
    ):
        raise _invalid("revision", "a branch, a tag or a commit")
    if body.subfolder is not None and not (
        _SUBFOLDER.fullmatch(body.subfolder) and _clean(body.subfolder)
    ):
        raise _invalid("subfolder", "a path in the repository like 'models/small'")
    name = _name(body, f"{owner}/{repo}")
    return Wanted(owner, repo, body.revision, body.subfolder or "", name)


def _repository(body: Body) -> tuple[str, str]:
    if body.repository is None:
        return _field("owner", body.owner, _OWNER), _field("repo", body.repo, _REPO)
    if body.owner is not None or body.repo is not None:
        raise Invalid("Give repository, or owner and repo, not both", param="repository")
    owner, _, repo = body.repository.partition("/")
    if not _OWNER.fullmatch(owner) or not _REPO.fullmatch(repo) or not _clean(repo):
        raise _invalid("repository", "'owner/repo' (not a URL)")
    return owner, repo


def _field(name: str, value: str | None, pattern: re.Pattern[str]) -> str:
    if value is None:
        both = " (with owner and repo, or repository in their place)"
        raise Invalid(f"Field required: {name}{both}", param=name)
    if not pattern.fullmatch(value) or not _clean(value):
        raise _invalid(name, "GitHub's name for it, in letters, digits, '-', '.' and '_'")
    return value


def _name(body: Body, repository: str) -> str:
    if body.model is None and body.subfolder is not None:
        raise Invalid("Field required: model (with subfolder, what to call it)", param="model")
    name = repository if body.model is None else body.model
    if _TAG.fullmatch(name):
        return name
    if body.model is None:
        raise Invalid(f"Field required: model ({repository} cannot be its name)", param="model")
    raise _invalid("model", "'name' or 'owner/name' in letters, digits, '.', '_' and '-'")


def _clean(path: str) -> bool:
    """Whether no part of it means another place; a part that begins with '-' is nobody's name."""
    parts = path.split("/")
    return ".." not in path and not any(p in ("", ".") or p.startswith("-") for p in parts)


def _invalid(field: str, expected: str) -> Invalid:
    return Invalid(f"Invalid value for {field}: expected {expected}", param=field)
