"""What a text model's tokenizer knows: prompts to tokens, tokens to text, and where an answer ends.

Promises: token ids outside the vocabulary never reach the model; a text far beyond the context is refused before it
costs time to tokenise, and one that takes too long is given up; end tokens are those of the generation config, of the
tokenizer, and for chats the well-known ends of a turn that the vocabulary has.
"""

from collections.abc import Sequence

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.tasks import ChatMessage
from runner.errors import JobError
from runner.executor.engines.detokenize import TokenNames
from runner.executor.engines.patience import Patience
from runner.executor.engines.template import ChatTemplate

_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|end_of_turn|>", "<|return|>", "<|call|>")
_NO_LIMIT = 1 << 30
_ENCODE_S = 5.0
"""How long a prompt may take to become tokens; the longest that fit are done in a tenth of it."""


class TextModel:
    """One model's tokenizer."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, generation: GenerationConfig | None, model: PreTrainedModel
    ) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = int(model.get_input_embeddings().num_embeddings)
        vocabulary = tokenizer.get_vocab()
        self._longest_token = max(map(len, vocabulary), default=1)
        special = set(tokenizer.all_special_ids) | {
            number for number, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        self.ends = frozenset(_ids(generation and generation.eos_token_id) + _ids(tokenizer.eos_token_id))
        self.turn_ends = self.ends | {vocabulary[token] for token in _TURN_ENDS if vocabulary.get(token) in special}
        byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
        self.name = TokenNames(lambda token: tokenizer.convert_ids_to_tokens(token) or "", byte_level)
        limit = tokenizer.model_max_length
        self.longest = int(limit) if limit < _NO_LIMIT else _NO_LIMIT
        self._template: ChatTemplate | None = None
        self._patience = Patience(_ENCODE_S)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of some tokens, special ones left out."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def chat(self, messages: tuple[ChatMessage, ...], context: int) -> list[int]:
        """The prompt that asks for the assistant's next message; raises `JobError`."""
        if self._template is None:
            self._template = ChatTemplate(self._template_source(), self._special_tokens())
        text = self._template.render(messages)
        return self._encode(text, context, "messages", special=False)

    def completion(self, prompt: str | tuple[int, ...], context: int) -> list[int]:
        """The tokens to go on from; raises `JobError`."""
        if not isinstance(prompt, str):
            self.check_ids(prompt, "prompt")
            ids = list(prompt)
        else:
            ids = self._encode(prompt, context, "prompt", special=True)
        if not ids:
            start = self._tokenizer.bos_token_id
            if start is None:
                raise JobError(
                    "The prompt is empty; give this model at least one token.", FailCode.BAD_REQUEST, "prompt"
                )
            ids = [int(start)]
        return ids

    def check_ids(self, ids: tuple[int, ...], param: str) -> None:
        """Raises `JobError` naming the first id that this model does not have."""
        wrong = next((number for number in ids if not 0 <= number < self._vocabulary), None)
        if wrong is not None:
            message = f"The {param} has token id {wrong}; this model has tokens 0 to {self._vocabulary - 1}."
            raise JobError(message, FailCode.BAD_REQUEST, param)

    def some_tokens(self) -> list[int]:
        """A short prompt for trying the model."""
        ids = [number for number in range(min(self._vocabulary, 64)) if number not in self.turn_ends]
        return ids[-8:]

    def _encode(self, text: str, context: int, param: str, *, special: bool) -> list[int]:
        if len(text) // self._longest_token > context:
            message = (
                f"This prompt has more than {len(text) // self._longest_token} tokens; "
                f"the model's context here is {context} tokens."
            )
            raise JobError(message, FailCode.CONTEXT_LENGTH, param)
        ids: list[int] = self._patience.wait_for(
            lambda: self._tokenizer.encode(text, add_special_tokens=special), param
        )
        return ids

    def _template_source(self) -> str:
        source = self._tokenizer.chat_template
        if isinstance(source, dict):
            source = source.get("default")
        if not isinstance(source, str):
            message = "This model has no chat template; use completions, or add one to its tokenizer_config.json."
            raise JobError(message, FailCode.BAD_REQUEST, "model")
        return source

    def _special_tokens(self) -> dict[str, str]:
        return {
            name: str(token) for name, token in self._tokenizer.special_tokens_map.items() if isinstance(token, str)
        }


def _ids(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)
