"""Exit 0 when the worker in this container answers /health: python health.py 0.0.0.0:6066."""

import http.client
import sys

# http.client, unlike urllib, never goes through a proxy named in the environment.
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1].rpartition(":")[2]), timeout=4)
connection.request("GET", "/health")
sys.exit(connection.getresponse().status != http.client.OK)
