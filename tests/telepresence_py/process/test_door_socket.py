"""Whole messages and their descriptors, however the bytes are cut."""

from __future__ import annotations

import os
import socket

import pytest

from telepresence_py.model.door import DoorError, Ended, News, StartChild, Stop, decode_from_cli, encode
from telepresence_py.model.events import Event
from telepresence_py.process.door_socket import Arrival, DoorSocket, send_with_descriptors


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    door = DoorSocket(ours)
    with theirs:
        yield door, theirs
    door.close()


def test_a_message_that_comes_in_pieces_arrives_once(ends):
    door, session = ends
    line = encode(News(Event("planned", "text")))
    session.sendall(line[:5])
    assert door.receive() == []
    session.sendall(line[5:] + encode(Ended()))
    assert door.receive() == [Arrival(News(Event("planned", "text"))), Arrival(Ended())]


def test_descriptors_arrive_with_their_message_alone(ends):
    door, session = ends
    reading, writing = os.pipe()
    session.sendall(encode(News(Event("planned", "text"))))
    send_with_descriptors(session, encode(StartChild({}, ("user", "net"))), [reading, writing])
    session.sendall(encode(Ended()))
    for descriptor in (reading, writing):
        os.close(descriptor)
    arrivals: list[Arrival] = []
    while len(arrivals) < 3:
        arrivals += door.receive() or []
    assert [len(arrival.descriptors) for arrival in arrivals] == [0, 2, 0]
    reading, writing = arrivals[1].descriptors
    os.write(writing, b"x")
    assert os.read(reading, 1) == b"x"
    assert not os.get_inheritable(reading)
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_an_environment_larger_than_the_sockets_buffer_arrives_whole(ends):
    import threading

    door, session = ends
    message = StartChild({"BIG": "x" * 3_000_000})
    sender = threading.Thread(target=send_with_descriptors, args=(session, encode(message), []))
    sender.start()
    arrivals: list[Arrival] = []
    while not arrivals:
        arrivals += door.receive() or []
    sender.join()
    assert arrivals == [Arrival(message)]


def test_the_end_of_the_session_is_none_and_sending_to_it_is_false(ends):
    door, session = ends
    session.close()
    assert door.receive() is None
    assert door.send(Stop("SIGINT")) is False


def test_what_is_sent_is_one_line(ends):
    door, session = ends
    assert door.send(Stop("SIGINT"))
    assert decode_from_cli(session.recv(1000)) == Stop("SIGINT")


def test_nonsense_is_an_error_of_the_door(ends):
    door, session = ends
    session.sendall(b"nonsense\n")
    with pytest.raises(DoorError):
        door.receive()
