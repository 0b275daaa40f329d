"""Everything the api is made of, opened in order and closed in reverse."""

from msgspec import Struct

from kurir.api.address_book.service import AddressBook
from kurir.api.auth import Authenticator
from kurir.api.changes import Changes
from kurir.api.chats.service import Chats
from kurir.api.contacts.service import Contacts
from kurir.api.devices.codes import DeviceCodes
from kurir.api.devices.proxies import Proxies
from kurir.api.devices.service import Devices
from kurir.api.dispatch import Dispatch
from kurir.api.embed.tokens import EmbedTokens
from kurir.api.export.service import Exports
from kurir.api.groups.service import Groups
from kurir.api.idempotency import IdempotencyKeys
from kurir.api.legacy.access import Access
from kurir.api.legacy.bots import Bots
from kurir.api.legacy.fonnte.counts import MessageCounts
from kurir.api.legacy.fonnte.deleting import DeletionCodes
from kurir.api.legacy.fonnte.numbers import MessageNumbers
from kurir.api.legacy.fonnte.sending import FonnteSends
from kurir.api.legacy.fonnte.status import FonnteStatus
from kurir.api.legacy.ip_limit import IpLimit
from kurir.api.legacy.process import Process
from kurir.api.legacy.sending import Sender
from kurir.api.legacy.shared_paths import Hosts
from kurir.api.live.feed import DeviceFeed
from kurir.api.live.following import LiveEvents
from kurir.api.live.tickets import Tickets
from kurir.api.media.service import MediaStore
from kurir.api.messages.just_received import JustReceived
from kurir.api.messages.known import KnownMessages
from kurir.api.messages.service import Messages
from kurir.api.messages.store import MessageHistory
from kurir.api.nodes.service import Nodes
from kurir.api.profile.service import Profiles
from kurir.api.projects.service import Projects
from kurir.api.questions import Questions
from kurir.api.quota import MonthlyQuota
from kurir.api.rate_limit import SendLimit
from kurir.api.registries import open_registries
from kurir.api.settings import ApiSettings
from kurir.api.tenants.service import Tenants
from kurir.api.webhooks.attempts import WebhookAttempts
from kurir.api.webhooks.replays import WebhookReplays
from kurir.api.webhooks.service import Webhooks
from kurir.api.webhooks.told import ToldOfWebhooks
from kurir.api.webhooks.trials import WebhookTrials
from kurir.contracts.streams import MEDIA_BUCKET
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.broker import Bus
from kurir.runtime.egress import Egress, EgressPolicy
from kurir.runtime.mongo import Mongo
from kurir.runtime.objects import ObjectStore
from kurir.runtime.outcomes import Outcomes
from kurir.runtime.secrets import MasterKey
from kurir.runtime.service import Lifetime


class Services(Struct, frozen=True):
    """What handlers may ask for."""

    authenticator: Authenticator
    devices: Devices
    messages: Messages
    known_messages: KnownMessages
    webhooks: Webhooks
    replays: WebhookReplays
    attempts: WebhookAttempts
    trials: WebhookTrials
    told: ToldOfWebhooks
    tenants: Tenants
    projects: Projects
    embed_tokens: EmbedTokens
    nodes: Nodes
    media: MediaStore
    feed: DeviceFeed
    live: LiveEvents
    tickets: Tickets
    exports: Exports
    groups: Groups
    contacts: Contacts
    profiles: Profiles
    chats: Chats
    address_book: AddressBook
    access: Access
    sender: Sender
    message_numbers: MessageNumbers
    message_counts: MessageCounts
    fonnte_sends: FonnteSends
    deletion_codes: DeletionCodes
    fonnte_status: FonnteStatus
    send_limit: SendLimit
    quota: MonthlyQuota
    changes: Changes
    node_name: str
    bots: Bots
    hosts: Hosts
    ip_limit: IpLimit


