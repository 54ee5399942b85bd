import io
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Changed, Sealed, SettingsError
from loopwright.kit import seal as sealing
from loopwright.kit.blobs import Blobs, DamagedBlob
from loopwright.kit.keyring import SealingKey, keys_of, new_key, readable_by_others
from loopwright.kit.seal import MAGIC, PLAIN, SALT_BYTES, Seal, key_of
from loopwright.kit.seal_files import PIECE
from loopwright.kit.settings_encryption import EncryptionSettings

ONE, TWO = SealingKey(id="one", secret=b"1" * 32), SealingKey(id="two", secret=b"2" * 32)
TEXTS = st.binary(max_size=3000)


def test_what_is_sealed_is_bytes_that_others_can_open() -> None:
    """The form is part of what is stored: a seal made by an earlier Loopwright opens for ever."""
    stored = bytes.fromhex(
        "f54c5731036f6e65000102030405060708090a0b0c0d0e0f000000000000000000000000"
        "b9e67538d26d75a3651ce29c0915f3cba0fa295ca3"
    )
    assert Seal([ONE]).open(stored, b"row 1") == b"hello"
    assert key_of(stored) == "one"
    assert len(stored) == len(MAGIC) + 1 + 3 + SALT_BYTES + 12 + 5 + 16


@given(TEXTS, st.binary(max_size=60))
def test_there_and_back(text: bytes, about: bytes) -> None:
    seal = Seal([ONE])
    sealed = seal.seal(text, about)
    assert key_of(sealed) == "one"
    assert seal.open(sealed, about) == text
    assert Seal([TWO, ONE]).open(sealed, about) == text
    assert len(text) < 8 or text not in sealed
    assert seal.seal(text, about) != sealed


