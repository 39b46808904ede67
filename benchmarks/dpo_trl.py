"""The kit's DPO losses beside TRL's, and a DPO run of TRL on pairs that the kit scored and filtered.

Run as ``python benchmarks/dpo_trl.py`` where ``trl`` and ``torch`` are installed (CPU is enough); it writes
``benchmarks/RESULTS-dpo.md``. Three questions:

1. Do values and gradients of every loss equal those of TRL's own loss functions, on the same log-probs?
   TRL's code is run as it is: its `_compute_loss` gets a stand-in for the model that returns the log-probs.
2. Where do they differ, and what happens at extreme log-probs?
3. Do the kit's pairs go straight into a DPO run, and are the kit's implicit rewards those that TRL logs?
"""

from __future__ import annotations

import argparse
import copy
import datetime
import os
import platform
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import GPT2Config, GPT2LMHeadModel, TrainerCallback
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.kto_trainer import KTOTrainer

from datasets import Dataset
from lambdamart_kit.preferences import PreferencePairs, RewardModel, cleaned, label_noise
from lambdamart_kit.preferences.dpo import (
    LOSSES,
    UNPAIRED_LOSSES,
    PairLogps,
    RowLogps,
    implicit_rewards,
)

COLUMNS = ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
DPO_LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid": ("sigmoid", {}),
    "hinge": ("hinge", {}),
    "ipo": ("ipo", {}),
    "exo_pair": ("exo_pair", {"label_smoothing": 1e-3}),
    "nca_pair": ("nca_pair", {}),
    "robust": ("robust", {"label_smoothing": 0.1}),
    "bco_pair": ("bco_pair", {}),
    "sppo_hard": ("sppo_hard", {}),
    "aot": ("aot", {"label_smoothing": 0.1}),
    "aot_unpaired": ("aot_unpaired", {"label_smoothing": 0.1}),
    "apo_zero": ("apo_zero", {}),
    "apo_down": ("apo_down", {}),
    "discopop": ("discopop", {"tau": 0.05}),
    "sigmoid_norm": ("sigmoid_norm", {}),
    "sft": ("sft", {}),
    "sigmoid, forward KL": ("sigmoid", {"divergence": "forward_kl"}),
    "sigmoid, JS": ("sigmoid", {"divergence": "js_divergence"}),
    "ipo, forward KL": ("ipo", {"divergence": "forward_kl"}),
    "sigmoid_norm, JS": ("sigmoid_norm", {"divergence": "js_divergence"}),
}
CPO_LOSSES = {
    "cpo": ("sigmoid", {"label_smoothing": 0.1}),
    "cpo_hinge": ("hinge", {}),
    "cpo_ipo": ("ipo", {}),
    "simpo": ("simpo", {"gamma": 0.5}),
    "alphapo": ("simpo", {"gamma": 0.5, "reward_alpha": 0.25}),
}
KTO_LOSSES: dict[str, dict[str, float]] = {
    "kto": {"desirable_weight": 1.3, "undesirable_weight": 0.6},
    "apo_zero_unpaired": {},
}


# TRL's loss functions on given log-probs -------------------------------------------------------------------


def random_batch(n_pairs: int, rng: np.random.Generator) -> PairLogps:
    """Log-probs of responses of 5 to 40 tokens; policy and reference differ by a few nats."""
    lengths = rng.integers(5, 41, (2, n_pairs))
    reference = -lengths * rng.uniform(0.5, 3.0, (2, n_pairs))
    policy = np.minimum(reference + rng.normal(0, 3.0, (2, n_pairs)), -0.05 * lengths)
    return PairLogps(*policy, *reference, chosen_lengths=lengths[0], rejected_lengths=lengths[1])


