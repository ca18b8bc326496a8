"""A Secret's fingerprint follows its contents and gives none of them away."""

from parallel_consumer_operator.fingerprint import fingerprint


def secret(uid: str, **data: str) -> dict[str, object]:
    """Return a Secret's manifest."""
    return {"metadata": {"uid": uid, "resourceVersion": "7"}, "data": data}


def test_it_follows_the_contents_and_nothing_else() -> None:
    """The order of the keys and the version are not the contents."""
    before = fingerprint(secret("1", a="eA==", b="eQ=="))
    assert before == fingerprint({**secret("1", b="eQ==", a="eA=="), "kind": "Secret"})
    assert before != fingerprint(secret("1", a="eA==", b="eg=="))
    assert fingerprint(None) is None


def test_two_secrets_of_one_password_do_not_look_alike() -> None:
    """Else whoever may read the template could tell that they are the same, or try passwords against it."""
    assert fingerprint(secret("1", a="eA==")) != fingerprint(secret("2", a="eA=="))
