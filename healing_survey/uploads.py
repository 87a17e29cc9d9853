"""A bound on uploads: a file that is too large stops being received instead of filling the disk."""

from typing import Any

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler, StopUpload


class BoundedUploadHandler(FileUploadHandler):
    """Refuse uploads beyond MAXIMUM_IMPORT_BYTES; the form then sees no file and `request.upload_too_large`."""

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: Any = None
    ) -> None:
        """Begin to count. Only `receive_data_chunk` may stop an upload: from here StopUpload would become a 500."""
        self.received = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Pass the chunk on to the next handler, unless the file has grown beyond the bound."""
        self.received += len(raw_data)
        if self.received > settings.MAXIMUM_IMPORT_BYTES:
            self._refuse()
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """The next handler makes the file."""
        return

    def _refuse(self) -> None:
        if self.request is not None:
            self.request.upload_too_large = True  # type: ignore[attr-defined]  # read by the import page
        raise StopUpload(connection_reset=False)
