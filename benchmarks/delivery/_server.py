"""What is served: a server that says by which revision and process it answers, and what Flotilla is told of it."""

from typing import Any

SERVER = """
import json, os, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
if os.environ.get("CRASH"):
    os._exit(3)
counts = {"asked": 0}
class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = False, 128
class Handler(BaseHTTPRequestHandler):
    def answer(self, body):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.answer({"name": "app"} if self.path != "/metrics" else f"requests_total {counts['asked']}\\n")
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        busy_until = time.thread_time() + float(os.environ.get("BURN_S", "0"))
        while time.thread_time() < busy_until:
            pass
        # Readers of /metrics see all that was asked, also what ends the process or is answered wrong.
        counts["asked"] += 1
        if os.environ.get("DIES"):
            os._exit(3)
        said = [int(os.environ.get("ANSWER", "7"))]
        self.answer({"outputs": [{"name": "y", "data": said}], "pid": os.getpid(), "by": os.environ.get("TAG", "")})
    def log_message(self, *args):
        pass
server = Server((os.environ["HOST"], int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""
SPEC: dict[str, Any] = {
    "image": "python:3.11",
    "command": ["python", "-c", SERVER],
    "resources": {"cpu": "200m", "memory": "64Mi"},
    "shutdown": {"drain_seconds": 2, "grace_seconds": 10},
    # By default Kubernetes waits for a lost node for five minutes before it makes its pods elsewhere.
    "tolerations": [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        for why in ("not-ready", "unreachable")
    ],
}
