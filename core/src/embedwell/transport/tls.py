"""The server's certificate and key."""

import ssl

from embedwell.config.schema import Server
from embedwell.errors import ConfigurationError


def context(server: Server) -> ssl.SSLContext | None:
    """TLS 1.2 and later; None where none is configured.

    Raises ConfigurationError where certificate or key cannot be read or do not belong together.
    """
    if not server.tls_certificate:
        return None
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    _readable("tls_certificate", server.tls_certificate)
    _readable("tls_key", server.tls_key)
    try:
        made.load_cert_chain(server.tls_certificate, server.tls_key, password=_no_password)
    except ValueError:
        raise _wrong("tls_key", server.tls_key, "is encrypted: give it without a password") from None
    except OSError as error:  # SSLError is one
        why = "do not belong together" if "MISMATCH" in str(error) else f"cannot be used: {error}"
        both = f"{server.tls_certificate} and {server.tls_key}"
        raise _wrong("tls_certificate", both, why) from error
    return made


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):  # noqa: PTH123 - Path raises on a NUL
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _wrong(key, path, f"cannot be read: {reason}") from error


def _wrong(key: str, path: str, why: str) -> ConfigurationError:
    return ConfigurationError([f"server.{key}: {path}: {why}"])


def _no_password() -> str:
    raise ValueError("no password")
