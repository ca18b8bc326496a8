"""What tests run in a pod: serves one metric, and for `/resolve?name` and `/connect?host:port` says what it sees."""

import http.server
import socket
import urllib.parse


class Probe(http.server.BaseHTTPRequestHandler):
    """Looks at the network from inside a pod."""

    def do_GET(self) -> None:
        """Answer 200 with what was found, 502 with the error."""
        path = urllib.parse.urlsplit(self.path)
        status, text = 200, "probe_up 1\n"
        try:
            if path.path == "/resolve":
                text = socket.gethostbyname(path.query)
            elif path.path == "/connect":
                host, _, port = path.query.partition(":")
                socket.create_connection((host, int(port)), timeout=3).close()
        except OSError as error:
            status, text = 502, str(error)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())


http.server.ThreadingHTTPServer(("", 8000), Probe).serve_forever()
