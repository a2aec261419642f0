"""Verifies mails with dkimpy, with made-up DNS.

Reads {"records": {name: text}, "mails": [base64]} and writes, for each mail, what it
says of each signature.
"""

import base64
import json
import sys

import dkim


def main():
    given = json.load(sys.stdin)
    records = {name + ".": text for name, text in given["records"].items()}

    def lookup(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return records.get(name.rstrip(".") + ".", "").encode()

    out = []
    for mail in given["mails"]:
        mail = base64.b64decode(mail)
        signatures = dkim.DKIM(mail).headers
        count = sum(1 for name, _ in signatures if name.lower() == b"dkim-signature")
        verdicts = []
        for i in range(count):
            try:
                verdicts.append(dkim.DKIM(mail, minkey=2048).verify(idx=i, dnsfunc=lookup))
            except dkim.DKIMException as err:
                verdicts.append(False)
                print(err, file=sys.stderr)
        out.append(verdicts)
    json.dump(out, sys.stdout)


main()
