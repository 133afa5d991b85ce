"""a running service -> exit code 0 while it is ready, 1 otherwise: the image's HEALTHCHECK.

Standard library only, as the image has no curl. It looks at the address given as an argument, or
where the environment lets `vaewatch serve` listen: VAEWATCH_PORT, VAEWATCH_TLS_CERT.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request

TIMEOUT = 4.0  # seconds


def address() -> str:
    scheme = "https" if os.environ.get("VAEWATCH_TLS_CERT") else "http"
    return f"{scheme}://127.0.0.1:{os.environ.get('VAEWATCH_PORT') or 8000}"


def is_ready(url: str) -> bool:
    """Return whether /readyz answers; a certificate is not checked, as it names another host."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=TIMEOUT, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError) as error:
        print(f"not ready: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(0 if is_ready(sys.argv[1] if sys.argv[1:] else address()) else 1)
