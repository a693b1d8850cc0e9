"""nginx in front of a service, as docker/README.md and the README say: any size, uploads and answers not buffered."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}{listen};
    client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;
    location {path} {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      {headers}
    }}
  }}
}}
"""


@contextlib.contextmanager
def running_nginx(
    folder: Path, upstream: str, port: int, path: str = "/", *, listen: str = "", headers: str = ""
) -> Iterator[None]:
    """Pass `path` on to `upstream` until the block ends.

    Args:
        listen: what follows the port, up to directives of the server.
        headers: more directives of the location.
    """
    config = folder / "nginx.conf"
    config.write_text(
        CONFIGURATION.format(folder=folder, port=port, upstream=upstream, path=path, listen=listen, headers=headers)
    )
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(120)
        if process.stderr:
            process.stderr.close()
