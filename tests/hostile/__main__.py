"""`python -m tests.hostile [part of a name]`: every archive and request, with what it cost."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.hostile.arena import open_arena
from tests.hostile.corpus import BAD, BAD_PICTURES, ODD_PICTURES, REQUESTS, SOUND, VIEWS


def main(wanted: str) -> int:
    """Exit code 0 where all is as it must be."""
    n_wrong = n_shots = 0

    def tell(line: str, wrong: str) -> None:
        nonlocal n_wrong, n_shots
        n_shots += 1
        n_wrong += bool(wrong)
        print(line + (f"\n    WRONG: {wrong}" if wrong else ""), flush=True)

    with tempfile.TemporaryDirectory() as folder, open_arena(Path(folder)) as arena:
        for name, bad in BAD.items():
            if wanted in name:
                shot = arena.shoot(bad.make())
                tell(f"{shot} {name}", shot.misses(bad) or shot.costs_too_much() or arena.change())
        for name, request in REQUESTS.items():
            if wanted in name:
                answer = request.send(arena)
                tell(f"{answer.status} {answer.code:22} {name}", request.misses(answer) or arena.change())
        empty = arena.new_task()
        for name, picture in BAD_PICTURES.items():
            if wanted in name:
                shot = arena.attach(empty, picture.file, picture.make())
                tell(f"{shot} picture {name}", shot.fails_to_name(picture) or shot.costs_too_much())
        for name, (file, make) in ODD_PICTURES.items():
            if wanted in name:
                task = arena.new_task()
                arena.attach(task, file, make())
                for path in VIEWS:
                    shot = arena.look_at(task, path)
                    tell(f"{shot} picture {name}: {path}", shot.is_no_answer() or shot.costs_too_much())
        for name, make in SOUND.items():
            if wanted in name:
                shot = arena.shoot(make())
                wrong = "" if shot.status == 200 else str(shot.answer)[:1000]
                tell(f"{shot} {name}", wrong or shot.costs_too_much())
    print(f"{n_shots} shots, {n_wrong} wrong")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