class Trainer(SimpleNamespace):
    """The attributes of a trainer that its loss function reads."""

    def __init__(self, **attributes: Any) -> None:
        same = lambda value: value  # noqa: E731
        super().__init__(
            model=SimpleNamespace(training=True),
            accelerator=SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=same, gather=same),
            aux_loss_enabled=False,
            precompute_ref_logps=True,
            _metrics={"train": defaultdict(list)},
            _total_train_tokens=0,
            _tp_size=1,
            **attributes,
        )


def token_tensors(logps: torch.Tensor, lengths: np.ndarray) -> tuple[dict[str, torch.Tensor], Any]:
    """Inputs of one prompt token and each row's tokens, and a model that spreads log-probs over them."""
    counts = torch.tensor(lengths, dtype=torch.int64)
    width = int(counts.max())
    mask = torch.arange(width)[None, :] < counts[:, None]
    per_token = torch.where(mask, (logps / counts)[:, None].expand(-1, width), 0.0)
    completion_mask = torch.cat([torch.zeros(len(counts), 1, dtype=torch.bool), mask], dim=1).long()
    inputs = {
        "input_ids": torch.ones_like(completion_mask),
        "attention_mask": torch.ones_like(completion_mask),
        "completion_mask": completion_mask,
    }
    zeros = torch.zeros_like(per_token).detach()
    outputs = SimpleNamespace(
        log_probs=per_token, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), log_sum_sq_probs=zeros
    )
    return inputs, lambda **_: outputs


def trl_pair_loss(
    batch: PairLogps, loss: str, settings: Mapping[str, Any], dtype: torch.dtype = torch.float64
) -> tuple[float, np.ndarray]:
    """`DPOTrainer._compute_loss`: value, and gradient with respect to the four columns, (4, n_pairs)."""
    columns = [torch.tensor(getattr(batch, name), dtype=dtype, requires_grad=True) for name in COLUMNS]
    policy = torch.cat(columns[:2])
    inputs, model = token_tensors(policy, np.concatenate(batch.lengths))
    inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = columns[2:]
    trainer = Trainer(
        ld_alpha=None,
        beta=settings.get("beta", 0.1),
        label_smoothing=settings.get("label_smoothing", 0.0),
        f_divergence_type=settings.get("divergence", "reverse_kl"),
        f_alpha_divergence_coef=settings.get("divergence_alpha", 0.5),
        loss_types=[loss],
        loss_weights=[1.0],
        use_weighting=False,
        args=SimpleNamespace(discopop_tau=settings.get("tau", 0.05)),
    )
    value = DPOTrainer._compute_loss(trainer, model, inputs, False)
    value.backward()
    gradient = [np.zeros(len(batch)) if c.grad is None else c.grad.double().numpy() for c in columns]
    return float(value), np.stack(gradient)


def trl_policy_loss(batch: PairLogps, name: str, settings: Mapping[str, Any]) -> tuple[float, np.ndarray]:
    """`CPOTrainer.cpo_loss` or `ORPOTrainer.odds_ratio_loss`, which see the policy only."""
    chosen, rejected = (
        torch.tensor(getattr(batch, column), dtype=torch.float64, requires_grad=True)
        for column in COLUMNS[:2]
    )
    x, y = chosen, rejected
    if name not in ("cpo", "cpo_hinge"):
        x = chosen / torch.tensor(batch.lengths[0])
        y = rejected / torch.tensor(batch.lengths[1])
    if name == "orpo":
        # TRL returns beta * log sigma, and subtracts it from the likelihood term.
        losses = -ORPOTrainer.odds_ratio_loss(Trainer(beta=0.1), x, y)[0]
    else:
        loss_type, _ = CPO_LOSSES[name]
        trainer = Trainer(
            beta=0.1,
            alpha=settings.get("reward_alpha", 0.0),
            loss_type=loss_type,
            simpo_gamma=settings.get("gamma", 0.5),
            label_smoothing=settings.get("label_smoothing", 0.0),
        )
        losses = CPOTrainer.cpo_loss(trainer, x, y)[0]
    losses.mean().backward()
    zeros = np.zeros(len(batch))
    return float(losses.mean()), np.stack(
        [chosen.grad.double().numpy(), rejected.grad.double().numpy(), zeros, zeros]
    )


