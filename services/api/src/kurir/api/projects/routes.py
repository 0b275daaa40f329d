"""`/admin/projects`: a token for each application of an account."""

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from kurir.api.auth import Caller
from kurir.api.projects.schemas import NewProject, ProjectChange, ProjectView, view_of
from kurir.api.projects.service import Projects


@get("/")
async def list_projects(caller: NamedDependency[Caller], projects: NamedDependency[Projects]) -> list[ProjectView]:
    """All projects of your account, without their tokens."""
    return [view_of(key) for key in projects.all(caller)]


@post("/")
async def create_project(
    data: JSONBody[NewProject], caller: NamedDependency[Caller], projects: NamedDependency[Projects]
) -> ProjectView:
    """Create a project. The answer shows its token, once; it is sent as `X-API-Key`."""
    key, token = await projects.create(caller, data)
    return view_of(key, token)


@patch("/{project_id:str}")
async def change_project(
    project_id: FromPath[str],
    data: JSONBody[ProjectChange],
    caller: NamedDependency[Caller],
    projects: NamedDependency[Projects],
) -> ProjectView:
    """Rename a project or change where it may show QR codes."""
    return view_of(await projects.change(caller, project_id, data))


@delete("/{project_id:str}")
async def delete_project(
    project_id: FromPath[str], caller: NamedDependency[Caller], projects: NamedDependency[Projects]
) -> None:
    """Delete a project; its token ends at once."""
    await projects.delete(caller, project_id)


def router() -> Router:
    routes = (list_projects, create_project, change_project, delete_project)
    return Router("/admin/projects", route_handlers=routes, tags=["Projects"])
