"""The page that asks for a key."""

from markupsafe import Markup

from lockstitch.assistants.http.console.door import PATH, Visitor
from lockstitch.assistants.http.console.layout import page, shown, token_field
from lockstitch.assistants.http.console.questions import LONGEST_NAME

_BODY = Markup(
    '<div class="card pad narrow"><h1>Sign in</h1>{problem}<form method="post" action="{path}/sign-in">{token}'
    '<input type="hidden" name="next" value="{next_path}">'
    '<label class="field">Your name <small>goes on the record of what you decide</small>'
    '<input name="name" maxlength="{longest}" autocomplete="name" required></label>'
    '<label class="field">Key <small>of an operator; it is not kept</small>'
    '<input name="key" type="password" autocomplete="current-password" required></label>'
    '<div class="buttons"><button class="main">Sign in</button></div></form>{from_elsewhere}</div>'
)
_FROM_ELSEWHERE = Markup(
    '<p class="faint">You followed a link from another site. If you have signed in already, <a href="{}">go on</a>.</p>'
)


def sign_in_page(stranger: Visitor, next_path: str, problem: str = "", *, from_elsewhere: bool = False) -> str:
    """Return the page; ``next_path`` is where the operator wanted to go.

    A browser that follows a link ``from_elsewhere`` keeps the session's cookie back, so the page offers another step.
    """
    return page(
        "Sign in",
        _BODY.format(
            problem=Markup('<p class="note bad" role="alert">{}</p>').format(shown(problem)) if problem else "",
            path=PATH,
            token=token_field(stranger),
            next_path=next_path,
            longest=LONGEST_NAME,
            from_elsewhere=_FROM_ELSEWHERE.format(next_path) if from_elsewhere else "",
        ),
    )
