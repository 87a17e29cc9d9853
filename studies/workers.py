"""Who a worker is, for the leases that it claims."""

import os
import socket


def claimant(claim: str | None) -> str:
    """Host, process and message or purpose, so that no two claims share a name."""
    return f"{socket.gethostname()}:{os.getpid()}:{claim}"
