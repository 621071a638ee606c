"""Settings of the judge: the LLM, and the distillation of its preferences."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting
from ialp_rllib.settings.judge_model import LLM, ORACLE, parse_judge_model
from ialp_rllib.settings.tuning import TuneSettings

LETTER, LIKELIHOOD, YES_NO, AUTO = "letter", "likelihood", "yes_no", "auto"  # values of `judge.answer`


@dataclass(frozen=True)
class OracleSettings:
    """The oracle, `judge.model: oracle`: it knows the rewards of the test world, with a given error."""

    correlation: float = setting(
        1.0,
        "Correlation of the oracle's beliefs with the true rewards, both as normal scores. 1: exact; 0: random; -1: "
        "adversarial.",
        low=-1.0,
        high=1.0,
        advanced=True,
    )
    errors: str = setting(
        "prompt",
        "prompt: an independent error for each prompt. item: one error per item (rating worlds: per user and item), a "
        "bias that repetition does not average out.",
        choices=("prompt", "item"),
        advanced=True,
    )
    none_below: float = setting(
        0.8,
        "Answer None if the best candidate is believed to be below this quantile of uniform random items; a prompt "
        "with k such items gets None with probability none_below^k.",
        low=0.0,
        high=1.0,
        advanced=True,
    )


@dataclass(frozen=True)
class LikelihoodSettings:
    """Answers other than letters: how scores of the candidates become probabilities."""

    norm: str = setting(
        "auto",
        "Score of a candidate's text in `answer: likelihood`: the sum of its tokens' log-probabilities, or their mean. "
        "auto: the more accurate one on validation prompts.",
        choices=("auto", "sum", "mean"),
        advanced=True,
    )
    own_weight: float = setting(
        -1.0,
        "Weight w of the log-likelihood of the text without any history, which is subtracted from the score; -1: the "
        "most accurate of 0, 0.25, 0.5, 0.75 and 1 on validation prompts. 0: not asked.",
        low=-1.0,
        high=2.0,
        advanced=True,
    )
    prompts: int = setting(
        200,
        "Validation prompts on which scores are calibrated, and the forms compared by `answer: auto`: of one half of "
        "the validation users; the audit asks the others.",
        low=20,
        high=10**6,
        advanced=True,
    )


@dataclass(frozen=True)
class ProfileSettings:
    """What the prompt of an LLM says of the user, beside the history."""

    shows: str = setting(
        "none",
        "none: nothing, as published. attributes: the user's attributes. ratings: attributes, and items that the user "
        "rated high and low in the visible log (`min_rating` divides them); where the log of a user is not visible, "
        "the attributes. Judges that are no LLM do not read it.",
        choices=("none", "attributes", "ratings"),
        advanced=True,
    )
    items: int = setting(
        5,
        "Most items that a profile names as liked, and as disliked: those of the highest and the lowest ratings, of "
        "equal ones the latest.",
        low=1,
        high=1000,
        advanced=True,
    )


@dataclass(frozen=True)
class JudgeSettings:
    """The judge, which plays the user: an LLM, or an oracle."""

    model: str = setting(
        "tiny",
        "`tiny` (included in the package), a folder (a model, a PEFT adapter, or one GGUF file), a GGUF file, a "
        "Hugging Face model id; or no LLM: `embedding:FOLDER` (a text encoder's folder), `tfidf`, `popularity`, in "
        "rating worlds `ratings` (a model of the train users' ratings), or `oracle` (`judge.oracle`).",
    )
    engine: str = setting(
        "auto",
        "Inference engine. auto: vllm if it is installed and asked for letters, else transformers.",
        choices=("auto", "vllm", "transformers"),
    )
    dtype: str = setting("float32", "Data type of the model's weights.", choices=("float32", "bfloat16", "float16"))
    chat_template: str = setting(
        "auto",
        "Whether the prompt is put into the model's chat template. auto: on if its tokenizer has one.",
        choices=("auto", "on", "off"),
    )
    candidates: int = setting(10, "Candidates per prompt, k; one more label is None.", low=2, high=25)
    shortlist: int = setting(
        50,
        "Items among which an LLM that recommends by itself (method judge_direct) chooses: the most popular ones that "
        "the session does not hold.",
        low=2,
        high=100_000,
        advanced=True,
    )
    history: int = setting(10, "Number of most recent items of the history in the prompt.", low=1, high=1000)
    platform: str = setting("a shop", "Name of the platform in the prompt: `You are a user of {platform}`.")
    item_noun: str = setting("item", "Noun for an item in the prompt, e.g. track or product.")
    answer: str = setting(
        LETTER,
        "How an LLM is asked. letter: a candidate's letter, one token (Table 1 of the publication). likelihood: how "
        "probable each candidate's text is after the history, less its own. yes_no: yes or no, for each candidate. "
        "auto: the most accurate of these on validation prompts.",
        choices=(LETTER, LIKELIHOOD, YES_NO, AUTO),
    )
    frame: int = setting(
        0, "Index of the wording of the instruction; `ialp judge audit` compares them.", low=0, high=2, advanced=True
    )
    orders: int = setting(
        1,
        "Cyclic orders of the candidates over which an answer is averaged, against letter bias; one prompt per order.",
        low=1,
        advanced=True,
    )
    calibrate_letters: bool = setting(
        False,
        "Divide the label probabilities by the prior probability of each letter, against letter bias.",
        advanced=True,
    )
    batch: int = setting(
        256,
        "Prompts per request to a replica, and maximum number of sequences that its engine processes together.",
        low=1,
        high=1 << 16,
        advanced=True,
    )
    batch_tokens: int = setting(
        0,
        "Maximum number of tokens that an engine processes together; 0: 2048 on a CPU, 8192 on a GPU.",
        low=0,
        high=1 << 24,
        advanced=True,
    )
    replicas: int = setting(1, "Number of engines that run in parallel, each in a Ray actor.", low=1, high=10_000)
    cpus: int = setting(1, "CPU cores per replica.", low=0, high=10_000, advanced=True)
    gpus: float = setting(0.0, "GPUs per replica, possibly a fraction; 0: run on the CPU.", low=0.0, high=1024.0)
    tensor_parallel: int = setting(
        1,
        "GPUs that one model is split over (vLLM's tensor parallelism); above 1, `gpus` must be the same number.",
        low=1,
        high=1024,
        advanced=True,
    )
    memory_share: float = setting(
        0.0,
        "Fraction of the (GPU) memory that vLLM may use (its gpu_memory_utilization). 0: on a CPU 0.2; on a GPU 0.9 of "
        "the share of it that `gpus` reserves, so that learners (`runtime.learner_gpus`) have the rest.",
        low=0.0,
        high=1.0,
    )
    max_length: int = setting(
        1024,
        "Maximum prompt length in tokens; longer prompts are skipped and reported.",
        low=16,
        high=1 << 24,
        advanced=True,
    )
    timeout: float = setting(
        600.0, "Seconds without a reply after which a replica is restarted.", low=1.0, high=1e7, advanced=True
    )
    retries: int = setting(
        3,
        "Times that a request is repeated after its replica died or timed out, before it is split into smaller ones.",
        low=0,
        high=1000,
        advanced=True,
    )
    cache: str = setting("", "Folder of the answer cache, which runs can share; empty: no cache.")
    hourly_price: float = setting(
        0.0, "Price of one replica per hour, in any currency, for the cost estimate.", low=0.0, advanced=True
    )
    min_rating: float = setting(
        0.0, "Lowest rating that counts as a choice of the user; interactions without a rating count, too."
    )
    audit_prompts: int = setting(
        1000, "Held-out prompts for the audit (accuracy and letter bias).", low=1, high=10**7, advanced=True
    )
    allow_chance: bool = setting(
        False,
        "Go on with a judge that is not better than chance in the audit, or that gives the same answer to all prompts; "
        "false: the run ends with an error. An oracle is never refused.",
        advanced=True,
    )
    seed: int = setting(
        0, "Random seed of tuning prompts, audit prompts, and the oracle's errors.", low=0, advanced=True
    )
    profile: ProfileSettings = group(ProfileSettings)
    likelihood: LikelihoodSettings = group(LikelihoodSettings)
    tune: TuneSettings = group(TuneSettings)
    oracle: OracleSettings = group(OracleSettings)

    @property
    def kind(self) -> str:
        """The kind of judge that ``model`` selects, see :class:`.judge_model.JudgeModel`."""
        return parse_judge_model(self.model).kind

    @property
    def is_oracle(self) -> bool:
        """Whether the judge is the oracle, which knows the test world."""
        return self.kind == ORACLE

    @property
    def is_llm(self) -> bool:
        """Whether the judge is a language model."""
        return self.kind == LLM

    @property
    def is_tuned(self) -> bool:
        """Whether the judge is tuned before use; only an LLM ever is, and only to the answers that it is asked for."""
        teaches = {"label": LETTER, "sequence": LIKELIHOOD}[self.tune.objective]
        return self.tune.enabled and self.is_llm and self.answer in (teaches, AUTO)


@dataclass(frozen=True)
class DistilSettings:
    """Distillation of the judge's preferences into a table (Algorithm 1, with candidates that no policy proposes)."""

    sessions: int = setting(256, "Number of sessions that the judge plays.", low=1, high=10**8)
    steps: int = setting(20, "Steps per session (T of Algorithm 1), one prompt each.", low=1, high=10_000)
    proposals: str = setting(
        "uniform",
        "Which items the judge is shown. uniform: random ones. near: mostly those with texts like the history's that "
        "are popular in the visible log. mix: each candidate is one or the other with equal probability. With "
        "`agent.candidates.count`, near ones are that many, looked up in an index of the kind that the policy has.",
        choices=("uniform", "near", "mix"),
        advanced=True,
    )
    rounds: int = setting(
        1,
        "Rounds that the sessions are divided into. 1: all candidates are drawn by `proposals`. More: after each round "
        "a preference model is fitted to the judge's answers so far (similarities of the items' texts), and in the "
        "next one each candidate is drawn by this model's softmax or by `proposals`, with equal probability.",
        low=1,
        high=100,
        advanced=True,
    )
    starts: str = setting(
        "log",
        "First item of a session. log: that of a visible train user, as published. uniform: any item, drawn by `seed` "
        "alone, so that an LLM's answers serve every part of the users and every size of the log (`judge.cache`).",
        choices=("log", "uniform"),
        advanced=True,
    )
    batch: int = setting(
        256, "Sessions that are played together: prompts of one request to the judge.", low=1, high=10**6, advanced=True
    )
    seed: int = setting(0, "Random seed of the sessions' first items and of the candidates.", low=0, advanced=True)

    @property
    def is_uniform(self) -> bool:
        """Whether all candidates are random ones."""
        return self.proposals == "uniform" and self.rounds == 1
