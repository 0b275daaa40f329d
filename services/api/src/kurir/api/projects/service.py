"""Projects: keys of an account for one application each, which says where the QR code of a device may be shown."""

from msgspec import UNSET
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.changes import Changes
from kurir.api.problems import Problem
from kurir.api.projects.schemas import NewProject, ProjectChange
from kurir.api.tenants.service import Tenants
from kurir.contracts.records import ApiKey
from kurir.runtime import secrets
from kurir.runtime.registry import KeyMissing, Registry, RevisionConflict

PREFIX = "wagw_"  # of a project's token, so that it is seen for what it is
MAX_PROJECTS = 100  # of an account


class Projects:
    def __init__(self, keys: Registry[ApiKey], tenants: Tenants, changes: Changes) -> None:
        self._keys = keys
        self._tenants = tenants
        self._changes = changes

    def all(self, caller: Caller) -> list[ApiKey]:
        """The account's projects, oldest first. Raises Problem FORBIDDEN for the key of a project or a device."""
        return [key for key in self._tenants.keys(_account(caller)) if key.allowed_origins is not None]

    async def create(self, caller: Caller, new: NewProject) -> tuple[ApiKey, str]:
        """The project and its token. Raises Problem FORBIDDEN, or LIMIT_REACHED."""
        account = _account(caller)
        if len(self.all(caller)) >= MAX_PROJECTS:
            raise Problem("LIMIT_REACHED")
        return await self._tenants.create_key(
            caller.key,
            account,
            new.name,
            api_key=PREFIX + secrets.new_api_key(),
            allowed_origins=new.allowed_origins,
        )

    async def change(self, caller: Caller, project_id: str, change: ProjectChange) -> ApiKey:
        """Raises Problem FORBIDDEN, NOT_FOUND for another account's too, or CONFLICT."""
        digest = self._digest(caller, project_id)
        given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
        try:
            changed = await self._keys.change(digest, lambda known: replace(known, **given))
        except KeyMissing:
            raise _unknown() from None
        except RevisionConflict:
            raise Problem("CONFLICT") from None
        await self._changes.tell(
            caller.tenant.id, "project.changed", actor=caller.key, target=project_id, fields=",".join(given)
        )
        return changed

    async def delete(self, caller: Caller, project_id: str) -> None:
        """Its token ends at once. Raises Problem FORBIDDEN or NOT_FOUND."""
        self._digest(caller, project_id)
        await self._tenants.revoke_key(caller.key, caller.tenant.id, project_id)

    def _digest(self, caller: Caller, project_id: str) -> str:
        account = _account(caller)
        for digest, key in self._keys.items():
            if key.id == project_id and key.tenant == account and key.allowed_origins is not None:
                return digest
        raise _unknown()


def _account(caller: Caller) -> str:
    if caller.key.device is not None or caller.key.allowed_origins is not None:
        raise Problem("FORBIDDEN", "Projects are managed with a key of the whole account.")
    return caller.tenant.id


def _unknown() -> Problem:
    return Problem("NOT_FOUND", "There is no such project.")
