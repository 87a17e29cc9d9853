"""Asks the web server in this container for PATH; exits with 1 unless it answers 200. `python deploy/health.py PATH`"""

import http.client
import os
import sys


def status(path: str) -> int:
    """The answer's status. The Host header is one that the server accepts: the first of ALLOWED_HOSTS."""
    host = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".")
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=8)
    connection.request("GET", path, headers={"Host": "localhost" if host in {"", "*"} else host})
    return connection.getresponse().status


def main() -> None:
    answer = status(sys.argv[1])
    if answer != 200:
        sys.exit(f"{sys.argv[1]} answered {answer}")


if __name__ == "__main__":
    main()
