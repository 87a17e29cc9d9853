"""A proxy that behaves like a waiting room's Wi-Fi: requests vanish, answers vanish, and outages."""

import http.client
import json
import random
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FlakyProxy:
    """Passes requests on to a server, or not, by the dice of `seed`."""

    def __init__(self, port: int, *, lost_requests: float, lost_answers: float, seed: int) -> None:
        self.lost_requests = lost_requests
        self.lost_answers = lost_answers
        self.is_down = False
        self.says_itself = ""  # what a network's sign-in page says in the server's place
        self.n_told = 0
        # What a careless server would do, for the controls of the tests:
        self.acknowledges_unstored = False  # says "stored" before it is, and loses some
        self.numbers_anew = False  # takes every delivery for a new one
        self.n_dropped = 0
        self.n_passed = 0
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._number = 0
        self._has_answers = False
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Nothing: the path holds a secret."""

            def handle_one_request(self) -> None:
                """A browser that has gone is no news."""
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do_GET(self) -> None:
                """Pass on, or not."""
                proxy.serve(self)

            do_POST = do_HEAD = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.target = port
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """One request: lost before it arrives, lost on its way back, or answered."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            lost = self.is_down or self._dice.random() < self.lost_requests
            mute = self._dice.random() < self.lost_answers
        is_delivery = handler.path.endswith("/deliver/")
        if is_delivery and (self.acknowledges_unstored or self.numbers_anew) and json.loads(body)["answers"]:
            with self._lock:
                is_first, self._has_answers = not self._has_answers, True
            if is_first:  # one fault for certain: answers go out together, and the dice may spare the few deliveries
                lost, mute = self.acknowledges_unstored, self.numbers_anew
        if lost and is_delivery and self.acknowledges_unstored:
            last = max(answer["sequence"] for answer in json.loads(body)["answers"])
            said = json.dumps({"last_sequence": last, "status": "started"}).encode()
            self._answer(handler, 200, [("Content-Type", "application/json")], said)
            return
        if lost:
            self._hang_up(handler)
            return
        if is_delivery and self.numbers_anew:
            body = self._numbered_anew(body)
        if self.says_itself:
            self.n_told += 1
            self._answer(handler, 200, [("Content-Type", "text/html")], self.says_itself.encode())
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=20)
        own = ("connection", "host", "content-length")
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in own}
        connection.request(handler.command, handler.path, body, {**headers, "Host": f"127.0.0.1:{self.target}"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if mute:
            self._hang_up(handler)
            return
        self.n_passed += 1
        self._answer(handler, answer.status, answer.getheaders(), content)

    def _numbered_anew(self, body: bytes) -> bytes:
        delivery = json.loads(body)
        with self._lock:
            for answer in delivery["answers"]:
                self._number += 1
                answer["sequence"] = self._number
        return json.dumps(delivery).encode()

    def outage(self, seconds: float) -> None:
        """Nothing passes for a while."""
        self.is_down = True
        time.sleep(seconds)
        self.is_down = False

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], content: bytes
    ) -> None:
        handler.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "content-length", "transfer-encoding", "server", "date"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _hang_up(self, handler: BaseHTTPRequestHandler) -> None:
        self.n_dropped += 1
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
