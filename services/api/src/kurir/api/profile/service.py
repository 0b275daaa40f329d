"""What tenants have a device's account show of itself, and to whom."""

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.media.pictures import NewPicture, picture_in
from kurir.api.media.service import MediaStore
from kurir.api.profile.schemas import ChangeProfile
from kurir.api.questions import Questions
from kurir.contracts import queries
from kurir.contracts.people import Privacy


class Profiles:
    """Everything here raises Problem as Devices.get and Questions.ask do, and about the field that is wrong."""

    def __init__(self, devices: Devices, questions: Questions, media: MediaStore) -> None:
        self._devices = devices
        self._questions = questions
        self._media = media

    async def change(self, caller: Caller, device_id: str, change: ChangeProfile) -> None:
        """The name first; a failure says nothing of what came before it."""
        device = self._devices.get(caller, device_id)
        if change.name is not None:
            await self._questions.ask(queries.SetName(tenant=device.tenant, device=device.id, name=change.name))
        if change.about is not None:
            await self._questions.ask(queries.SetAbout(tenant=device.tenant, device=device.id, about=change.about))

    async def set_picture(self, caller: Caller, device_id: str, new: NewPicture) -> None:
        device = self._devices.get(caller, device_id)
        async with picture_in(self._media, device.tenant, new) as picture:
            await self._questions.ask(queries.SetPicture(tenant=device.tenant, device=device.id, picture=picture))

    async def remove_picture(self, caller: Caller, device_id: str) -> None:
        device = self._devices.get(caller, device_id)
        await self._questions.ask(queries.RemovePicture(tenant=device.tenant, device=device.id))

    async def privacy(self, caller: Caller, device_id: str) -> Privacy:
        device = self._devices.get(caller, device_id)
        return await self._questions.ask(queries.ShowPrivacy(tenant=device.tenant, device=device.id))

    async def set_privacy(self, caller: Caller, device_id: str, privacy: Privacy) -> Privacy:
        """What is None stays; what holds then."""
        device = self._devices.get(caller, device_id)
        return await self._questions.ask(queries.SetPrivacy(tenant=device.tenant, device=device.id, privacy=privacy))
