"""One POST over TLS, with or without a certificate of one's own; the answer's status and body as JSON, or why there was none.

Arguments: port, path, body, the authority, and the certificate and key, or nothing.
"""

import http.client
import json
import ssl
import sys

port, path, body, authority, *own = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
if own:
    context.load_cert_chain(*own)
headers = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2025-11-25",
}
try:
    connection = http.client.HTTPSConnection("localhost", int(port), context=context, timeout=20)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    print(json.dumps({"status": answer.status, "body": answer.read().decode()}))
except (OSError, http.client.HTTPException) as error:
    print(json.dumps({"error": str(error)}))
