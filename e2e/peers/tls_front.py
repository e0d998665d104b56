"""TLS in front of a plain server on loopback: what a tool server behind `https://` looks like.

It reads nothing of what passes.
"""

import os
import socket
import ssl
import sys
import threading
from pathlib import Path


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def passed_on(plain, context, port):
    try:
        near = context.wrap_socket(plain, server_side=True)
    except (OSError, ssl.SSLError):
        return
    far = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    pump(far, near)


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    certificate, key, port, ready = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=end_with_parent, daemon=True).start()
    unfinished = Path(ready + ".tmp")
    unfinished.write_text(str(listener.getsockname()[1]))
    unfinished.rename(ready)
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=passed_on, args=(plain, context, int(port)), daemon=True).start()


main()
