"""The prompt as a message of a chat, in the form that a model's chat template gives it."""

from __future__ import annotations

from datetime import date
from typing import Any

from ialp_rllib.errors import InputError
from ialp_rllib.judge.prompt.labels import CUE, RESPONSE

# Some templates print the date of today. The same prompt must be the same text on every day.
_TODAY = date(2024, 7, 26)


def chat_text(tokenizer: Any, prompt: str, model: str) -> str:
    """A prompt as one message of a user, followed by the beginning of the reply, up to the label.

    The heading of the response is left out: the template marks where the reply begins. The answer's cue begins the
    reply, so that the label follows it as it does without a template. Models that can think before they reply are
    told not to, as far as their template offers that.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: a prompt, up to the label; it may go on behind the cue.
        model: path or id of the model, for the error message.

    Raises:
        InputError: the template cannot be applied, or leaves the message out.
    """
    message, heading, rest = prompt.rpartition(RESPONSE + CUE)
    if not heading:
        message, rest = prompt, ""
    message = message.strip()
    try:
        text: str = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
            date_string=_TODAY.strftime("%d %b %Y"),
            strftime_now=_TODAY.strftime,
        )
    except Exception as error:  # templates are programs: they raise what they like
        problem = f"cannot be applied ({type(error).__name__}: {' '.join(str(error).split())[:150]})"
        raise _error(model, problem) from error
    if message not in text:
        raise _error(model, "does not contain the message of the user as it was given")
    return text + CUE + rest


def _error(model: str, problem: str) -> InputError:
    return InputError(f"chat template of {model}", problem, "a working template, or judge.chat_template=off")
