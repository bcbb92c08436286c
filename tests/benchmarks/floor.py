"""The yardstick R: what sending notices costs at the least.

`python -m tests.benchmarks.floor DATABASE SMTP_PORT COUNT FIRST`.

Per 100: claim with a fencing token, send over one connection with pipelining (RFC 2920), and in one transaction delete
what is still held and COPY a row of evidence for each. No rules, no encryption, no templates, no logs, no retries.
Speaks the protocol of `stage.Contender`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256

import psycopg

CHUNK, CONNECTIONS = 100, 2

SCHEMA = """
CREATE TABLE job (id bigint PRIMARY KEY, state text NOT NULL, fence int NOT NULL, address text NOT NULL);
CREATE INDEX ON job (id) WHERE state = 'ready';
CREATE TABLE evidence (job_id bigint, at timestamptz, hash bytea, text bytea)
"""
CLAIM = """
UPDATE job SET state = 'leased', fence = fence + 1 WHERE id = ANY (ARRAY(
    SELECT id FROM job WHERE state = 'ready' ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
)) RETURNING id, fence, address
"""
FINISH = """
DELETE FROM job USING unnest(%s::bigint[], %s::int[]) AS held (id, fence)
WHERE job.id = held.id AND job.fence = held.fence RETURNING job.id
"""
MAIL = (
    "From: Gemeente Maasveld <noreply@maasveld.example.nl>\r\nTo: {}\r\nSubject: Er staat een bericht voor u klaar\r\n"
    "Message-ID: <{}@retour.example.nl>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    "Gemeente Maasveld heeft een bericht voor u klaargezet in Mijn Gemeente. Het is een beschikking.\r\n"
    "U kunt bezwaar maken. Dat kan zes weken lang. Vragen? Bel 14 0999.\r\n.\r\n"
)


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rows: list[tuple[int, int, str]]) -> None:
    """Send a chunk: the body of one mail and the envelope of the next travel together."""
    envelopes = [
        f"MAIL FROM:<b-{number}@retour.example.nl>\r\nRCPT TO:<{address}>\r\nDATA\r\n" for number, _, address in rows
    ]
    bodies = [MAIL.format(address, number) for number, _, address in rows]
    writer.write(envelopes[0].encode())
    for body, envelope in zip(bodies, [*envelopes[1:], ""], strict=True):
        replies = [await reader.readline() for _ in range(3)]
        if not replies[-1].startswith(b"354"):
            raise SystemExit(f"not taken: {replies}")
        writer.write((body + envelope).encode())
        if not (await reader.readline()).startswith(b"250"):
            raise SystemExit("a mail was not taken")


async def work(database: str, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO floor\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    async with await psycopg.AsyncConnection.connect(database) as connection:
        while True:
            async with connection.transaction():
                rows = await (await connection.execute(CLAIM)).fetchall()
            if not rows:
                break
            await send(reader, writer, rows)
            async with connection.transaction(), connection.cursor() as cursor:
                held = await cursor.execute(FINISH, ([row[0] for row in rows], [row[1] for row in rows]))
                finished = {row[0] for row in await held.fetchall()}
                async with cursor.copy("COPY evidence (job_id, at, hash, text) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(("int8", "timestamptz", "bytea", "bytea"))
                    now = datetime.now(UTC)
                    for number, fence, _ in rows:
                        if number in finished:
                            text = b'{"event":"ConsignmentNotification","job":%d,"fence":%d}' % (number, fence)
                            await copy.write_row((number, now, sha256(text).digest(), text))
    writer.close()


async def main() -> None:
    database, port, count, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(SCHEMA)
        async with connection.cursor() as cursor, cursor.copy("COPY job FROM STDIN") as copy:
            for number in range(first, first + count):
                await copy.write_row((number, "ready", 0, f"b{number}@post.example.nl"))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    started = time.perf_counter()
    await asyncio.gather(*(work(database, port) for _ in range(CONNECTIONS)))
    print(time.perf_counter() - started, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
