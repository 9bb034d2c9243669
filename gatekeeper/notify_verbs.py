"""The verb of the control socket by which an operator tries whether notices arrive."""

from collections.abc import Mapping
from typing import Final

import trio

from gatekeeper import notices
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, whole
from gatekeeper.notify import Herald

PATIENCE_S: Final = 9.0  # below that of the control socket's client; a webhook goes on trying


def notify_verbs(herald: Herald) -> Mapping[str, Verb]:
    """The verbs, by name."""

    async def do_test(arguments: Arguments) -> Pieces:
        """Hand over a notice of the kind `test` at once, and tell how that went."""
        arguments.done()
        if not herald.named:
            text = "nobody is to be told: [notify] in the configuration names neither exec nor"
            raise Refusal(Code.NOT_FOUND, f"{text} webhook")
        try:
            with trio.fail_after(PATIENCE_S):
                results = await herald.hand_over_now(notices.test())
        except trio.TooSlowError:
            text = f"no word within {PATIENCE_S:g} s: it hangs, or another notice is under way"
            raise Refusal(Code.FAILED, text) from None
        return whole({"results": [{"by": by, "error": error} for by, error in results]})

    return {"notify-test": do_test}