def trl_kto_loss(
    rows: RowLogps, loss: str, weights: Mapping[str, float], kl_logps: tuple[np.ndarray, np.ndarray]
) -> tuple[float, np.ndarray]:
    """`KTOTrainer._compute_loss`: value and gradient with respect to the policy's log-probs."""
    policy = torch.tensor(rows.logps, requires_grad=True)
    inputs, model = token_tensors(policy, np.full(len(rows), 7))
    inputs["label"] = torch.tensor(rows.desirable)
    inputs["ref_logps"] = torch.tensor(rows.ref_logps)
    inputs["ref_KL_logps"] = torch.tensor(kl_logps[1])
    trainer = Trainer(
        beta=0.1,
        loss_type=loss,
        calculate_KL=loss == "kto",
        desirable_weight=weights.get("desirable_weight", 1.0),
        undesirable_weight=weights.get("undesirable_weight", 1.0),
        _compute_kl_logps=lambda *_: torch.tensor(kl_logps[0]),
    )
    value = KTOTrainer._compute_loss(trainer, model, inputs, False)
    value = value[0] if isinstance(value, tuple) else value
    value.backward()
    return float(value), policy.grad.numpy()


def largest_differences(seeds: range, n_pairs: int) -> pd.DataFrame:
    """Largest difference in value and in gradient of each loss over some random batches."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        batch = random_batch(n_pairs, rng)
        for label, (name, settings) in DPO_LOSSES.items():
            value, gradient = trl_pair_loss(batch, name, settings)
            found[label].append(_compared(LOSSES[name], batch, settings, value, gradient))
        for name, (_, settings) in {**CPO_LOSSES, "orpo": ("", {})}.items():
            value, gradient = trl_policy_loss(batch, name, settings)
            found[name].append(
                _compared(LOSSES[name], batch, {**settings, "nll_weight": 0.0}, value, gradient)
            )
        kl_logps = (rng.normal(-30, 3, n_pairs), rng.normal(-30.4, 3, n_pairs))
        rows = RowLogps(
            batch.chosen_logps,
            batch.ref_chosen_logps,
            rng.random(n_pairs) < 0.5,
            mismatched_logps=kl_logps[0],
            ref_mismatched_logps=kl_logps[1],
        )
        for name, weights in KTO_LOSSES.items():
            value, gradient = trl_kto_loss(rows, name, weights, kl_logps)
            loss = UNPAIRED_LOSSES[name]
            ours = loss.gradient(rows, **weights).logps
            found[name].append((abs(loss.mean(rows, **weights) - value), np.abs(ours - gradient).max()))
    return pd.DataFrame(
        [(label, *np.max(pairs, axis=0)) for label, pairs in found.items()],
        columns=["loss", "value", "gradient"],
    )


def _compared(
    loss: Any, batch: PairLogps, settings: Mapping[str, Any], value: float, gradient: np.ndarray
) -> tuple[float, float]:
    ours = np.stack(loss.gradient(batch, **settings))
    return abs(loss.mean(batch, **settings) - value), float(np.abs(ours - gradient).max())


def known_differences() -> list[str]:
    """Each place where the two are meant to differ, measured."""
    row = PairLogps([-10.0], [-12.0], [-11.0], [-11.5], chosen_lengths=[20], rejected_lengths=[25])
    smoothed, _ = trl_pair_loss(row, "sigmoid", {"label_smoothing": 0.1})
    cdpo = LOSSES["cdpo"].mean(row, label_smoothing=0.1)
    ones = {"chosen_lengths": [1], "rejected_lengths": [1]}
    far = PairLogps([-9900.0], [-1.0], [-1.0], [-2.0], **ones)
    discopop, _ = trl_pair_loss(far, "discopop", {})
    sure = PairLogps([0.0], [-3.0], chosen_lengths=[2], rejected_lengths=[3])
    orpo, orpo_gradient = trl_policy_loss(sure, "orpo", {})
    exo, _ = trl_pair_loss(row, "exo_pair", {"label_smoothing": 1e-3})
    certain = PairLogps([-9000.0], [-8000.0], chosen_lengths=[1], rejected_lengths=[1])
    alphapo, _ = trl_policy_loss(certain, "alphapo", CPO_LOSSES["alphapo"][1])
    try:
        trl_pair_loss(row, "sigmoid", {"divergence": "alpha_divergence"})
        alpha64 = "works"
    except KeyError as error:
        alpha64 = f"KeyError({error})"
    alpha32, _ = trl_pair_loss(row, "sigmoid", {"divergence": "alpha_divergence"}, torch.float32)
    alpha = LOSSES["sigmoid"].mean(row, divergence="alpha_divergence")
    return [
        f"`sigmoid` with `label_smoothing=.1`: TRL {smoothed:.9f} (the setting does nothing), `cdpo` "
        f"{cdpo:.9f}; here the setting raises an error for `sigmoid`.",
        f"`discopop` at z = -990: TRL {discopop}, here {LOSSES['discopop'].mean(far):.4f}.",
        f"`orpo` of a response with log-prob 0: TRL {orpo} (gradient {orpo_gradient[0, 0]}), here "
        f"{LOSSES['orpo'].mean(sure, nll_weight=0.0):.4g} "
        f"(gradient {LOSSES['orpo'].gradient(sure, nll_weight=0.0).chosen_logps[0]:.4g}).",
        f"`alphapo` at mean log-probs of -9000 and -8000: TRL {alphapo}, here "
        f"{LOSSES['alphapo'].mean(certain):.3g}.",
        f"`exo_pair`, smoothing 1e-3: TRL keeps it in float32, {exo:.12f}; here "
        f"{LOSSES['exo_pair'].mean(row):.12f}.",
        f"`alpha_divergence` in float64: TRL {alpha64}; in float32 {alpha32:.9f}, here {alpha:.9f}.",
    ]


# A DPO run on the kit's pairs ------------------------------------------------------------------------------

TOPICS = ("rain", "tea", "trains", "bread", "music", "chess", "rivers", "maps", "bees", "clocks")
REASONING = ("because", "we", "measured", "it", "and", "here", "is", "why", "first", "the", "cause", "then")
IDLE = ("dunno", "maybe", "whatever", "lol", "stuff", "things", "blah")


def preference_rows(n_rows: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Prompts on a topic; the better answer reasons, the worse one does not; one label in ten is flipped."""
    rows = []
    for k in range(n_rows):
        topic = TOPICS[k % len(TOPICS)]
        good = " ".join([topic, *rng.choice(REASONING, int(rng.integers(6, 14)))])
        bad = " ".join([topic, *rng.choice(IDLE, int(rng.integers(3, 12)))])
        chosen, rejected = (bad, good) if rng.random() < 0.1 else (good, bad)
        # TRL joins prompt and response as they are, so the prompt ends with the space between them.
        prompt = f"tell me about {topic} , case {k} : "
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return rows


