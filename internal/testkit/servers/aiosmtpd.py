"""Two mail servers: aiosmtpd.py DIR TLSPORT STARTTLSPORT USER PASSWORD

Both want a login, the second by LOGIN, with prompts of its own, know inbox@ and jürgen@otp.test, and put what they get into
DIR/NUMBER.json. DIR has cert.pem and key.pem.
"""

import asyncio
import base64
import itertools
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder, tls_port, starttls_port, user, password = sys.argv[1:]
numbers = itertools.count(1)


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 fine"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address not in ("inbox@otp.test", "jürgen@otp.test"):
            return f"550 5.1.1 <{address}> unknown"
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        path = os.path.join(folder, f"{next(numbers)}.json")
        with open(path + ".part", "w") as file:
            json.dump({
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "utf8": envelope.smtp_utf8,
                "peer": session.peer[1],
                "data": base64.b64encode(envelope.original_content).decode(),
            }, file)
        os.rename(path + ".part", path)
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (user.encode(), password.encode())
    return AuthResult(success=right, handled=False)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    common = dict(hostname="mail.otp.test", enable_SMTPUTF8=True, authenticator=login, auth_required=True)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: SMTP(Handler(), auth_require_tls=False, **common), "127.0.0.1", int(tls_port), ssl=context)
    await loop.create_server(lambda: SMTP(Handler(), tls_context=context, require_starttls=True, auth_exclude_mechanism=["PLAIN"], **common), "127.0.0.1", int(starttls_port))
    await asyncio.Event().wait()


asyncio.run(main())
