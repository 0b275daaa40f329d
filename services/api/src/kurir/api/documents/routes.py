"""What describes the api: OpenAPI, Swagger UI, and texts for language models."""

from litestar import MediaType, Router, get

from kurir.api.documents import llms, openapi

_SWAGGER = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{openapi.TITLE} API</title>
<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui-bundle.js" crossorigin></script>
<script>
SwaggerUIBundle({{url: "/api/openapi.json", dom_id: "#api", deepLinking: true, persistAuthorization: true}});
</script>
</body>
</html>
"""


@get(["/openapi.json", "/api/openapi.json"], media_type=MediaType.JSON, sync_to_thread=False)
def show_openapi() -> bytes:
    return openapi.document_bytes()


@get(["/docs", "/api/docs"], media_type=MediaType.HTML, sync_to_thread=False)
def show_swagger() -> str:
    return _SWAGGER


@get(["/llms.txt", "/api/llms.txt"], media_type=MediaType.TEXT, sync_to_thread=False)
def show_llms_index() -> str:
    return llms.index()


@get(["/llms-full.txt", "/api/llms-full.txt"], media_type=MediaType.TEXT, sync_to_thread=False)
def show_llms_full() -> str:
    return llms.full()


routes = (show_openapi, show_swagger, show_llms_index, show_llms_full)


def router() -> Router:
    return Router("/", route_handlers=routes, include_in_schema=False)
