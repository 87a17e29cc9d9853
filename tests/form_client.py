"""A plain HTTP client without scripts or cookies: reads the forms of a page, fills and submits them, follows 303."""

import http.client
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urlencode, urljoin, urlsplit


@dataclass(slots=True)
class PageForm:
    """One form of a page: where it goes, and what stands in it."""

    action: str
    method: str
    values: dict[str, list[str]] = field(default_factory=dict)  # what is sent if nothing is changed
    choices: dict[str, list[str]] = field(default_factory=dict)  # radio buttons and check boxes
    texts: list[str] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self.text: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(PageForm(action=at.get("action", ""), method=at.get("method", "get")))
            self.inside = True
        if not self.inside:
            return
        form, name = self.forms[-1], at.get("name", "")
        kind = at.get("type", "text")
        if tag == "input" and kind in ("radio", "checkbox"):
            form.choices.setdefault(name, []).append(at.get("value", "on"))
            if "checked" in at:
                form.values.setdefault(name, []).append(at.get("value", "on"))
        elif tag == "input":
            form.values[name] = [at.get("value", "")]
            if kind != "hidden":
                form.texts.append(name)
        elif tag == "button":
            form.buttons.append((name, at.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of the server, read."""

    status: int
    url: str
    body: str
    forms: list[PageForm]

    def form_to(self, end: str) -> PageForm:
        """The form whose address ends like this."""
        return next(form for form in self.forms if form.action.endswith(end))


class FormClient:
    """Keeps one connection; remembers no cookie, so what works here works without any."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self.base_url = base_url
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self.n_requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    def get(self, url: str) -> Response:
        return self._request("GET", url, None)

    def submit(
        self, page: Response, form: PageForm, changes: dict[str, list[str]], *, button: tuple[str, str]
    ) -> Response:
        """Send a form with some fields changed, by one of its buttons, and follow the redirect."""
        fields = form.values | changes
        if button[0]:
            fields = fields | {button[0]: [button[1]]}
        body = urlencode([(name, value) for name, values in fields.items() for value in values])
        return self._request("POST", urljoin(page.url, form.action), body)

    def _request(self, method: str, url: str, body: str | None) -> Response:
        for _ in range(5):
            parts = urlsplit(urljoin(self.base_url, url))
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            self.connection.request(method, target, body, headers)
            answer = self.connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            self.n_requests += 1
            if answer.status in (301, 302, 303) and (location := answer.headers.get("Location")):
                url, method, body = urljoin(url, location), "GET", None
                continue
            reader = _Reader()
            reader.feed(text)
            return Response(status=answer.status, url=url, body=text, forms=reader.forms)
        raise AssertionError("too many redirects")


def fill(client: FormClient, url: str, answers: dict[str, str], *, language: str = "en") -> Response:
    """Open a questionnaire's link, answer what `answers` names, skip everything else, and finish.

    Asserts that every page is answered with 200 and returns the last page.
    """
    page = client.get(url)
    assert page.status == 200, page.body
    start = next(form for form in page.forms if "language" in form.values)
    page = client.submit(page, start, {"language": [language]}, button=("", ""))
    consent = next((form for form in page.forms if ("decision", "agree") in form.buttons), None)
    if consent is not None:
        page = client.submit(page, consent, {}, button=("decision", "agree"))
    for _ in range(200):
        assert page.status == 200, page.body
        forms = [form for form in page.forms if ("action", "next") in form.buttons]
        if not forms:
            break
        form = forms[0]
        changes: dict[str, list[str]] = {}
        for name in [*form.choices, *form.texts]:
            if name in answers:
                changes[name] = answers[name].split("|")
        skips = ("action", "skip") in form.buttons and not changes and not form.values.keys() & form.choices.keys()
        page = client.submit(page, form, changes, button=("action", "skip" if skips else "next"))
    return client.submit(page, page.form_to("/finish/"), {}, button=("", ""))
