"""Who has to leave IDLE: always a session of the account that holds too many, the oldest first."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from legs import a_client, inside_trio

from gatekeeper.idling import Idlers
from gatekeeper.sessions import End, Session
from gatekeeper.settings import LimitSettings, Mode, Settings, TlsSettings

OFFICE, HOME = "192.0.2.1", "198.51.100.7"
LONGEST_S = 7200.0


class FakeLink:
    """A relayed pair that ends as a real one does: its relay tells the idlers."""

    quiet = True

    def __init__(self, book: "Book", session: Session) -> None:
        self._book = book
        self._session = session
        self.bye = b""

    def abort(self) -> None:
        raise AssertionError("an idle session is not reset")

    def finish(self, end: End) -> None:
        raise AssertionError("an idle session hears why it ends")

    def dismiss(self, end: End, bye: bytes) -> None:
        self.bye = bye
        self._session.end = end
        self._book.closed.append(self._session)
        self._book.idlers.end(self._session)


class Book:
    """Idlers under small caps, and what became of whom."""

    def __init__(
        self, per_account: int = 3, per_address: int = 6, *, observe: bool = False
    ) -> None:
        self.closed: list[Session] = []
        self.would: list[tuple[Session, End]] = []
        self.settings = Settings(
            "guard.example",
            TlsSettings(),
            (),
            {},
            mode=Mode.OBSERVE if observe else Mode.ENFORCE,
            limits=LimitSettings(
                idle_per_account=per_account,
                idle_per_address=per_address,
                idle_longest_s=LONGEST_S,
            ),
        )
        self.idlers = Idlers(self.settings, lambda *what: self.would.append(what))

    def session(self, account: str, address: str = OFFICE) -> Session:
        """A session after its login, not in IDLE."""
        session = Session(a_client(address))
        session.authcid = account
        session.link = FakeLink(self, session)
        return session

    def idle(self, account: str, address: str = OFFICE, now: float = 0.0) -> Session:
        """A session that goes into IDLE."""
        session = self.session(account, address)
        self.idlers.begin(session, now)
        return session


def names(sessions: list[Session]) -> list[str]:
    return [session.authcid for session in sessions]


# -- the cap of an account -----------------------------------------------------------------------


@inside_trio
def test_over_its_cap_the_accounts_oldest_goes_wherever_it_is() -> None:
    book = Book()
    oldest = book.idle("ann", HOME)
    for _ in range(2):
        book.idle("ann")
    assert book.closed == []
    book.idle("ann")
    assert book.closed == [oldest]
    assert oldest.end is End.IDLE_LIMIT
    assert len(book.idlers) == 3


@inside_trio
def test_an_account_may_be_written_in_any_case() -> None:
    book = Book(per_account=1)
    first = book.idle("Ann@Example.org")
    book.idle("ann@example.org")
    assert book.closed == [first]


@inside_trio
def test_who_renews_is_the_youngest_again() -> None:
    book = Book()
    first, second, _ = (book.idle("ann") for _ in range(3))
    book.idlers.end(first)
    book.idlers.begin(first, 1.0)
    book.idle("ann")
    assert book.closed == [second]


@inside_trio
def test_a_renewal_without_an_end_counts_once() -> None:
    book = Book()
    session = book.idle("ann")
    for now in range(1, 9):
        book.idlers.begin(session, float(now))
    assert (len(book.idlers), book.closed, session.idle_since) == (1, [], 8.0)


@inside_trio
def test_who_left_idle_is_not_counted() -> None:
    book = Book(per_account=1)
    for _ in range(5):
        session = book.idle("ann")
        book.idlers.end(session)
        book.idlers.end(session)
        assert session.idle_since is None
    assert (len(book.idlers), book.closed) == (0, [])


@inside_trio
def test_sessions_whose_account_is_unknown_do_not_pay_for_one_another() -> None:
    book = Book(per_account=1)
    for _ in range(4):
        book.idle("")
    assert book.closed == []


@inside_trio
def test_a_lower_cap_holds_from_the_next_idle_on() -> None:
    book = Book()
    sessions = [book.idle("ann") for _ in range(3)]
    limits = replace(book.settings.limits, idle_per_account=1)
    book.idlers.reconfigure(replace(book.settings, limits=limits))
    assert book.closed == []
    book.idle("ann")
    assert book.closed == sessions


# -- the cap of an address -----------------------------------------------------------------------


@inside_trio
def test_neighbours_never_pay_for_an_account() -> None:
    book = Book()
    book.idle("bob")
    for account in ("ann", "ann", "ann", "carl", "carl"):
        book.idle(account)
    assert book.closed == []
    newcomer = book.idle("dora")  # who has nothing older here to give
    assert book.closed == [newcomer]
    book.idle("carl")
    assert names(book.closed) == ["dora", "carl"]
    assert book.closed[1].end is End.IDLE_LIMIT
    assert len(book.idlers) == 6


@inside_trio
def test_over_the_cap_of_an_address_the_accounts_oldest_there_goes() -> None:
    book = Book(per_account=10, per_address=2)
    elsewhere = book.idle("ann", HOME)
    here = book.idle("ann")
    book.idle("bob")
    book.idle("ann")
    assert book.closed == [here]
    assert elsewhere.end is None


@inside_trio
def test_a_network_of_ipv6_is_one_address() -> None:
    book = Book(per_address=2)
    book.idle("ann", "2001:db8::1")
    book.idle("bob", "2001:db8::2")
    book.idle("carl", "2001:db8:0:1::1")
    assert book.closed == []
    book.idle("dora", "2001:db8::3")
    assert names(book.closed) == ["dora"]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "Ann", "bob", "carl", ""]),
        st.sampled_from([OFFICE, HOME]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(ACTS)
def test_caps_hold_and_whoever_goes_is_of_the_account_that_came(
    acts: list[tuple[str, str, int]],
) -> None:
    @inside_trio
    def play() -> None:
        book = Book(per_account=3, per_address=4)
        alive: list[Session] = []
        for now, (account, address, leaves) in enumerate(acts):
            before = len(book.closed)
            alive.append(book.idle(account, address, float(now)))
            gone = book.closed[before:]
            assert len(gone) <= 1
            assert all(names([one])[0].lower() == account.lower() for one in gone)
            alive = [session for session in alive if session not in gone]
            if leaves < len(alive):
                book.idlers.end(alive.pop(leaves))
            assert len(book.idlers) == len(alive)
            for name in ("ann", "bob", "carl"):
                assert names(alive).count(name) + names(alive).count(name.title()) <= 3
            for place in (OFFICE, HOME):
                assert sum(one.client.address == place for one in alive) <= 4
        for session in alive:
            book.idlers.end(session)
        assert not book.idlers._counted
        assert not book.idlers._accounts
        assert not book.idlers._entities

    play()


# -- time ----------------------------------------------------------------------------------------


@inside_trio
def test_an_idle_that_lasts_too_long_ends() -> None:
    book = Book()
    old, renewed, young = (book.idle("ann", now=now) for now in (0.0, 1.0, 2.0))
    book.idlers.begin(renewed, 100.0)
    book.idlers.expire(LONGEST_S)
    assert book.closed == []
    book.idlers.expire(LONGEST_S + 1.5)
    assert book.closed == [old]
    assert old.end is End.IDLE_TOO_LONG
    book.idlers.expire(LONGEST_S + 50)
    assert book.closed == [old, young]
    assert len(book.idlers) == 1


# -- what is said --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [End.IDLE_LIMIT, End.IDLE_TOO_LONG])
@inside_trio
def test_the_last_line_is_one_untagged_bye(end: End) -> None:
    book = Book(per_account=1)
    session = book.idle("ann")
    if end is End.IDLE_LIMIT:
        book.idle("ann")
    else:
        book.idlers.expire(LONGEST_S * 2)
    assert session.end is end
    assert isinstance(session.link, FakeLink)
    bye = session.link.bye
    assert bye.startswith(b"* BYE ")
    assert bye.find(b"\r\n") == len(bye) - 2
    assert bye.isascii()


# -- observe -------------------------------------------------------------------------------------


@inside_trio
def test_observing_closes_nothing_and_tells_what_it_would_have_closed() -> None:
    book = Book(per_account=2, observe=True)
    first, second = book.idle("ann"), book.idle("ann", now=5.0)
    third = book.idle("ann", now=6.0)
    assert book.would == [(first, End.IDLE_LIMIT)]
    assert first.idle_since == 0.0  # it is still there, and `who` says so
    book.idlers.expire(LONGEST_S + 5.5)
    book.idlers.expire(LONGEST_S + 5.5)
    assert book.would == [(first, End.IDLE_LIMIT), (second, End.IDLE_TOO_LONG)]
    assert book.closed == []
    assert third.end is None
    for session in (first, second, third):
        book.idlers.end(session)
    assert len(book.idlers) == 0


@inside_trio
def test_the_mode_may_change() -> None:
    book = Book(per_account=1, observe=True)
    book.idle("ann")
    book.idlers.reconfigure(replace(book.settings, mode=Mode.ENFORCE))
    second = book.idle("ann")
    assert book.closed != []
    assert book.would == []
    assert second.end is None
