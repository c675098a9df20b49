"""What a TLS connection that failed means to whoever typed its URL."""

import ssl


def advice(error: BaseException) -> str:
    """What went wrong and what to do; "" for what has nothing to do with TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): SSL_CERT_FILE names a CA"
    lost = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    if isinstance(error, ssl.SSLError) and not lost:
        return "it does not answer in TLS: try http://"
    return ""
