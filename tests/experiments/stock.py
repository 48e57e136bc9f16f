"""A client of MLflow's REST API, without a network between."""

import json
from typing import Any

from django.test import Client

API = "/api/2.0/mlflow"


class Stock:
    """Calls methods of MLflow's API with a token: arguments become the query of a GET, or else the body."""

    def __init__(self, token: str) -> None:
        self.client = Client(headers={"authorization": f"Bearer {token}"})

    def __call__(self, method: str, path: str, /, **body: Any) -> Any:
        if method == "GET":
            return self.client.get(f"{API}/{path}", body)
        return self.client.generic(method, f"{API}/{path}", json.dumps(body), content_type="application/json")
