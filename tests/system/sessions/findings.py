"""The judgement: what the emulator's own record says of owners and messages, against what Kurir said of them.

Pure. Every finding is a sentence; none means that all is proven of what was looked at. What is allowed is counted, so
that a run tells how often it happened.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from kurir.contracts.commands import SendMessage
from kurir.contracts.events import AnyEvent, ConnectionUpdate, MessageSending, MessageStatusChanged, MessageUpserted
from tests.support.whatsapp_emulator.journal import Entry, Ownership, ownerships
from tests.system.sessions.cluster import Happened

LAST_MOMENTS_S = 3.0  # of a killed process: what was decrypted and is not in the stream yet
STORED_WITHIN_S = 10.0  # what was received without NATS, once it is there again; killed before, it is lost
AFTER_S = 0.5  # what was on its way to the process at that moment
DEATHS = ("kill a shard", "kill a node", "freeze a shard", "freeze a node")  # one that is frozen for long is killed
FINAL = frozenset({"sent", "failed", "unknown", "expired"})


class Findings(NamedTuple):
    """`wrong` must be empty; `counts` is what happened, for the record."""

    wrong: list[str]
    counts: Counter[str]


def owners(journal: Sequence[Entry]) -> Findings:
    """No device had two connected owners at any moment, and no former one said a word after the login of the next."""
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    acts = defaultdict(list)
    for entry in journal:
        if entry["kind"] in ("message.sent", "receipt.sent", "message.acknowledged", "typing.sent", "presence.sent"):
            acts[entry["connection"]].append(entry)
    latest: dict[str, Ownership] = {}
    for owner in ownerships(journal):
        counts["logins"] += 1
        before = latest.get(owner.device)
        latest[owner.device] = owner
        if before is None:
            continue
        if before.until is None or before.until > owner.since:
            wrong.append(f"{owner.device}: logged in at {owner.since} while {before} was connected")
        late = [act for act in acts[before.connection] if act["at"] > owner.since]
        if late:
            wrong.append(f"{owner.device}: {len(late)} acts of a former owner after a login, first {late[0]}")
    return Findings(wrong, counts)


def connections(events: Iterable[AnyEvent], names: Mapping[str, str], happened: Sequence[Happened]) -> Findings:
    """Nobody was told of a replaced device, nor of a QR code, and no former owner told how a connection is.

    `names` is what the emulator calls each device. What an owner said while its node was cut off hangs on its way and
    arrives after its successor's words: its epoch tells so, and who keeps state passes it over.
    """
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    newest: dict[str, int] = {}
    since: dict[str, datetime] = {}
    cuts = [it for it in happened if it.what == "cut a node off"]
    for event in events:
        if not isinstance(event, ConnectionUpdate) or event.device not in names:
            continue
        if event.state in ("replaced", "qr", "pairing_code", "logged_out", "banned"):
            wrong.append(f"{event.device} was {event.state} ({event.reason}) at {event.at}, epoch {event.epoch}")
        if event.epoch > newest.get(event.device, 0):
            newest[event.device], since[event.device] = event.epoch, event.at
        elif event.epoch < newest[event.device]:
            at, name = event.at.timestamp(), names[event.device]
            if event.at <= since[event.device] and any(
                name in cut.devices and cut.since <= at <= cut.until for cut in cuts
            ):
                counts["told by a former owner before its successor spoke, late by a cut"] += 1
            else:
                wrong.append(f"{event.device} was called {event.state} by a former owner at {event.at}")
    return Findings(wrong, counts)


def outbound(
    orders: Mapping[str, SendMessage], events: Iterable[AnyEvent], journal: Sequence[Entry], names: Mapping[str, str]
) -> Findings:
    """Every command ended in a status, WhatsApp knows what is called sent, and whatever WhatsApp took is known here.

    `names` is what the emulator calls each device. A message that a phone has read twice is explained by an outcome
    that was unknown and a tenant that chose to send again.
    """
    wrong: list[str] = []
    counts: Counter[str] = Counter(orders=len(orders))
    said: dict[str, list[MessageStatusChanged]] = defaultdict(list)
    for event in events:
        if isinstance(event, MessageStatusChanged):
            said[event.message_id].append(event)
        elif isinstance(event, MessageSending):
            counts["attempts"] += 1
    taken = {entry["id"]: entry for entry in journal if entry["kind"] == "message.sent"}
    read_as: dict[str, set[str]] = defaultdict(set)  # text -> WhatsApp's ids
    text_of = {}
    for entry in journal:
        if entry["kind"] == "message.read":
            text = entry["content"].get("conversation") or entry["content"].get("extendedTextMessage", {}).get("text")
            read_as[text].add(entry["id"])
            text_of[entry["id"]] = text
    known: set[str] = set()
    in_doubt: Counter[tuple[str, str]] = Counter()  # device and person -> attempts of which nobody knows the outcome
    for text, order in orders.items():
        statuses = [status.status for status in said[order.id]]
        ids = {status.whatsapp_id for status in said[order.id] if status.status == "sent" and status.whatsapp_id}
        known |= ids
        ends = FINAL & set(statuses)
        if not ends:
            wrong.append(f"{text} has no end: {statuses}")
        if ends & {"failed", "expired"}:
            wrong.append(f"{text} has {statuses}, and nobody asked for that: {said[order.id][-1].reason}")
        counts.update(ends)
        doubts = [s for s in said[order.id] if s.reason == "outcome_unknown" or s.status == "unknown"]
        in_doubt[names[order.device], order.to.partition("@")[0]] += len(doubts)
        for missing in ids - taken.keys():
            wrong.append(f"{text} was called sent as {missing}, which WhatsApp does not know")
        if len(ids) > 1 and not doubts:
            wrong.append(f"{text} was sent as {ids}")
        if len(read_as[text]) > 1:
            if doubts and order.on_unknown == "resend":
                counts["read twice, sent again because its outcome was unknown"] += 1
            else:
                wrong.append(f"{text} was read as {read_as[text]}: {statuses}")
    for whatsapp_id, entry in taken.items():
        if whatsapp_id in known:
            continue
        text = text_of.get(whatsapp_id)
        if text is None and in_doubt[entry["device"], entry["to"]] > 0:
            counts["taken by WhatsApp, not readable, of an unknown outcome"] += 1
        elif text is not None and text in orders and any(s.reason == "outcome_unknown" for s in said[orders[text].id]):
            counts["taken by WhatsApp, outcome unknown here"] += 1
        else:
            wrong.append(f"WhatsApp took {whatsapp_id} ({text}) from {entry['device']}, which nobody here knows of")
    return Findings(wrong, counts)


def inbound(
    said: Mapping[str, str], events: Iterable[AnyEvent], journal: Sequence[Entry], happened: Sequence[Happened]
) -> Findings:
    """Every message to a device (`said` has their names) is an event, once, but for what a process had decrypted when
    it was killed.
    """
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    told = Counter(event.whatsapp_id for event in events if isinstance(event, MessageUpserted))
    deaths = [it for it in happened if it.what in DEATHS]
    delivered: dict[str, list[Entry]] = defaultdict(list)
    ours = set(said.values())
    for entry in journal:
        if entry["kind"] == "message.delivered" and entry["device"] in ours:
            delivered[entry["id"]].append(entry)
    for whatsapp_id in sorted({*said, *delivered}):
        counts["messages to devices"] += 1
        if told[whatsapp_id] > 1:
            wrong.append(f"{whatsapp_id} was told {told[whatsapp_id]} times")
        if told[whatsapp_id]:
            continue
        tries = delivered[whatsapp_id]
        lost_with = [
            it
            for it in deaths
            for entry in tries
            if entry["device"] in it.devices and it.since - LAST_MOMENTS_S <= entry["at"] <= it.since + AFTER_S
        ]
        cut_off = [
            cut
            for cut in happened
            for entry in tries
            if cut.what == "cut a node off" and entry["device"] in cut.devices and cut.since <= entry["at"] <= cut.until
            if any(it.node == cut.node and entry["at"] <= it.since <= cut.until + STORED_WITHIN_S for it in deaths)
        ]
        if cut_off:
            counts["lost with: kill a node that could not reach NATS"] += 1
        elif lost_with:
            counts[f"lost with: {lost_with[0].what}"] += 1
        else:
            wrong.append(f"{whatsapp_id} was delivered {[(e['device'], e['at']) for e in tries]} and is no event")
    return Findings(wrong, counts)


class Gap(NamedTuple):
    """A time in which a device was away, with the reason that was told at its beginning."""

    since: datetime
    seconds: float
    reason: str | None


def gaps(events: Iterable[AnyEvent]) -> dict[str, list[Gap]]:
    """When each device was away, as its events tell it: from `disconnected` to the next `connected`."""
    away: dict[str, ConnectionUpdate] = {}
    found: dict[str, list[Gap]] = defaultdict(list)
    for event in events:
        if not isinstance(event, ConnectionUpdate):
            continue
        if event.state == "connected" and event.device in away:
            left = away.pop(event.device)
            found[event.device].append(Gap(left.at, (event.at - left.at).total_seconds(), left.reason))
        elif event.state == "disconnected":
            away.setdefault(event.device, event)
    return dict(found)
