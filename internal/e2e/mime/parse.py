"""Parses mails with Python's email package, strictly.

Reads a JSON list of mails in base64, and writes what it made of each.
"""

import base64
import email
import email.policy
import json
import sys
from email.errors import NonASCIILocalPartDefect

policy = email.policy.strict.clone(utf8=True)


def walk(part):
    yield from part.defects
    for name in part.keys():
        yield from part[name].defects
    if part.is_multipart():
        for inner in part.iter_parts():
            yield from walk(inner)


def parse(raw):
    # As text: the bytes parser knows no UTF-8 in headers (RFC 6532).
    mail = email.message_from_string(raw.decode("utf-8"), policy=policy)
    parts = []
    for part in mail.iter_parts():
        parts.append({
            "type": f"{part.get_content_type()}; charset={part.get_content_charset()}",
            "encoding": part["content-transfer-encoding"],
            "text": part.get_content().replace("\r\n", "\n"),
        })
    boxes = {}
    for name in ("from", "to", "reply-to"):
        if name in mail:
            boxes[name] = [[box.display_name, box.addr_spec] for box in mail[name].addresses]
    return {
        "names": mail.keys(),
        "subject": mail["subject"],
        "boxes": boxes,
        "date": int(mail["date"].datetime.timestamp()),
        "id": mail["message-id"],
        "references": mail["references"],
        "type": mail.get_content_type(),
        "parts": parts,
        # RFC 6532 allows what Python's parser marks.
        "defects": [repr(d) for d in walk(mail) if not isinstance(d, NonASCIILocalPartDefect)],
    }


def main():
    out = []
    for raw in json.load(sys.stdin):
        try:
            out.append(parse(base64.b64decode(raw)))
        except Exception as err:  # strict: the first defect
            out.append({"defects": [repr(err)]})
    json.dump(out, sys.stdout)


main()
