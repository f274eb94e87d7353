"""BERTScore of a tiny BERT of random weights against the formula, worked out term by term."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from foresight_services.config.evaluator import BertScoreConfig
from foresight_services.core.errors import Precondition, Reason, Upstream
from foresight_services.core.future import EvaluationItem, FutureId
from foresight_services.core.objective import MetricSpec
from foresight_services.core.task import Task
from foresight_services.metrics.bertscore import DEFINITION
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from foresight_services.reward_models.bert_model import BertModel
from foresight_services.reward_models.opening import open_bertscore
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import evaluation_setup, make_evaluation
from tests.fakes.tiny_model import WORDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAYERS = 2
"""Of the three that the encoder has."""
POSITIONS = 64
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:![]"

PAIRS = (
    ("koring barra trilla", "barra koring lumer shapped"),
    ("barra", "shapped noppest vedly gillish dracked"),
    ("Barra, KORING! 123", "  barra koring\n"),
    ("wholly other words: Zażółć", "barra koring lumer"),
)


def make_encoder(folder: Path) -> Path:
    """Write a tiny BERT with its tokenizer, and return `folder`."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertTokenizerFast
    from transformers import BertModel as Bert

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # Listed and not learned, for the learning of a vocabulary ends differently every time.
    words = (*special, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS[::3])
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    frame = [(token, special.index(token)) for token in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*frame)
    fast = BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=POSITIONS)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=LAYERS + 1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Bert(config, add_pooling_layer=False)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the encoder."""
    return make_encoder(tmp_path_factory.mktemp("bert") / "model")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encoder(folder: Path) -> AsyncIterator[BertModel]:
    """Load the encoder."""
    model = open_bertscore(BertScoreConfig(model=str(folder), layers=LAYERS))
    await model.prepare()
    yield model
    await model.aclose()


def vectors_of(folder: Path, text: str) -> list[list[float]]:
    """Return the representations of a text's tokens, the two that frame it first and last."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    encoded = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        vectors: list[list[float]] = (
            model(**encoded, output_hidden_states=True).hidden_states[LAYERS][0].tolist()
        )
    return vectors


def cosine(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def found(text: list[list[float]], other: list[list[float]]) -> float:
    """Return the mean, over the tokens within the frame, of the best match in the other text."""
    best = [max(cosine(token, match) for match in other) for token in text[1:-1]]
    return math.fsum(best) / len(best)


async def test_precision_and_recall_are_those_of_the_formula(
    encoder: BertModel, folder: Path
) -> None:
    gaps = []
    for text, reference in PAIRS:
        a, b = vectors_of(folder, text), vectors_of(folder, reference)
        expected = (found(a, b), found(b, a))
        assert await encoder.match(text, reference) == pytest.approx(expected, abs=1e-5)
        gaps.append(abs(expected[0] - expected[1]))
    assert max(gaps) > 0.01, "precision and recall could be exchanged unseen"


async def test_the_same_text_has_the_greatest_score(encoder: BertModel) -> None:
    assert await encoder.match("barra koring", "barra koring") == pytest.approx((1, 1), abs=1e-12)


async def test_no_score_depends_on_what_else_is_scored(encoder: BertModel) -> None:
    alone = [await encoder.match(*pair) for pair in PAIRS]
    assert await asyncio.gather(*(encoder.match(*pair) for pair in PAIRS * 3)) == alone * 3


@pytest.mark.parametrize("text", ["", " \n"])
async def test_an_empty_text_scores_nothing(encoder: BertModel, text: str) -> None:
    assert await encoder.match(text, "barra") == (0.0, 0.0)


async def test_special_tokens_that_a_text_spells_are_plain_text(encoder: BertModel) -> None:
    precision, recall = await encoder.match("[SEP]", "barra koring")
    assert -1 <= precision <= 1
    assert (precision, recall) != (0.0, 0.0)
    assert await encoder.match("barra [SEP] [SEP]", "barra") != await encoder.match(
        "barra", "barra"
    )


@pytest.mark.parametrize("long", [0, 1])
async def test_what_is_too_long_is_no_score(encoder: BertModel, long: int) -> None:
    pair = ["barra", "barra"]
    pair[long] = "barra " * POSITIONS
    with pytest.raises(Upstream) as raised:
        await encoder.match(*pair)
    assert raised.value.reason is Reason.METRIC_FAILED
    assert "barra" not in raised.value.message


async def test_more_layers_than_there_are(folder: Path) -> None:
    model = open_bertscore(BertScoreConfig(model=str(folder), layers=LAYERS + 2))
    with pytest.raises(Precondition, match="has 3 layers, not 4") as raised:
        await model.prepare()
    await model.aclose()
    assert raised.value.reason is Reason.METRIC_UNAVAILABLE


async def test_the_metric_scores_by_it(encoder: BertModel) -> None:
    text, reference = PAIRS[0]
    setup = evaluation_setup(
        task=Task(goal="the goal", reference=reference),
        candidates=(text,),
        metrics=(MetricSpec("bertscore"),),
    )
    tools = Tools(
        judge=RuledJudge(ScriptedChat("")), token_counters=Tokenizers({}), bertscore=encoder
    )
    catalog = Catalog(tools=tools, definitions={"bertscore": DEFINITION})
    async with make_evaluation(catalog=catalog).open(setup) as session:
        (score,) = (await session.score(EvaluationItem(FutureId(0, 0), "", ()))).scores
    precision, recall = await encoder.match(text, reference)
    assert score.outcome == pytest.approx(2 / (1 / precision + 1 / recall))
    assert score.parts == {"precision": precision, "recall": recall}
