"""A tuning study in plain Optuna: the best trials, and plots of what matters.

python examples/optuna_study.py results/out/tuning/ensemble.journal
"""

import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.visualization.matplotlib import plot_param_importances, plot_slice

if len(sys.argv) != 2:
    sys.exit(__doc__)
storage = JournalStorage(JournalFileBackend(sys.argv[1]))
(name,) = optuna.get_all_study_names(storage)
study = optuna.load_study(study_name=name, storage=storage)

best = sorted((t for t in study.trials if t.values), key=lambda trial: -trial.values[0])
for trial in best[:3]:
    print(trial.number, trial.values, trial.user_attrs.get("members"), trial.params)

# Which members are used is a parameter each: without `params` those eight fill the plots.
params = [name for name in best[0].params if not name.startswith("use_")]
for plot in (plot_param_importances, plot_slice):
    axes = plot(study, params=params, target_name="Def (%)")
    figure = getattr(axes, "figure", None) or axes[0].figure
    figure.savefig(f"{plot.__name__}.png")
print(f"plots of {', '.join(params)} are in this folder")
