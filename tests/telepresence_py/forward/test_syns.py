from __future__ import annotations

from telepresence_py.forward.syns import Arrival, HeldConnections
from telepresence_py.model.world import HeldSyn

CHILD, DESTINATION = ("10.244.1.7", 40000), ("10.96.0.10", 80)
ENDS = CHILD, DESTINATION


def syn(sequence: int = 1, packet: int = 1, child: tuple[str, int] = CHILD) -> HeldSyn:
    return HeldSyn(child, DESTINATION, sequence, packet)


def held(most: int = 10) -> HeldConnections[str]:
    return HeldConnections(most, 10.0)


def test_the_first_packet_wants_a_leg_and_its_repetition_does_not() -> None:
    connections = held()
    assert connections.arrived(syn(), 0.0) == (Arrival.NEW, [])
    connections.waits(syn(), "leg")
    assert connections.arrived(syn(packet=2), 1.0) == (Arrival.REPEATED, [])
    assert connections.waiting == 1


def test_a_port_that_the_child_uses_again_ends_the_leg_before() -> None:
    connections = held()
    connections.waits(syn(), "first")
    assert connections.arrived(syn(sequence=2), 1.0) == (Arrival.NEW, ["first"])
    connections.waits(syn(sequence=2), "second")
    assert connections.goes_on(syn(sequence=2), "second", 2.0) == []
    assert connections.arrived(syn(sequence=3), 3.0) == (Arrival.NEW, ["second"])


def test_what_was_lost_behind_us_goes_on_again_and_what_was_accepted_does_not() -> None:
    connections = held()
    connections.waits(syn(), "leg")
    connections.goes_on(syn(), "leg", 0.0)
    assert connections.waiting == 0
    assert connections.arrived(syn(packet=2), 1.0) == (Arrival.GOES_ON, [])
    assert connections.taken(ENDS, 1.0) == "leg"
    assert connections.taken(ENDS, 1.0) is None
    assert connections.arrived(syn(packet=3), 1.0) == (Arrival.REPEATED, [])


def test_a_port_used_again_after_its_connection_was_accepted_is_new_and_ends_nothing() -> None:
    connections = held()
    connections.goes_on(syn(), "leg", 0.0)
    connections.taken(ENDS, 0.0)
    assert connections.arrived(syn(sequence=2), 1.0) == (Arrival.NEW, [])


def test_a_leg_that_came_to_nothing_is_dialled_anew_for_the_repetition() -> None:
    connections = held()
    connections.waits(syn(), "leg")
    connections.forget(syn())
    assert connections.arrived(syn(packet=2), 1.0) == (Arrival.NEW, [])


def test_a_leg_that_nobody_takes_ends_in_time_and_one_that_was_taken_does_not() -> None:
    connections = held()
    connections.goes_on(syn(), "taken", 0.0)
    connections.taken(ENDS, 0.0)
    connections.goes_on(syn(child=("10.244.1.7", 40001)), "orphan", 1.0)
    assert connections.expire(10.5) == []
    assert connections.expire(11.0) == ["orphan"]
    assert connections.remembered == 0


def test_more_than_may_wait_are_not_heard_until_there_is_room() -> None:
    connections = held(most=1)
    connections.waits(syn(), "leg")
    another = syn(child=("10.244.1.7", 40001))
    assert connections.arrived(another, 0.0) == (Arrival.TOO_MANY, [])
    connections.forget(syn())
    assert connections.arrived(another, 1.0) == (Arrival.NEW, [])


def test_the_end_has_all_legs_but_those_that_were_taken() -> None:
    connections = held()
    connections.waits(syn(), "waiting")
    connections.goes_on(syn(child=("10.244.1.7", 40001)), "orphan", 0.0)
    connections.goes_on(syn(child=("10.244.1.7", 40002)), "taken", 0.0)
    connections.taken((("10.244.1.7", 40002), DESTINATION), 0.0)
    assert sorted(connections.clear()) == ["orphan", "waiting"]
    assert connections.clear() == []
