"""What the API server's refusals mean: worth trying again, or to be told to a person."""

import json

import pytest
from kubernetes.aio.client.exceptions import ApiException

from parallel_consumer_operator.cluster import _translated
from parallel_consumer_operator.errors import (
    ClusterError,
    ConflictError,
    DeniedError,
    NotFoundError,
    UnavailableError,
)

UNKNOWN = "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.x: field not declared in schema"
NO_QUANTITY = "failed to convert new object (a/b; apps/v1, Kind=Deployment) to proper version: quantities must match"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "not found", NotFoundError),
        (409, "the object has been modified", ConflictError),
        (410, "too old resource version", ConflictError),
        (400, "cannot be handled", DeniedError),
        (403, "forbidden", DeniedError),
        (422, "is invalid", DeniedError),
        (429, "too many requests", UnavailableError),
        (500, "etcdserver: leader changed", UnavailableError),
        (503, "unavailable", UnavailableError),
        # Server-side apply says so with 500, of what no repetition makes right.
        (500, UNKNOWN, DeniedError),
        (500, NO_QUANTITY, DeniedError),
    ],
)
async def test_each_answer_has_its_meaning(status: int, message: str, kind: type[ClusterError]) -> None:
    """And its own sentence goes on to whoever reads the condition."""
    error = ApiException(status=status, reason="reason")
    error.body = json.dumps({"message": message})
    with pytest.raises(kind, match=str(status)) as caught:
        async with _translated():
            raise error
    assert message in str(caught.value)
