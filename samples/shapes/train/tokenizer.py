"""The sample's SentencePiece vocabulary, read the way CuMo reads Mistral's.

CuMo uses Hugging Face's slow LlamaTokenizer (legacy): text is cut at the special tokens, each
piece is encoded with a dummy space before it, and a BOS id goes in front. The prompt template
itself begins with `<s>`, so a prompt starts with two BOS ids.
"""

from functools import lru_cache
import io
from pathlib import Path
import random
import re

import sentencepiece

from questions import training_questions
from scenes import random_scene

UNK, BOS, EOS = 0, 1, 2
IMAGE_MARK = "<image>"
SPECIAL = {"<unk>": UNK, "<s>": BOS, "</s>": EOS}
VOCABULARY = 512


def train_vocabulary(file: Path, scenes: int = 3000, seed: int = 7):
    """Writes `file`: BPE with byte fallback, no normalisation, from the template, the
    questions and the answers. Every printable ASCII character is a piece."""
    rng = random.Random(seed)
    lines = []
    for _ in range(scenes):
        for q in training_questions(random_scene(rng), rng, comparisons=True):
            lines.append(f"[INST] {q.text} [/INST] {q.answer} ")
            lines.append(q.text)
    model = io.BytesIO()  # not a prefix: that would be kept in the file, with its folder
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=-1,
        required_chars="".join(map(chr, range(33, 127))),
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=1,
    )
    file.write_bytes(model.getvalue())


class Tokenizer:
    def __init__(self, file: Path):
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(file))

    def __len__(self):
        return self.pieces.get_piece_size()

    @lru_cache(maxsize=200_000)
    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of one chunk of text, without the BOS in front."""
        ids = []
        for part in re.split("(<unk>|<s>|</s>)", text):
            if part in SPECIAL:
                ids.append(SPECIAL[part])
            elif part:
                ids.extend(self.pieces.encode(part))
        return tuple(ids)

    def prefix(self) -> list[int]:
        """What comes before the image: BOS, then the template's own `<s>[INST] `."""
        return [BOS, *self.encode("<s>[INST] ")]

    def question(self, text: str) -> list[int]:
        """What follows the image up to where the answer begins."""
        return list(self.encode(f"\n{text} [/INST]"))

    def exchange(self, text: str, answer: str) -> tuple[list[int], int]:
        """Question and answer after the image, and how many of the ids are the question's."""
        whole, question = list(self.encode(f"\n{text} [/INST] {answer} </s>")), self.question(text)
        assert whole[: len(question)] == question
        return whole, len(question)

    def decode(self, ids: list[int]) -> str:
        return self.pieces.decode([i for i in ids if i not in (UNK, BOS, EOS)]).strip()
