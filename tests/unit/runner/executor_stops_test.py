"""Stop strings: nothing of them goes out, nothing else is lost."""

from hypothesis import given
from hypothesis import strategies as st

from gogrid.protocol.tasks import Sampling
from runner.executor.engines.answer import Answer
from runner.executor.engines.stops import StopFilter

TEXT = st.text("abAB\n ", max_size=40)


def filtered(pieces: list[str], stops: tuple[str, ...]) -> tuple[str, bool]:
    stop = StopFilter(stops)
    out = "".join(stop.feed(piece) for piece in pieces)
    return out + stop.finish(), stop.stopped()


@given(st.lists(TEXT, max_size=12), st.lists(st.text("abAB\n ", max_size=5), max_size=4).map(tuple))
def test_text_cut_anywhere_ends_before_the_first_stop(pieces: list[str], stops: tuple[str, ...]) -> None:
    whole = "".join(pieces)
    out, stopped = filtered(pieces, stops)
    places = [whole.find(stop) for stop in stops if stop and stop in whole]
    assert stopped == bool(places)
    assert whole.startswith(out)
    if not places:
        assert out == whole
    else:
        assert not any(stop in out for stop in stops if stop)


def test_partial_stop_is_held_back_until_it_is_sure() -> None:
    stop = StopFilter(("END",))
    assert stop.feed("the E") == "the "
    assert stop.feed("N") == ""
    assert stop.feed("d") == "ENd"
    assert stop.feed(" EN") == " "
    assert stop.finish() == "EN"


def test_end_token_lets_out_what_was_held_back() -> None:
    answer = Answer(Sampling(stop=("END",)), prompt_tokens=1, limit=10)
    assert answer.push(1, "x EN", end=False).text == "x "
    assert answer.push(2, "", end=True).text == "EN"
    assert answer.finished().result.finish_reason == "stop"  # type: ignore[union-attr]
