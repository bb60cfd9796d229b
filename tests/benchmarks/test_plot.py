from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.figures import Figure, Limit
from benchmarks.plot import svg, times_better

BULK = Figure("bulk < up", "MB/s", (200.0, 100.0), "kubectl", (100.0, 50.0), Limit(least_ratio=1.5), "0 ms")
ECHO = Figure("echo", "ms", (1.0, 2.0), "kubectl", (2.0, 8.0), Limit(most_ratio=0.8), "50 ms")


def test_better_is_to_the_right_whether_more_is_better_or_less():
    assert list(times_better(BULK)) == [2.0, 2.0]
    assert list(times_better(ECHO)) == [2.0, 4.0]


def test_each_figure_that_has_the_rival_is_a_dot_of_well_formed_xml():
    other = Figure("other", "ms", (1.0,), "ssh", (2.0,))
    root = ElementTree.fromstring(svg([BULK, ECHO, other], "kubectl"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "bulk < up" in texts
    assert "echo" in texts
    assert "other" not in texts
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 2 + 2  # with those of the legend


def test_what_is_beyond_the_scale_stands_at_its_end():
    far = Figure("far", "1/s", (1e9,), "kubectl", (1.0,))
    wide = float(ElementTree.fromstring(svg([far], "kubectl")).attrib["width"])
    circles = ElementTree.fromstring(svg([far], "kubectl")).iter("{http://www.w3.org/2000/svg}circle")
    assert all(float(circle.attrib["cx"]) < wide for circle in circles)
