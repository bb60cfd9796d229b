from __future__ import annotations

import pytest

from telepresence_py.session.following import (
    FORGET_SECONDS,
    PAUSES_SECONDS,
    Adopt,
    Create,
    Drop,
    Original,
    Owner,
    Sidecar,
    View,
    decide,
    is_settled,
    pause_before_next,
)


def good(name: str) -> Original:
    return Original(name, f"uid-{name}", ready=True)


def bad(name: str) -> Original:
    return Original(name, f"uid-{name}", ready=False)


def held(name: str, owner: str = "old", ready: bool = False) -> Sidecar:
    return Sidecar(name, owner, ready, adopted=False)


def there(name: str, owner: str = "old") -> Sidecar:
    return Sidecar(name, owner, ready=True, adopted=True)


def view(*things: Owner | Sidecar, last: str = "old", may_adopt: bool = True) -> View:
    return View(
        tuple(one for one in things if isinstance(one, Owner)),
        tuple(one for one in things if isinstance(one, Sidecar)),
        last,
        may_adopt,
    )


def old(wanted: int, *originals: Original) -> Owner:
    return Owner("old", wanted, originals)


def new(wanted: int, *originals: Original) -> Owner:
    return Owner("new", wanted, originals)


A, B, C = good("a"), good("b"), good("c")

CASES = {
    # scaling
    "nothing to do in place": (view(old(2), there("1"), there("2")), ()),
    "a scale-up brings a Ready original": (view(old(2, A), there("1")), (Create("old", A),)),
    "one that is not Ready yet is waited for": (view(old(2, bad("a")), there("1")), ()),
    "several at once, each for its own": (
        view(old(4, A, B, C), there("1")),
        (Create("old", A), Create("old", B), Create("old", C)),
    ),
    "one stand-in is made already": (
        view(old(3, A, B), there("1"), held("2")),
        (Create("old", B),),
    ),
    "a stand-in that is Ready is given away": (
        view(old(2, A), there("1"), held("2", ready=True)),
        (Adopt("2"),),
    ),
    "and not before the local process serves": (view(old(1, A), held("1", ready=True), may_adopt=False), ()),
    "the original that goes anyway is not displaced again": (view(old(1, A), there("1")), ()),
    "nor are two of three": (view(old(1, A, B), there("1")), ()),
    "those that are not Ready go first": (
        view(old(2, A, bad("b")), there("1")),
        (Create("old", A),),
    ),
    "scaled down, originals first": (view(old(1), there("1")), ()),
    "a stand-in that came too late for a scale-down": (
        view(old(1), there("1"), held("2", ready=True)),
        (Drop("2"),),
    ),
    "scaled down to one of two sidecars: not made again": (view(old(1), there("1"), last="old"), ()),
    # 0 and back
    "scaled to 0, all taken: one is held": (view(old(0), last="old"), (Create("old", None),)),
    "held, and never given away at 0": (view(old(0), held("1", ready=True)), ()),
    "nor while an original is on its way up": (view(old(1, bad("a")), held("1", ready=True)), ()),
    "back up: given away once there is an original": (view(old(1, A), held("1", ready=True)), (Adopt("1"),)),
    "back up to three": (
        view(old(3, A, B, C), held("1", ready=True)),
        (Adopt("1"), Create("old", B), Create("old", C)),
    ),
    "of several held at 0 one is enough": (
        view(old(0), held("1"), held("2", ready=True)),
        (Drop("1"),),
    ),
    # rollouts
    "the new template's original is displaced": (
        view(old(1), new(1, A), there("1")),
        (Create("new", A),),
    ),
    "given away, to its own owner": (
        view(old(1), new(1, A), there("1"), held("2", "new", ready=True)),
        (Adopt("2"),),
    ),
    "stuck: nothing is given to what has no Ready original": (
        view(old(1), new(1, bad("a")), there("1"), held("2", "new", ready=True)),
        (),
    ),
    "half stuck: nor to what has one that is not Ready": (
        view(old(2), new(2, A, bad("b")), there("1"), there("2"), held("3", "new", ready=True)),
        (),
    ),
    "half stuck without a rollout is a scale-up without room": (
        view(old(3, A, bad("b")), there("1"), held("2", ready=True)),
        (Adopt("2"),),
    ),
    "stuck, and the good owner's sidecar was taken: its original is displaced": (
        view(old(1, A), new(1, bad("b"))),
        (Create("old", A),),
    ),
    "Recreate: all gone at once, nobody is Ready: one is held, of the known template": (
        view(old(0), new(1, bad("a"))),
        (Create("old", None),),
    ),
    "Recreate: the held one stays until another serves": (
        view(old(0), new(1, A), held("1", ready=True), held("2", "new")),
        (),
    ),
    "Recreate: the new one is given away beside it": (
        view(old(0), new(1, A), held("1", ready=True), held("2", "new", ready=True)),
        (Adopt("2"),),
    ),
    "Recreate: and then the held one goes": (
        view(old(0), new(1), held("1", ready=True), there("2", "new")),
        (Drop("1"),),
    ),
    "a held one whose owner is gone goes as well": (
        view(new(1), held("1", ready=True), there("2", "new")),
        (Drop("1"),),
    ),
    "undo: the held one's own owner serves again": (
        view(old(1, A), new(0), held("1", ready=True)),
        (Adopt("1"),),
    ),
    "all gone, the new template's original is Ready: it is displaced, nothing is held besides": (
        view(old(0), new(1, A)),
        (Create("new", A),),
    ),
    "a stand-in for a rollout that was undone goes": (
        view(old(1), new(0), there("1"), held("2", "new", ready=True)),
        (Drop("2"),),
    ),
    # eviction
    "the only one was evicted, its original comes: one is held meanwhile": (
        view(old(1, bad("a"))),
        (Create("old", None),),
    ),
    "its original is Ready before we saw anything": (view(old(1, A)), (Create("old", A),)),
    "one of three was evicted": (view(old(3, A), there("1"), there("2")), (Create("old", A),)),
}


@pytest.mark.parametrize(("seen", "steps"), CASES.values(), ids=CASES)
def test_what_is_done(seen, steps):
    assert decide(seen) == steps


def test_all_is_settled_while_no_original_is_ready():
    assert is_settled(view(old(1), there("1")))
    assert is_settled(view(old(2, bad("a")), there("1")))
    assert is_settled(view(old(0), held("1", ready=True)))
    assert not is_settled(view(old(2, A), there("1")))


def test_a_setback_is_forgotten_in_time_and_several_of_one_moment_are_one():
    assert pause_before_next((), 100.0) == 0.0
    assert pause_before_next((99.0, 99.1, 99.2, 99.3), 100.0) == PAUSES_SECONDS[1]
    assert pause_before_next((10.0, 20.0, 30.0), 30.0 + FORGET_SECONDS + 1) == 0.0


def test_the_pauses_grow_and_then_it_is_enough():
    times, now, waited = [], 0.0, []
    while (pause := pause_before_next(times, now)) is not None:
        waited.append(pause)
        now += pause + 2.0
        times.append(now)
    assert waited == list(PAUSES_SECONDS)


def test_setbacks_long_ago_do_not_add_up():
    assert pause_before_next([FORGET_SECONDS * 1.1 * n for n in range(20)], FORGET_SECONDS * 1.1 * 19) == 0.0
