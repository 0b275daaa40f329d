"""The history as `kurir doctor` looks at it: are the indexes there, without which reading it stalls the database?"""

from kurir.runtime.diagnosis import Finding, Scene
from kurir.webhook_dispatcher.audit import INDEXES

NAME = "history indexes"


async def check(scene: Scene) -> list[Finding]:
    """Raises MongoError when the database does not answer."""
    missing = []
    for collection, indexes in INDEXES.items():
        if await scene.mongo.find_one(collection, {}) is None:
            continue  # they are made with the first fact
        for index in await scene.mongo.missing_indexes(collection, indexes):
            missing.append(f"{collection} by {', '.join(name for name, _ in index.fields)}")
    if missing:
        cure = "Restart the webhook-dispatcher: it makes what is missing before its first write."
        return [Finding(NAME, "fail", f"{len(missing)} missing: {'; '.join(missing)}", cure)]
    return [Finding(NAME, "ok", f"{sum(map(len, INDEXES.values()))} known, none missing where there is history")]
