"""Django's connection to PostgreSQL; a kept one is looked at before it is asked.

Before the first statement of each request Django asks a kept connection for a sign of life. That is one of the two to
six round trips that a questionnaire's request takes. A server that has ended, or ended this connection, has said so on
the socket: where there is nothing to read, nothing has happened.
"""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """As Django's, but for how it is told whether the connection can be used."""

    def is_usable(self) -> bool:
        """Whether the connection stands: by a look at its socket where that is quiet, by a query otherwise."""
        if self.connection is None:
            return False
        if self.errors_occurred or self.connection.closed or _has_news(self.connection.fileno()):
            return bool(super().is_usable())
        return True


def _has_news(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
