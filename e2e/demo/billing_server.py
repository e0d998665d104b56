"""The demo's REST server: invoices in memory, by the standard library alone. It judges nobody."""

import argparse
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

INVOICES = {1: {"id": 1, "customer": "ada", "amount": 10}, 2: {"id": 2, "customer": "bob", "amount": 2.5}}


class Billing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, value: object = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def invoice(self) -> int | None:
        last = urlsplit(self.path).path.rsplit("/", 1)[-1]
        return int(last) if last.isdigit() and int(last) in INVOICES else None

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/api/invoices":
            customer = parse_qs(address.query).get("customer", [None])[0]
            self.answer(200, [one for one in INVOICES.values() if customer in (None, one["customer"])])
        elif (number := self.invoice()) is not None:
            self.answer(200, INVOICES[number])
        else:
            self.answer(404, {"error": "no such invoice"})

    def do_POST(self) -> None:
        new = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = max(INVOICES) + 1
        INVOICES[number] = {"id": number, **new}
        self.answer(201, INVOICES[number])

    def do_DELETE(self) -> None:
        number = self.invoice()
        if number is not None:
            del INVOICES[number]
        self.answer(404 if number is None else 204)

    def log_message(self, *_: object) -> None:
        pass


def end_with_parent() -> None:
    """Whoever started this server holds its standard input open."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True)
    ready = parser.parse_args().ready_file
    server = ThreadingHTTPServer(("127.0.0.1", 0), Billing)
    threading.Thread(target=end_with_parent, daemon=True).start()
    unfinished = ready.with_suffix(".tmp")
    unfinished.write_text(str(server.server_address[1]))
    unfinished.rename(ready)
    server.serve_forever()
