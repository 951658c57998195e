"""What would a bare loop take? Bodies committed undecoded, by whoever sends; nobody is told.

`python -m bench.bare DATA FILE COUNT`: paho with manual acks, a queue to one thread, SQLite in WAL with
synchronous=FULL, commits of up to 1,000 messages or 20 ms, then the PUBACKs. It speaks MQTT 3.1.1, as the collector
does: under version 5 paho's parsing of properties would make it a third slower. Prints "open", and the monotonic time
of the commit that held message number COUNT.
"""

from __future__ import annotations

import queue
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from balise_collector.serve import broker_of

BATCH_MESSAGES, LINGER_S = 1_000, 0.02


def main(data: Path, file: Path, count: int) -> None:
    """Runs until so many messages are committed, then until it is ended."""
    broker = broker_of(data)
    came: queue.SimpleQueue[mqtt.MQTTMessage] = queue.SimpleQueue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=broker.client_id, manual_ack=True)
    client.username_pw_set(broker.username, broker.password)
    client.on_connect = _subscribe
    client.on_subscribe = lambda *_: print("open", flush=True)
    client.on_message = lambda _client, _data, message: came.put(message)
    client.connect(broker.host, broker.port)
    threading.Thread(target=_keep, args=(client, came, file, count), daemon=True).start()
    client.loop_forever()


def _subscribe(client: mqtt.Client, *_: Any) -> None:
    client.subscribe("balise/v1/+/records", 1)


def _keep(client: mqtt.Client, came: queue.SimpleQueue[mqtt.MQTTMessage], file: Path, count: int) -> None:
    db = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE kept(id INTEGER PRIMARY KEY, topic TEXT NOT NULL, body BLOB NOT NULL)")
    kept = 0
    while True:
        batch = _batch(came)
        rows: list[Any] = [(message.topic, message.payload) for message in batch]
        db.execute("BEGIN")
        db.executemany("INSERT INTO kept(topic, body) VALUES (?, ?)", rows)
        db.execute("COMMIT")
        kept += len(batch)
        for message in batch:
            client.ack(message.mid, message.qos)
        if kept >= count:
            print(time.monotonic(), kept, flush=True)


def _batch(came: queue.SimpleQueue[mqtt.MQTTMessage]) -> list[mqtt.MQTTMessage]:
    batch = [came.get()]
    end_s = time.monotonic() + LINGER_S
    while len(batch) < BATCH_MESSAGES:
        try:
            batch.append(came.get_nowait())
        except queue.Empty:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(left_s)
    return batch


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
