"""Whether a new definition takes everything that a released one took: no field gone, none narrower. Pure.

Looks at what the API server enforces: fields, types, bounds, choices, defaults, rules. Not at columns or descriptions.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_LOWEST = ("minimum", "minLength", "minItems", "minProperties")
_HIGHEST = ("maximum", "maxLength", "maxItems", "maxProperties")
_INSIDE = ("items", "additionalProperties")
_EXACT = ("pattern", "format")
_OPEN = "x-kubernetes-preserve-unknown-fields"
_EITHER = "x-kubernetes-int-or-string"
_RULES = "x-kubernetes-validations"
_NAME_IN_RULE = re.compile(r"\.([A-Za-z]\w*)|'([A-Za-z]\w*)'")


def breaks(released: Schema, current: Schema) -> list[str]:
    """Return a sentence for each way in which a manifest of the released definition is refused or means another thing.

    Both are whole CustomResourceDefinitions; an empty list means compatible.
    """
    old, new = released["spec"], current["spec"]
    found = [
        f"{name} changed from {old[name]!r} to {new[name]!r}" for name in ("group", "scope") if old[name] != new[name]
    ]
    found += [
        f"names.{name} changed from {old['names'].get(name)!r} to {new['names'].get(name)!r}"
        for name in ("kind", "plural", "singular")
        if old["names"].get(name) != new["names"].get(name)
    ]
    gone = set(old["names"].get("shortNames", [])) - set(new["names"].get("shortNames", []))
    found += [f"the short name {name} is gone" for name in sorted(gone)]
    return [*found, *_of_versions(old["versions"], new["versions"])]


def _of_versions(released: list[Any], current: list[Any]) -> Iterator[str]:
    served = {version["name"]: version for version in current if version["served"]}
    for old in (version for version in released if version["served"]):
        new = served.get(old["name"])
        if new is None:
            yield f"version {old['name']} is not served any more"
            continue
        if old["subresources"].get("scale") != new["subresources"].get("scale"):
            yield f"{old['name']}: the scale subresource has other paths"
        yield from _narrowed(old["schema"]["openAPIV3Schema"], new["schema"]["openAPIV3Schema"], path="")


def _narrowed(old: Schema, new: Schema, *, path: str) -> Iterator[str]:
    where = path.removeprefix(".") or "the resource"
    yield from (f"{where}: {problem}" for problem in (*_of_type(old, new), *_of_bounds(old, new), *_of_rules(old, new)))
    before, after = old.get("properties", {}), new.get("properties", {})
    open_now = _OPEN in new or "additionalProperties" in new
    for name, part in before.items():
        if name in after:
            yield from _narrowed(part, after[name], path=f"{path}.{name}")
        elif not open_now:
            yield f"{path.removeprefix('.')}.{name}: the field is gone".removeprefix(".")
    for key in _INSIDE:
        if key in old and key in new:
            yield from _narrowed(old[key], new[key], path=f"{path}[]" if key == "items" else f"{path}.*")
        elif key in old and _OPEN not in new:
            yield f"{where}: it takes no names of one's own any more"


def _of_type(old: Schema, new: Schema) -> Iterator[str]:
    kind, wanted = old.get("type"), new.get("type")
    widened = (_EITHER in new and kind in {None, "integer", "string"}) or (kind, wanted) == ("integer", "number")
    if kind != wanted and not widened:
        yield f"was {kind or 'an integer or a string'}, is {wanted}"
    if old.get("nullable") and not new.get("nullable"):
        yield "may not be null any more"
    if old.get(_OPEN) and not new.get(_OPEN):
        yield "takes only known fields now"
    if old.get("default") != new.get("default"):
        yield f"the default was {old.get('default')!r}, is {new.get('default')!r}: leaving it out means another thing"
    needed = set(new.get("required", [])) - set(old.get("required", []))
    yield from (f"{name} is needed now" for name in sorted(needed))


def _of_bounds(old: Schema, new: Schema) -> Iterator[str]:
    for key in _LOWEST:
        if key in new and (key not in old or new[key] > old[key]):
            yield f"{key} was {old.get(key, 'not set')}, is {new[key]}"
    for key in _HIGHEST:
        if key in new and (key not in old or new[key] < old[key]):
            yield f"{key} was {old.get(key, 'not set')}, is {new[key]}"
    for key in _EXACT:
        if key in new and new[key] != old.get(key):
            yield f"{key} was {old.get(key, 'not set')}, is {new[key]}"
    if "enum" in new:
        if "enum" not in old:
            yield f"only {', '.join(map(str, new['enum']))} are left"
        yield from (f"the choice {choice} is gone" for choice in old.get("enum", []) if choice not in new["enum"])


def _of_rules(old: Schema, new: Schema) -> Iterator[str]:
    """A rule about a field that the released definition has not cannot refuse what that one took."""
    if _RULES not in new:
        return
    known = {rule["rule"] for rule in old.get(_RULES, [])}
    newcomers = _names(new) - _names(old)
    for rule in new.get(_RULES, []):
        mentioned = {name for pair in _NAME_IN_RULE.findall(rule["rule"]) for name in pair}
        if rule["rule"] not in known and not mentioned & newcomers:
            yield f"a rule is new: {rule['message']}"


def _names(schema: Schema) -> set[str]:
    """Return the names of all fields below a place."""
    found = set(schema.get("properties", {}))
    parts = [*schema.get("properties", {}).values(), *(schema[key] for key in _INSIDE if key in schema)]
    return found.union(*map(_names, parts))
