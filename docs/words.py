"""What the pages of docs/reference say that no object of the package knows (see generate.py)."""

SETTINGS = """
Every setting has a name with dots, a default, and a range that is checked when it is read. Set one on the command line
with `--set agent.gamma=0.95`, or in a scenario's YAML file, where dots become nested keys. A wrong name is answered
with the nearest right one. `ialp settings agent` prints a group on the terminal; `--advanced` adds the advanced ones.

The basic settings come first in each section. The defaults are those of the package; a scenario overrides some of them
(its YAML file gives the reason of each value), and a report lists every setting of its run.
"""

TOP = "What belongs to no group."

TINY = """
Settings of `ialp judge init --tiny`. The first ones are options of that verb (`--updates`, `--threads`, `--prompts`,
`--seed`); the others keep their defaults.
"""

SERVICE = """
Settings of `ialp serve POLICY --set KEY=VALUE`, see [serve a policy](../howto/serve.md). The defaults of `alpha` and of
the range of rewards are those of the exported run.
"""

CLI = """
`ialp` has one verb for each task. `ialp VERB --help` prints what this page lists. Results go to standard output,
progress and messages to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | not done: a process or a node was lost (the same command continues), or `ialp doctor` or `check` found a problem |
| 2 | wrong input: a file, a setting or an option; the message names it and says what is expected |
| 3 | finished, but worthless: the judge is at chance (`judge init`, or a run without `judge.allow_chance`) |
| 3, 4 | of `evaluate`: hold, refuse |
| 70 | an error of this program; the message names the file with its traceback |
"""

METRICS = """
Every name that a report, a table or a log uses. Reports print the terms that they use at their end.
"""

FORMATS = """
Stages hand their results on through files in open formats: Parquet, JSON, safetensors with a `config.json`, and folders
in the layout of Hugging Face and PEFT. Everything can be read without this package.
"""

STAGES = {
    "prepare": "`items.parquet`, `interactions.parquet`, `users.parquet`; for Coat also `truth.parquet`, "
    "`propensities.parquet`",
    "users": "the fitted user models: safetensors with `config.json`",
    "warm": "`seed-N/policy.safetensors`, `seed-N/curves.parquet`",
    "tune": "`adapter/` (PEFT), `merged/` (the whole model, which is served), `audit_before.json`, `audit.json`",
    "distil": "`part-*.parquet` (the preference table) and `preferences.json`; `round-*.json`: the preference models "
    "that later rounds drew candidates by",
    "pretrain": "`seed-N/policy.safetensors`, `seed-N/curves.parquet`",
    "joint": "`seed-N/policy.safetensors`, `seed-N/curves.parquet`",
    "adapt": "`METHOD/seed-N/`: `curves.parquet`, `measurements.parquet`, `sessions.parquet`, `policy.safetensors`",
    "report": "`results.parquet`, `curves.parquet`, `index.html`",
    "tokens": "`tokens.safetensors`: `tokens` and `initial`, `(items, width)` each",
    "environment": "`llm/adapters.safetensors` (and heads); `llm_free/`: the control without an LLM",
    "augment": "`llm/part-*.parquet`, and the states of their rows, `llm/part-*.safetensors`; `llm_free/`: the same",
    "recommend": "`ROW/seed-N/`: `ranks.parquet`, `recommender.safetensors`, `config.json`, `curve.json`",
    "ranking": "`index.html`, `cases.parquet`, `differences.parquet`",
}

MANIFEST = """
"Reads from" lists the stages for the default settings. With `judge.model=oracle`, `tune` and `distil` also read
`users`; methods that start from random weights need neither `tune`, `distil` nor `pretrain`, and only `warm`, `warm_ft`
and `warm_ap` need `warm`, only `ialp_log`, `ialp_log_ft` and `ialp_log_ap` need `joint`.

Beside the stages' folders a run has `settings.yaml`, all settings as they were resolved, with a `manifest.json` of its
own, `logs/`, for TensorBoard, and `.lock`, which names the process that works there.

Each finished stage has a `manifest.json`, written last: `stage`, `fingerprint` (of everything that the stage depends
on), `seconds`, `finished` (Unix time), `facts` (figures for the report), `files` (name: `bytes` and `sha256`) and its
own `sha256`. A stage in work has a `started.json` instead. `ialp check RUN` compares all files with their hashes.
See [stages and resuming](../concepts/stages.md).
"""

