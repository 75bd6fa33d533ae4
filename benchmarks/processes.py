"""Folds side by side with fewer threads each, against one after the other with all: minutes and AUC of whole jobs.

    python benchmarks/processes.py --network mobilenetv2_100 --rounds 3        # one process beside two

Each round runs a job in both ways, the first turn going around; prints one JSON line with the ratios.
"""

from __future__ import annotations

import json
import os
from functools import partial

from dermoscopy import describe, lay_out_pictures
from ham10000 import where_and_when
from train import BUILD, Terms, interleaved, machine, parse_arguments, run_lesion, spread, spreads


def main() -> None:
    args = parse_arguments()
    root = BUILD / f"processes_{args.pictures}_{args.num_pictures}"
    table = lay_out_pictures(root, size=args.pictures, num_pictures=args.num_pictures)
    load_before = os.getloadavg()[0]
    settings = Terms(root, args).equal_settings() | {"folds": 5, "epochs": args.epochs} | dict(args.set)
    runs = {str(number): partial(run_lesion, root / "job", settings | {"processes": number}) for number in (1, 2)}
    rounds = interleaved(args.rounds, runs)
    ratios = [one["minutes"] / two["minutes"] for one, two in zip(rounds["1"], rounds["2"], strict=True)]
    result = {
        "benchmark": "processes",
        **where_and_when(),
        "machine": machine(),
        "load_before": round(load_before, 1),
        "network": args.network,
        **describe(table),
        "settings": settings,
        "rounds": args.rounds,
        "processes": {number: spreads(measured) for number, measured in rounds.items()},
        "minutes_of_one_to_two": spread(ratios),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
