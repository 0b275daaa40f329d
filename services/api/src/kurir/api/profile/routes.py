"""`/devices/{id}/profile` and `/privacy`: what a device's account shows of itself, and to whom."""

from litestar import Router, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from kurir.api.auth import Caller
from kurir.api.media.pictures import MAX_BODY_BYTES, NewPicture
from kurir.api.profile.schemas import ChangeProfile, PrivacySettings, privacy_of, view_of
from kurir.api.profile.service import Profiles


@patch("/profile", status_code=204)
async def change_profile(
    device_id: FromPath[str],
    data: JSONBody[ChangeProfile],
    caller: NamedDependency[Caller],
    profiles: NamedDependency[Profiles],
) -> None:
    """Change what the account calls itself and its about text. The device knows the name with its next connection."""
    await profiles.change(caller, device_id, data)


@put("/profile/picture", status_code=204, request_max_body_size=MAX_BODY_BYTES)
async def set_profile_picture(
    device_id: FromPath[str],
    data: JSONBody[NewPicture],
    caller: NamedDependency[Caller],
    profiles: NamedDependency[Profiles],
) -> None:
    """Give the account another picture."""
    await profiles.set_picture(caller, device_id, data)


@delete("/profile/picture")
async def remove_profile_picture(
    device_id: FromPath[str], caller: NamedDependency[Caller], profiles: NamedDependency[Profiles]
) -> None:
    """Take the account's picture away."""
    await profiles.remove_picture(caller, device_id)


@get("/privacy")
async def show_privacy(
    device_id: FromPath[str], caller: NamedDependency[Caller], profiles: NamedDependency[Profiles]
) -> PrivacySettings:
    """Who sees what of the account."""
    return view_of(await profiles.privacy(caller, device_id))


@patch("/privacy")
async def change_privacy(
    device_id: FromPath[str],
    data: JSONBody[PrivacySettings],
    caller: NamedDependency[Caller],
    profiles: NamedDependency[Profiles],
) -> PrivacySettings:
    """Say who sees what of the account. The answer is what holds then."""
    return view_of(await profiles.set_privacy(caller, device_id, privacy_of(data)))


routes = (change_profile, set_profile_picture, remove_profile_picture, show_privacy, change_privacy)


def router() -> Router:
    return Router("/devices/{device_id:str}", route_handlers=routes, tags=["Profile"])
