"""A bound on uploads: a file that is too large stops being received instead of filling the disk."""

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict


class BoundedUploadHandler(FileUploadHandler):
    """Refuse uploads beyond MAXIMUM_IMPORT_BYTES; the form then sees no file and `request.upload_too_large`."""

    def handle_raw_input(
        self, input_data: object, META: dict, content_length: int, boundary: bytes, encoding: str | None = None
    ) -> tuple[QueryDict, MultiValueDict] | None:
        """Begin to count. Only `receive_data_chunk` may stop an upload: from here StopUpload would become a 500."""
        self.received = 0
        return None

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Pass the chunk on to the next handler, unless the file has grown beyond the bound."""
        self.received += len(raw_data)
        if self.received > settings.MAXIMUM_IMPORT_BYTES:
            self._refuse()
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """The next handler makes the file."""
        return None

    def _refuse(self) -> None:
        if self.request is not None:
            self.request.upload_too_large = True  # type: ignore[attr-defined]  read by the import page
        raise StopUpload(connection_reset=False)
