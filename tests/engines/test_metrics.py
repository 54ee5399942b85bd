from loopwright.engines.metrics import count, samples


def test_names_labels_comments_and_timestamps() -> None:
    seen = samples(
        b'# HELP a x\n# TYPE a counter\na 3\nb{x="1 }",y="2"} 4.5 1700000000\nb{x="2"} 1\n\nbroken\nc +Inf\n'
    )
    assert seen["a"] == 3
    assert seen["b"] == 5.5
    assert "broken" not in seen
    assert count(seen, "a") == 3
    assert count(seen, "c") == 0
    assert count(seen, "missing") == 0