def scored_and_filtered(pairs: PreferencePairs) -> tuple[pd.DataFrame, dict[str, int]]:
    """The kit's part: flip or drop the labels that cross-fitted models disbelieve, then score the rest.

    Returns what DPO trains on, and how many pairs got each suggestion.
    """
    model = RewardModel(scorer="linear", features="text", random_state=0)
    noise = label_noise(pairs, model)
    kept = cleaned(pairs, noise)
    scores = model.fit_pairs(kept).score_pairs(kept)
    frame = kept.to_frame().assign(score_margin=scores["margin"].to_numpy())
    return frame, noise["suggestion"].value_counts().to_dict()


def tokenizer_of(texts: Iterator[str]) -> Any:
    """A tokenizer of whole words, trained here: nothing is downloaded."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]", "[EOS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", eos_token="[EOS]"
    )


def own_logps(model: Any, prompts: list[list[int]], responses: list[list[int]]) -> np.ndarray:
    """Summed log-probs of responses, one sequence at a time: nothing of TRL, no padding."""
    found = []
    with torch.no_grad():
        for prompt, response in zip(prompts, responses):
            ids = torch.tensor([prompt + response])
            logits = model(input_ids=ids).logits[0, :-1].double()
            token_logps = torch.log_softmax(logits, -1).gather(1, ids[0, 1:, None])[:, 0]
            found.append(float(token_logps[len(prompt) - 1 :].sum()))
    return np.array(found)


class RewardsByHand(TrainerCallback):
    """Before every step: the kit's implicit rewards of all pairs, from log-probs computed here."""

    def __init__(self, reference: Any, columns: Mapping[str, list[list[int]]], beta: float) -> None:
        self.columns = columns
        self.beta = beta
        self.reference = [own_logps(reference, columns["prompt_ids"], ids) for ids in self._sides()]
        self.rows: list[dict[str, float]] = []

    def _sides(self) -> tuple[list[list[int]], list[list[int]]]:
        return self.columns["chosen_ids"], self.columns["rejected_ids"]

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Record the rewards of the model that the step starts from, as TRL logs them."""
        policy = [own_logps(model, self.columns["prompt_ids"], ids) for ids in self._sides()]
        chosen, rejected = (
            implicit_rewards(logps, reference, beta=self.beta)
            for logps, reference in zip(policy, self.reference)
        )
        self.rows.append(
            {
                "rewards/chosen": chosen.mean(),
                "rewards/rejected": rejected.mean(),
                "rewards/margins": (chosen - rejected).mean(),
                "rewards/accuracies": (chosen > rejected).mean(),
                "loss": LOSSES["sigmoid"].mean(PairLogps(*policy, *self.reference), beta=self.beta),
            }
        )


def tiny_model(tokenizer: Any) -> Any:
    """A random GPT-2 of two layers and 32 dimensions, without dropout."""
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=128,
        n_embd=32,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        eos_token_id=end,
        bos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    return GPT2LMHeadModel(config)


def dpo_run(frame: pd.DataFrame, steps: int) -> pd.DataFrame:
    """TRL's DPO on a tiny model, all pairs a step; logged rewards beside the kit's."""
    texts = (frame["prompt"] + frame["chosen"] + " " + frame["rejected"]).tolist()
    tokenizer = tokenizer_of(iter(texts))
    model = tiny_model(tokenizer)
    reference = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        settings = DPOConfig(
            output_dir=folder,
            beta=0.1,
            per_device_train_batch_size=len(frame),
            max_steps=steps,
            learning_rate=3e-3,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
            max_length=128,
            seed=0,
        )
        data = Dataset.from_pandas(frame, preserve_index=False)
        trainer = DPOTrainer(model, reference, args=settings, train_dataset=data, processing_class=tokenizer)
        columns = {
            name: trainer.train_dataset[name][:] for name in ("prompt_ids", "chosen_ids", "rejected_ids")
        }
        by_hand = RewardsByHand(reference, columns, beta=0.1)
        trainer.add_callback(by_hand)
        trainer.train()
        logged = [row for row in trainer.state.log_history if "rewards/chosen" in row]
    ours = pd.DataFrame(by_hand.rows)
    theirs = pd.DataFrame(logged)[ours.columns]
    return theirs.join(ours, lsuffix=" (TRL)", rsuffix=" (kit)")


# The report ------------------------------------------------------------------------------------------------


def loss_section(n_batches: int, n_pairs: int) -> list[str]:
    """Part 1 and 2: equal values and gradients, and the differences that are meant."""
    table = largest_differences(range(n_batches), n_pairs)
    return [
        f"## Values and gradients: {n_batches} random batches of {n_pairs} pairs, float64",
        "",
        "TRL's own loss functions run on the log-probs (its trainers' `_compute_loss`, `cpo_loss` and "
        "`odds_ratio_loss`, with a stand-in for the model). Gradients by autograd, with respect to the "
        "log-probs of the policy, and of the reference where there is one. Largest absolute difference:",
        "",
        "| loss | of the value | of the gradient |",
        "|---|---|---|",
        *(f"| {row.loss} | {row.value:.1e} | {row.gradient:.1e} |" for row in table.itertuples()),
        "",
        "`cpo`, `simpo`, `alphapo` and `orpo` are compared without their likelihood term. TRL computes "
        "`orpo` in float32 and keeps the smoothing of `exo_pair` in float32, hence their larger differences. "
        "Forward KL has scores of exp(-a), and rounding errors of that size, for a policy far below its "
        "reference.",
        "",
        "## Where they differ",
        "",
        *(f"- {line}" for line in known_differences()),
        "",
    ]


def run_section(n_rows: int, steps: int) -> list[str]:
    """Part 3: the kit's pairs in a DPO run, and its implicit rewards beside those logged."""
    pairs = PreferencePairs.read(preference_rows(n_rows, np.random.default_rng(0)))
    frame, suggestions = scored_and_filtered(pairs)
    run = dpo_run(frame, steps)
    columns = [name.removesuffix(" (kit)") for name in run if name.endswith(" (kit)")]
    worst = {name: (run[f"{name} (TRL)"] - run[f"{name} (kit)"]).abs().max() for name in columns}
    shown = run[[f"{name} ({who})" for name in columns[:3] for who in ("TRL", "kit")]]
    advice = ", ".join(f"{name} {count}" for name, count in suggestions.items())
    return [
        "## A DPO run on scored and filtered pairs",
        "",
        f"{len(pairs)} made-up pairs, one label in ten flipped. `label_noise` with linear reward models on "
        f"text features suggested: {advice}. `cleaned` did so, and the frame of `PreferencePairs.to_frame` "
        f"({len(frame)} rows) goes into TRL's `DPOTrainer` as it is: a random GPT-2 of two layers, 32 "
        f"dimensions and float32 weights, all pairs a step, {steps} steps. The kit's numbers are "
        "`implicit_rewards` and `LOSSES['sigmoid']` of log-probs computed one sequence at a time, without "
        "TRL.",
        "",
        "Largest absolute difference to what TRL logged, over all steps: "
        + ", ".join(f"`{name}` {value:.1e}" for name, value in worst.items())
        + ".",
        "",
        "| step | " + " | ".join(shown.columns) + " |",
        "|---" * (len(shown.columns) + 1) + "|",
        *(
            f"| {step} | " + " | ".join(f"{value:.6f}" for value in row) + " |"
            for step, row in enumerate(shown.to_numpy(), start=1)
        ),
        "",
    ]


def results(n_batches: int, n_pairs: int, n_rows: int, steps: int) -> str:
    """The page."""
    names = ("trl", "torch", "transformers", "datasets", "numpy", "scipy")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    lines = [
        "# The DPO family beside TRL",
        "",
        f"`python benchmarks/dpo_trl.py`, {datetime.date.today()}, {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, {versions}.",
        "",
        *loss_section(n_batches, n_pairs),
        *run_section(n_rows, steps),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run everything, print the page and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer batches and steps; writes nothing")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # the tensors are tiny
    page = results(2, 8, 60, 3) if quick else results(20, 64, 120, 6)
    print(page)
    if not quick:
        path = Path(__file__).parent / "RESULTS-dpo.md"
        # The section that dpo_ukp.py measured stays.
        _, found, real_pairs = path.read_text(encoding="utf-8").partition("\n## Real pairs")
        path.write_text(page + found + real_pairs, encoding="utf-8")


if __name__ == "__main__":
    main()