@given(TEXTS, st.data())
def test_every_changed_bit_is_noticed(text: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Seal([ONE]).seal(text, b"row 1"))
    # Behind the magic: what no longer begins like a sealed text is a plain one.
    at = data.draw(st.integers(len(MAGIC), len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Sealed):
        Seal([ONE]).open(bytes(sealed), b"row 1")


@given(TEXTS, st.data())
def test_what_is_cut_short_does_not_open(text: bytes, data: st.DataObject) -> None:
    sealed = Seal([ONE]).seal(text, b"row 1")
    with pytest.raises(Changed):
        Seal([ONE]).open(sealed[: data.draw(st.integers(len(MAGIC), len(sealed) - 1))], b"row 1")


@given(TEXTS, st.binary(max_size=20), st.binary(max_size=20))
def test_another_row_does_not_open_it(text: bytes, here: bytes, there: bytes) -> None:
    sealed = Seal([ONE]).seal(text, here)
    if here == there:
        return
    with pytest.raises(Changed, match="moved from elsewhere"):
        Seal([ONE]).open(sealed, there)


def test_another_key_does_not_open_it_and_its_id_is_told() -> None:
    sealed = Seal([ONE]).seal(b"secret", b"")
    with pytest.raises(Sealed, match="sealed with key 'one', which is not here") as caught:
        Seal([TWO]).open(sealed, b"")
    assert caught.value.key_id == "one"
    assert not isinstance(caught.value, Changed)
    with pytest.raises(Sealed):
        PLAIN.open(sealed, b"")
    with pytest.raises(Changed):
        Seal([SealingKey(id="one", secret=b"3" * 32)]).open(sealed, b"")


@given(TEXTS)
def test_without_a_key_nothing_is_sealed(text: bytes) -> None:
    assert PLAIN.open(PLAIN.seal(text, b"row"), b"another") == text
    assert key_of(PLAIN.seal(text, b"")) is None
    assert not PLAIN
    assert PLAIN.first is None


@given(TEXTS)
def test_a_plain_text_that_begins_like_a_sealed_one_is_itself(text: bytes) -> None:
    strange = MAGIC + text
    assert PLAIN.open(PLAIN.seal(strange, b""), b"") == strange
    assert Seal([ONE]).open(PLAIN.seal(strange, b""), b"") == strange
    assert Seal([ONE]).open(Seal([ONE]).seal(strange, b""), b"") == strange


def test_a_subkey_seals_a_bounded_number_of_texts() -> None:
    class Few(Seal):
        """Renews its subkey soon."""

        def soon(self) -> None:
            self._left = 0

    seal = Few([ONE])
    head = len(MAGIC) + 4 + SALT_BYTES
    first, second = seal.seal(b"a", b""), seal.seal(b"a", b"")
    seal.soon()
    third = seal.seal(b"a", b"")
    assert first[:head] == second[:head] != third[:head]
    assert [Seal([ONE]).open(each, b"") for each in (first, second, third)] == [b"a"] * 3
    assert sealing.SUBKEY_TEXTS == 2**20


def test_threads_seal_at_once() -> None:
    class Hasty(Seal):
        """Renews its subkey at every second text."""

        def seal(self, text: bytes, about: bytes) -> bytes:
            self._left = min(self._left, 1)
            return super().seal(text, about)

    seal = Hasty([ONE])
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.extend(seal.seal(b"a", b"") for _ in range(500))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 2000
    assert all(Seal([ONE]).open(each, b"") == b"a" for each in found)


def test_words_are_blinded_by_key() -> None:
    seal = Seal([ONE, TWO])
    assert seal.blind("one") != seal.blind("two")
    assert seal.blind("three") is None
    assert seal.blind("one") == Seal([ONE]).blind("one")


def test_nothing_shows_a_key() -> None:
    secret = new_key("main")
    asked = EncryptionSettings(keys=secret)
    encoded = secret.partition(":")[2]
    (key,) = keys_of(asked)
    for shown in (repr(asked), repr(key), str(key), repr(Seal([key])), repr(Seal.of(asked))):
        assert encoded not in shown
        assert repr(key.secret) not in shown
    assert "main" in repr(Seal([key]))


def test_keys_are_read(tmp_path: Path) -> None:
    one, two = new_key("k1"), new_key("k2")
    assert [key.id for key in keys_of(EncryptionSettings(keys=f"{one}, {two}"))] == ["k1", "k2"]
    file = tmp_path / "keys"
    file.write_text(f"# the keys\n{two}\n\n{one} # old\n")
    found = keys_of(EncryptionSettings(keys_file=file))
    assert [key.id for key in found] == ["k2", "k1"]
    assert all(len(key.secret) == 32 for key in found)
    unpadded = keys_of(EncryptionSettings(keys=one.rstrip("=").replace("+", "-").replace("/", "_")))
    assert unpadded[0].secret == found[1].secret
    assert keys_of(EncryptionSettings()) == ()
    file.chmod(0o600)
    assert not readable_by_others(file)
    file.chmod(0o644)
    assert readable_by_others(file)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=", "key 1 has no id"),
        ("a b:c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=", "key 1 has no id"),
        ("k1:c2VjcmV0c2VjcmV0", "key 'k1' is not the base64 of 32 bytes"),
        ("k1:c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0!!!", "key 'k1' is not the base64 of 32 bytes"),
        ("k1:c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=,k1:AAAA", "two keys are named 'k1'"),
    ],
)
def test_what_is_no_key_is_told_without_showing_it(keys: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        keys_of(EncryptionSettings(keys=keys))
    assert said in caught.value.message
    assert "c2VjcmV0" not in caught.value.message


def test_a_file_of_keys_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        keys_of(EncryptionSettings(keys_file=tmp_path / "none"))
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    with pytest.raises(SettingsError, match="holds no key"):
        keys_of(EncryptionSettings(keys_file=empty))
    with pytest.raises(SettingsError, match="cannot name a key"):
        new_key("no spaces")


SIZES = [0, 1, 1000, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 7]


@pytest.mark.parametrize("size", SIZES)
def test_a_blob_is_sealed_on_the_disk_and_reads_as_it_was(tmp_path: Path, size: int) -> None:
    text = (b"the words of a file. " * (size // 21 + 1))[:size]
    blobs = Blobs(tmp_path, Seal([ONE]))
    name = blobs.put(text)
    assert name == Blobs(tmp_path / "plain").put(text)
    assert blobs.key_of(name) == "one"
    assert size < 30 or b"the words of a file" not in blobs.place(name).read_bytes()
    assert blobs.read(name) == text
    with blobs.open(name) as file:
        assert file.read(10) == text[:10]
        file.seek(max(size - 5, 0))
        assert file.read() == text[max(size - 5, 0) :]
        assert file.seek(0, io.SEEK_END) == size
        file.seek(0)
        assert file.read() == text
    with pytest.raises(Sealed, match="'one', which is not here"):
        Blobs(tmp_path).read(name)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_blob_that_was_changed_or_cut_is_known(tmp_path: Path, data: st.DataObject) -> None:
    blobs = Blobs(tmp_path, Seal([ONE]))
    name = blobs.put(b"words " * 400_000)
    path = blobs.place(name)
    stored = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        stored = stored[: data.draw(st.sampled_from([PIECE, PIECE + 40, 2 * PIECE + 72, len(stored) - 1]))]
    else:
        stored[data.draw(st.integers(4, len(stored) - 1))] ^= 4
    path.write_bytes(stored)
    with pytest.raises((Sealed, DamagedBlob)):
        blobs.read(name)


def test_a_blob_is_sealed_anew(tmp_path: Path) -> None:
    plain = Blobs(tmp_path)
    name = plain.put(b"words " * 300_000)
    ring = Blobs(tmp_path, Seal([TWO, ONE]))
    Blobs(tmp_path, Seal([ONE])).reseal(name)
    assert ring.key_of(name) == "one"
    with ring.open(name) as file:
        ring.reseal(name)
        assert file.read(6) == b"words "
    assert ring.key_of(name) == "two"
    assert Blobs(tmp_path, Seal([TWO])).read(name) == b"words " * 300_000
    assert not list(ring.incoming.iterdir())


def test_a_sealed_file_that_was_uploaded_as_it_is_stays_itself(tmp_path: Path) -> None:
    other = Blobs(tmp_path / "other", Seal([TWO]))
    bytes_of_other = other.place(other.put(b"text")).read_bytes()
    blobs = Blobs(tmp_path / "ours")
    assert blobs.read(blobs.put(bytes_of_other)) == bytes_of_other
