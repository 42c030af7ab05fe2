#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A web API to call: the stock and the prices of a small shop. shop.py PORT_FILE writes its port there."""
import http.server
import json
import pathlib
import sys
import urllib.parse

STOCK = {"lamp": {"price": 35, "in_stock": 4}, "chair": {"price": 80, "in_stock": 0}, "desk": {"price": 240, "in_stock": 2}}


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = urllib.parse.urlparse(self.path).path
        name = urllib.parse.unquote(path.removeprefix("/items/"))
        if path == "/items":
            self.reply(200, sorted(STOCK))
        elif name in STOCK:
            self.reply(200, {"name": name, **STOCK[name]})
        else:
            self.reply(404, {"error": f"there is no {name}; there are {', '.join(sorted(STOCK))}"})

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    pathlib.Path(sys.argv[1]).write_text(str(server.server_port))
    server.serve_forever()