RESULTS_TABLE = """
Left by `report` and by `ialp compare`. One row per scenario, method, seed, epoch and policy: what one policy reached in
the test world.
"""

CURVES_TABLE = "Left beside it. One row per point of a learning curve."

CURVE_COLUMNS = {
    "series": "`train` (mean over the most recent 20 training episodes), `test_sampled` or `test_greedy`",
    "alpha": "weight of the learning policy in a mixture; null where the method has none",
    "reward_sum": "sum of all rewards of training so far; null in test series",
}

SESSIONS_TABLE = """
`sessions.parquet` of one method and seed: what its greedy policy recommends to the users of the first 8 test episodes,
the same users for every method. One row per recommendation. Items and users are row numbers of `items.parquet` and
`users.parquet` in `prepare/`, from 0.
"""

RUN_TABLE = """
`measurements.parquet` and `curves.parquet` of one method and seed, in `adapt/METHOD/seed-N/`, have the columns above
without `scenario`, `method` and `seed`. The curve also has these columns; what a method does not report is null.
"""

PREFERENCE_TABLE = """
Left by `distil`, in parts: `part-WAVE.parquet`. One row per prompt. Items and users are row numbers of `items.parquet`
and `users.parquet` in `prepare/`, from 0.
"""

PREFERENCE_COLUMNS = {
    "session": "number of the session, from 0",
    "step": "step of the session, from 1",
    "user": "row number of the user that provides the first item of the session",
    "history": "items of the session before this step, the latest last",
    "candidates": "the k items that the judge was shown, in the order of their letters",
    "label": "the judge's answer: 0 to k - 1 for a candidate, k for None; negative where the prompt could not be asked",
    "item": "the item that extends the session: the chosen candidate, or for None a random one",
    "reward": "1 for a candidate, 0 for None (Eq. 3)",
    "logprobs": "log-probabilities of all k + 1 labels",
    "proposal": "log of how much more likely each item is a candidate than by uniform proposals (`distil.proposals`, "
    "`distil.rounds`), given when the last one was drawn; 0 for uniform",
    "prompt_key": "hash of the prompt",
    "model_fingerprint": "hash of the judge's weights",
    "prompt_fingerprint": "hash of the wording, the attributes shown and the number of candidates",
}

AUGMENTED_TABLE = """
Left by stage `augment` of `ialp lea`, in parts. One row per logged item. Row n is row n of the tensor `states`
(float16) of the safetensors file of the same name, and of `action_states` where there is one.
"""

CASES_TABLE = """
Left by stage `recommend` (`ranks.parquet`) and, of all rows and seeds, by `ranking` (`cases.parquet`). One row per test
case.
"""

AUGMENTED_COLUMNS = {"row": "row of the log of this set"}

OTHER_FORMATS = """
## Other files

| file | holds |
|---|---|
| `distil/preferences.json` | what the table depends on (model, prompt, decoding, plan), and its finished parts |
| `comparison/` of `ialp compare` | page, Parquet, figures as SVG, tables as CSV, Markdown, LaTeX |
| the folder of a tiny judge | a `MistralForCausalLM` in Hugging Face's layout, and `training.json` |
| `judge.cache` | a SQLite file of answers, by prompt, model and decoding |
"""

RESULTS = {
    "R@e": "R at epoch e.",
    "forgetting": "Largest fall of a pre-trained method's test return below its value at epoch 0, as a share of it.",
    "train world, test world": "The simulated users that a method learns from, and those that it is measured on: other "
    "users and, in most protocols, another user model.",
    "transfer": "Protocol: train on the fitted user model, test on the truth (Coat, as published) or another model.",
    "split": "Protocol: train and test world are both the truth (Coat), with other users.",
}

LOGGED = {
    "env_steps, updates": "Recommendations made in the train world; gradient updates.",
    "actor_loss, critic_loss, entropy": "L_A, L_Q (Eqs. 8, 9) and the acting policy's entropy in nats, of the latest "
    "update.",
    "gain": "How much more than the frozen policy the learning one would get, by the latest update "
    "(`adapt.alpha.shape=evidence`).",
}

JUDGE = {
    "engine busy share": "Share of the wall time for which the engines compute.",
}
