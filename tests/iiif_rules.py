"""The rules of IIIF Presentation 3.0 for a manifest of images, from the specification.

`check_manifest` allows no property that it does not know, so that a misspelt one is found.
"""

import re
from urllib.parse import urlsplit

COMMON = {"id", "type", "label", "metadata", "summary", "requiredStatement", "homepage", "seeAlso"}
COMMON |= {"thumbnail", "items", "behavior"}
ALLOWED = {
    "Manifest": COMMON | {"@context", "navDate", "structures", "viewingDirection", "partOf"},
    "Canvas": COMMON | {"navDate", "width", "height"},
    "AnnotationPage": COMMON,
    "Annotation": COMMON | {"motivation", "body", "target"},
    "Range": COMMON,
    "Image": COMMON | {"format", "width", "height", "service"},
    "Text": COMMON | {"format"},
    "Dataset": COMMON | {"format", "profile"},
    "ImageService3": {"id", "type", "profile"},
}
REQUIRED = {
    "Manifest": {"@context", "id", "type", "label", "items"},
    "Canvas": {"id", "type", "items", "width", "height"},
    "AnnotationPage": {"id", "type", "items"},
    "Annotation": {"id", "type", "target", "body", "motivation"},
    "Range": {"id", "type", "items"},
    "Image": {"id", "type"},
    "Text": {"id", "type", "label"},
    "Dataset": {"id", "type"},
    "ImageService3": {"id", "type", "profile"},
}


def check_manifest(told):
    """The canvases of a manifest by URL; fails where a rule is broken."""
    assert told["@context"] == "http://iiif.io/api/presentation/3/context.json"
    assert told["type"] == "Manifest"
    canvases = {canvas["id"]: canvas for canvas in told["items"]}
    defined = [told["id"], *canvases]
    check_resource(told)
    for canvas in canvases.values():
        assert canvas["type"] == "Canvas"
        (page,) = canvas["items"]
        assert page["type"] == "AnnotationPage"
        (annotation,) = page["items"]
        assert (annotation["type"], annotation["motivation"]) == ("Annotation", "painting")
        assert annotation["target"] == canvas["id"]
        assert annotation["body"]["type"] == "Image"
        defined += [page["id"], annotation["id"]]
    for each in told.get("structures", []):
        assert each["type"] == "Range"
        defined.append(each["id"])
        for item in each["items"]:
            assert item == {"id": item["id"], "type": "Canvas"}
            assert item["id"] in canvases
    assert len(defined) == len(set(defined))
    assert canvases
    return canvases


def check_resource(told, *, is_reference=False):
    kind = told["type"]
    assert set(told) <= ALLOWED[kind], kind
    assert is_reference or REQUIRED[kind] <= set(told), kind
    check_url(told["id"], may_have_fragment=kind not in {"Canvas", "Manifest", "Range", "ImageService3"})
    for name in ("label", "summary"):
        if name in told:
            check_texts(told[name])
    assert told.get("metadata", ["some"])
    statement = [told["requiredStatement"]] if "requiredStatement" in told else []
    for entry in (*told.get("metadata", []), *statement):
        check_entry(entry)
    for name in ("width", "height"):
        assert type(told.get(name, 1)) is int
        assert told.get(name, 1) > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.get("navDate", "2016-11-13T00:00:00Z"))
    assert re.fullmatch(r"[a-z]+/[\w.+-]+", told.get("format", "image/png"))
    for name in ("homepage", "seeAlso", "thumbnail", "items", "structures", "service"):
        if name in told:
            assert told[name], f"{name} must not be empty"
            for each in told[name]:
                check_resource(each, is_reference=kind == "Range" and name == "items")
    if kind == "Annotation":
        check_resource(told["body"])


def check_url(url, *, may_have_fragment):
    parts = urlsplit(url)
    assert parts.scheme in {"http", "https"}
    assert parts.netloc
    assert may_have_fragment or not parts.fragment
    assert re.fullmatch(r"[!-~]+", url)  # percent-encoded


def check_entry(entry):
    assert set(entry) == {"label", "value"}
    check_texts(entry["label"])
    check_texts(entry["value"])


def check_texts(texts):
    assert texts
    for language, values in texts.items():
        assert language == "none" or re.fullmatch("[a-z]{2,3}(-[A-Za-z0-9]+)*", language)
        assert values
        assert all(type(value) is str for value in values)
