"""How the MCP servers of the demo and of the stories are served: on loopback, known by a file, and ended with whoever started them.

It knows nothing of what is served.
"""

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn


def end_with_parent() -> None:
    """Whoever started this server holds its standard input open; when that closes, there is nobody left to serve."""
    sys.stdin.buffer.read()
    os._exit(0)


def serve(app: Any, port: int = 0, ready_file: Path | None = None) -> None:
    """Port 0 is any free one. The ready file receives the port, whole, once it listens."""
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=end_with_parent, daemon=True).start()
    if ready_file:
        unfinished = ready_file.with_suffix(".tmp")
        unfinished.write_text(str(listener.getsockname()[1]))
        unfinished.rename(ready_file)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
