"""Answers about the server itself, which clients ask for before they send any token."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

# The MLflow release whose API this is written to; clients compare it with their own.
VERSION = "3.17.0"


@require_GET
def health(request: HttpRequest) -> HttpResponse:
    """MLflow's probe. Flotilla's own are /healthz and /readyz."""
    return HttpResponse("OK", content_type="text/plain")


@require_GET
def version(request: HttpRequest) -> HttpResponse:
    """The version of MLflow that this server speaks like."""
    return HttpResponse(VERSION, content_type="text/plain")


@require_GET
def server_info(request: HttpRequest) -> JsonResponse:
    """The server's features. A workspace of MLflow is a project of Flotilla."""
    return JsonResponse(
        {
            "store_type": "SqlStore",
            "workspaces_enabled": True,
            "trace_archival_enabled": False,
            "multipart_uploads_enabled": False,
            "multipart_downloads_enabled": False,
            "presigned_upload_run_id_supported": False,
            "presigned_upload_model_id_supported": False,
            "features_enabled": {"gateway": False},
        }
    )