async def open_services(life: Lifetime, settings: ApiSettings, bus: Bus) -> Services:
    """Read what is kept on the bus and build the services over it; `life` closes them.

    MongoDB is not waited for. Raises MasterKeyRefused, or TimeoutError when the buckets do not exist or cannot be read.
    """
    master_key = MasterKey.load(settings)
    allowed = settings.egress_allowed
    webhook_guard = AddressGuard.parse(allowed, require_https=settings.egress_require_https)
    # A medium is public to whoever knows its URL, so plain HTTP gives nothing away; a webhook's body is not.
    media_guard = AddressGuard.parse(allowed, require_https=False)

    kept = await open_registries(life, bus)

    mongo = Mongo.connect(settings.mongodb_url, settings.mongo_driver, app_name="kurir-api")
    life.on_stop("mongo", mongo.close)
    egress = Egress(EgressPolicy(guard=media_guard, proxy=settings.egress_proxy, ca_file=settings.egress_ca_file))
    life.on_stop("egress", egress.close)
    feed = DeviceFeed(kept.devices, kept.sessions)
    live = LiveEvents(bus, settings.public_url, kept.devices, kept.sessions)
    life.metrics.gauge_from("kurir_live_followers", "Who follows events live", lambda: float(live.followers))
    authenticator = Authenticator(kept.keys, kept.tenants)
    outcomes = Outcomes(bus)
    await outcomes.start()
    life.on_stop("outcomes", outcomes.stop)

    dispatch = Dispatch(bus, life.clock)
    changes = Changes(bus, life.clock)
    questions = Questions(bus, kept.sessions)
    idempotency = IdempotencyKeys(bus, life.clock)
    quota = MonthlyQuota(bus, life.clock)
    send_limit = SendLimit(bus)
    proxies = Proxies(master_key, media_guard)
    device_service = Devices(
        questions,
        life.clock,
        dispatch,
        changes,
        kept.devices,
        kept.sessions,
        proxies,
        DeviceCodes(bus, kept.devices),
        settings.default_engine,
    )
    known_messages = KnownMessages(life.clock, device_service, MessageHistory(mongo), JustReceived(bus, life.clock))
    messages = Messages(life.clock, device_service, dispatch, send_limit, quota, idempotency, known_messages)
    media = MediaStore(ObjectStore(bus, MEDIA_BUCKET), egress)
    tenant_service = Tenants(life.clock, changes, kept.tenants, kept.keys, kept.devices, kept.endpoints, master_key)
    webhooks = Webhooks(
        life.clock, changes, device_service, kept.endpoints, kept.endpoint_states, master_key, webhook_guard
    )
    access = Access(authenticator, device_service, settings.anonymous, master_key)
    sender = Sender(device_service, messages, media, outcomes)
    message_numbers = MessageNumbers(bus, life.clock)
    address_book = AddressBook(life.clock, kept.saved_contacts, kept.contact_groups)
    message_counts = MessageCounts(bus)
    return Services(
        authenticator=authenticator,
        devices=device_service,
        messages=messages,
        known_messages=known_messages,
        webhooks=webhooks,
        replays=WebhookReplays(bus, mongo, life.clock, changes, webhooks, kept.replays),
        attempts=WebhookAttempts(mongo, webhooks),
        trials=WebhookTrials(bus, webhooks),
        told=ToldOfWebhooks(bus, life.clock, webhooks),
        nodes=Nodes(life.clock, changes, kept.nodes, kept.shards, kept.leases),
        tenants=tenant_service,
        projects=Projects(kept.keys, tenant_service, changes),
        embed_tokens=EmbedTokens(master_key, life.clock, authenticator, settings.public_url),
        media=media,
        feed=feed,
        live=live,
        exports=Exports(bus, mongo, life.clock),
        tickets=Tickets(master_key, life.clock, authenticator),
        groups=Groups(device_service, questions, idempotency, media),
        contacts=Contacts(device_service, questions),
        profiles=Profiles(device_service, questions, media),
        chats=Chats(device_service, questions),
        address_book=address_book,
        access=access,
        sender=sender,
        message_numbers=message_numbers,
        message_counts=message_counts,
        fonnte_status=FonnteStatus(device_service, tenant_service, webhooks, message_counts, quota),
        deletion_codes=DeletionCodes(bus, sender),
        fonnte_sends=FonnteSends(
            life.clock, access, device_service, sender, known_messages, media, message_numbers, address_book
        ),
        send_limit=send_limit,
        quota=quota,
        changes=changes,
        node_name=settings.node_name,
        bots=Bots(
            access,
            device_service,
            webhooks,
            feed,
            Process(),
            environment=settings.environment,
            needs_key=settings.anonymous is None,
            requests_per_hour=settings.requests_per_hour,
        ),
        hosts=Hosts(settings.dialects_of_hosts, settings.public_url.rstrip("/")),
        ip_limit=IpLimit(bus, settings.requests_per_hour),
    )
